"""What every page knows."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def cinema(request: HttpRequest) -> dict[str, str]:
    """Return the name of the house for every template."""
    return {"cinema_name": settings.CINEMA_NAME}
