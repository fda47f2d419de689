"""Waiting for something to become true, in one way for all."""

from __future__ import annotations

import time
from collections.abc import Callable

Pause = Callable[[float], None]
"""Sleeps for some seconds; raises StopRequested when a signal says that nobody waits any more."""

LOOK_SECONDS = 0.02
"""How often a condition is looked at."""


def wait_until(condition: Callable[[], bool], *, within: float, pause: Pause = time.sleep) -> bool:
    """Return True as soon as `condition` holds, or False when it does not `within` that many seconds.

    Raises whatever `pause` raises.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause(LOOK_SECONDS)
    return True
