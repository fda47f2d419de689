"""Short ways to ask the services for seats, and to catch their refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder, Seat, Showtime
from seating.selectors.holds import HeldSeats
from seating.services import HoldAnswer, ReleaseAnswer, extend_hold, hold_seats, release_seats
from tests.factories import HolderFactory

# An address at which there is no Redis.
NOWHERE = "unix:///nonexistent/redis.sock?db=0"


def hold(showtime: Showtime, holder: Holder, *codes: str) -> HoldAnswer:
    return hold_seats(holder_id=holder.pk, user_id=holder.user_id, showtime_id=showtime.pk, codes=codes)


def somebody_holds(showtime: Showtime, *codes: str) -> HeldSeats:
    """Return the hold of a new guest."""
    return hold(showtime, HolderFactory(), *codes).hold


def extend(showtime: Showtime, holder: Holder, *codes: str) -> HeldSeats:
    return extend_hold(holder_id=holder.pk, showtime_id=showtime.pk, codes=codes)


def release(showtime: Showtime, holder: Holder, *codes: str) -> ReleaseAnswer:
    """Release these seats; all, if none is named."""
    return release_seats(holder_id=holder.pk, showtime_id=showtime.pk, codes=codes or None)


def seat(showtime: Showtime, code: str) -> Seat:
    return Seat.objects.get(showtime=showtime, code=code)


def held_codes(showtime: Showtime) -> list[str]:
    return list(Seat.objects.filter(showtime=showtime, status="RESERVED").values_list("code", flat=True))


@contextmanager
def refused(code: ErrorCode) -> Iterator[dict[str, Any]]:
    """Expect a refusal; what it says beside its code can be read afterwards."""
    data: dict[str, Any] = {}
    with pytest.raises(Refusal) as caught:
        yield data
    assert caught.value.code is code
    data.update(caught.value.data)
