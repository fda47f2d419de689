"""A second look at what differs: two stores that are written one after the other differ for a moment, and are right.

What a transaction decided is told to Redis after its commit, and what a provider decided is told to the house. So only
what still differs, in the same words, when everybody has had the time to tell is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from seating.locks import TRUE_FOR_SECONDS

# For this long, in seconds, a transaction's decision may still be on its way to Redis.
PATIENCE_SECONDS = float(TRUE_FOR_SECONDS)
# Most of what differs does so for some milliseconds only: the first looks follow soon.
FIRST_WAIT_SECONDS = 0.05

Difference = TypeVar("Difference")


def what_stays(found: Iterable[Difference], look_again: Callable[[], Iterable[Difference]]) -> list[Difference]:
    """Return which of the differences are still there, unchanged, after `PATIENCE_SECONDS`.

    Args:
        found: what differed at the first look; with none nobody waits.
        look_again: looks once more, afresh at both sides.
    """
    staying = list(found)
    waited, wait = 0.0, FIRST_WAIT_SECONDS
    while staying and waited < PATIENCE_SECONDS:
        wait = min(2 * wait, PATIENCE_SECONDS - waited)
        time.sleep(wait)
        waited += wait
        now = set(look_again())
        staying = [difference for difference in staying if difference in now]
    return staying
