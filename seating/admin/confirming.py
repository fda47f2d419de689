"""The page that says what an action is about to do, and asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import Promise


def ask(
    request: HttpRequest,
    *,
    opts: Any,
    title: str | Promise,
    consequences: Iterable[str | Promise],
    button: str | Promise,
    back: str,
    hidden: Iterable[tuple[str, Any]] = (),
) -> HttpResponse:
    """Return the page that asks before something is done that cannot be undone. Its form posts to its own address.

    Args:
        opts: the options of the model that it is about, for the trail of links.
        title: the question.
        consequences: sentences that say what will happen.
        button: what the button does.
        back: the address to go to for a no.
        hidden: names and values that the form carries along.
    """
    context = {
        **admin.site.each_context(request),
        "opts": opts,
        "title": title,
        "consequences": list(consequences),
        "button": button,
        "back": back,
        "hidden": list(hidden),
    }
    return TemplateResponse(request, "admin/confirm.html", context)
