"""The spelling of every key that seats have in Redis.

All keys of one showtime carry its number in braces, a hash tag: in a Redis Cluster they live in one slot, so one script
can touch them all. The first is part of the interface that operators rely on.
"""

from __future__ import annotations

import uuid

# The pattern that every key of this module matches.
ALL = "*seat*:{*"


def seat_lock(showtime_id: int, code: str) -> str:
    """The lock of one seat: JSON that says who holds it, with the hold's time to live."""
    return f"seat_lock:{{{showtime_id}}}:{code}"


def seat_checked(showtime_id: int, code: str) -> str:
    """A mark that lives for a second: this seat's lock has just been compared with PostgreSQL."""
    return f"seat_checked:{{{showtime_id}}}:{code}"


def seat_hold(showtime_id: int, hold_id: uuid.UUID | str) -> str:
    """The record of one hold: JSON with its seats and its end."""
    return f"seat_hold:{{{showtime_id}}}:{hold_id}"


def locked_seats(showtime_id: int) -> str:
    """The index of a showtime's locks: a sorted set of seat codes by the time, in ms, at which each lock ends."""
    return f"locked_seats:{{{showtime_id}}}"
