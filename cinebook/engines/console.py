"""What the person at the console reads."""

from __future__ import annotations

import contextlib
import sys


def say(text: str = "") -> None:
    """Print one line or several. A closed terminal must not keep us from stopping the children."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def complain(text: str) -> None:
    """Print what went wrong, to the standard error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
