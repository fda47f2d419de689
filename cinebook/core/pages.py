"""What every page knows."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def cinema(request: HttpRequest) -> dict[str, str]:
    """Return the name of the house, and where signing in comes back to, for every template."""
    comes_back = not request.path.startswith("/accounts/")
    return {"cinema_name": settings.CINEMA_NAME, "sign_in_next": request.get_full_path() if comes_back else ""}
