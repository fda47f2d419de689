"""Staff in the admin, and what its pages tell them."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client

from tests.factories import UserFactory


def signed_in(*permissions: str) -> Client:
    """Return the browser of somebody of the staff who may do just this."""
    user = UserFactory(is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


def errors(response: Any) -> str:
    """Return what is wrong with the form of a page."""
    assert response.status_code == 200, response
    return " ".join(re.findall(r'<ul class="errorlist[^"]*"[^>]*>(.*?)</ul>', response.content.decode(), re.DOTALL))


def messages(response: Any) -> str:
    """Return what a page says of what was done."""
    return " ".join(str(message) for message in response.context["messages"])
