"""Static files whose names are typed by people."""

from __future__ import annotations

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.exceptions import SuspiciousOperation

register = template.Library()


@register.simple_tag
def static_if_there(path: str) -> str:
    """Return the URL of a static file, or nothing if there is no such file.

    Django's own tag raises for a file that the manifest does not know. A wrong poster must not take its page down, nor
    a missing style sheet the page that says that something went wrong.

    Args:
        path: below static/, as the staff typed it.
    """
    try:
        return staticfiles_storage.url(path) if path else ""
    except (ValueError, SuspiciousOperation):
        return ""
