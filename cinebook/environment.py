"""The variables that the settings are made of: those of the environment, and of the file .env.

Used by the settings alone. Nonsense is refused with the name of the variable and the reason.
"""

from __future__ import annotations

import os
from pathlib import Path

import dotenv
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

# Variables of the environment win over those of the file .env, which `make run` reads in the same way.
_in_file = dotenv.dotenv_values(BASE_DIR / ".env", interpolate=False)


def text(name: str, default: str = "") -> str:
    """Return a setting; one that is empty or blank counts as not set."""
    given = (os.environ.get(name, ""), _in_file.get(name) or "")
    return next((value for value in given if value.strip()), default)


def whole_number(name: str, default: int, *, at_least: int, at_most: int) -> int:
    """Return a setting that is a whole number within its bounds.

    Raises:
        ImproperlyConfigured: it is something else.
    """
    given = text(name, str(default)).strip()
    if not (given.isascii() and given.isdigit() and at_least <= int(given) <= at_most):
        raise ImproperlyConfigured(f"{name} must be a whole number from {at_least} to {at_most}, not {given!r}.")
    return int(given)


def switch(name: str, *, default: bool) -> bool:
    """Return a setting that is on or off.

    Raises:
        ImproperlyConfigured: it is something else.
    """
    given = text(name, "on" if default else "off").strip().lower()
    if given not in {"on", "off", "true", "false", "1", "0", "yes", "no"}:
        raise ImproperlyConfigured(f"{name} must be on or off, not {given!r}.")
    return given in {"on", "true", "1", "yes"}


def words(name: str) -> list[str]:
    """Return a setting that is a list, separated by commas."""
    return [word.strip() for word in text(name).split(",") if word.strip()]
