"""How a race of two operations is played, and what must be true after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import OperationalError

from bookings.selectors.invariants import BOOKING_INVARIANTS
from cinebook.core.errors import Refusal
from seating.models import Showtime, ShowtimeSales
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from seating.selectors.strays import holds_of_strays
from tests.races.operations import OPERATIONS, Scene, said, scene, standing
from tests.support.buying import FlakyDemo, assert_bought_right
from tests.support.rivals import Work, before_the_commit_of, in_line_at, race

ROWS = {
    "payment": "SELECT FROM bookings_payment JOIN bookings_booking AS booking ON booking.id = booking_id"
    " WHERE booking.showtime_id = %s",
    "hold": "SELECT FROM seating_hold WHERE showtime_id = %s",
    "seat": "SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1'",
    "counter": "SELECT FROM seating_showtimesales WHERE showtime_id = %s",
    "showtime": "SELECT FROM seating_showtime WHERE id = %s",
}


def one_after_the_other(stage: str, works: Sequence[str], meet_at: str, provider: FlakyDemo) -> str:
    """Let operations come one after the other; return what they were told, and how A1 stands then.

    Args:
        stage: where it begins.
        works: the operations, in the order in which they come.
        meet_at: the row at which they are lined up; or `commit`, if the others come when the first is about to.
        provider: who takes the money.
    """
    at = _prepared(stage, works, provider)
    if meet_at == "commit":
        outcomes = before_the_commit_of(*_works(at, works))
    else:
        outcomes = in_line_at(ROWS[meet_at], [at.showtime.pk], *_works(at, works))
    return _told(at, outcomes)


def at_the_same_moment(stage: str, works: Sequence[str], provider: FlakyDemo) -> str:
    """Let operations come at the same moment; return what they were told, and how A1 stands then."""
    at = _prepared(stage, works, provider)
    outcomes = race(*_works(at, works))
    # The seats of a showtime that is gone are gone with it.
    if ShowtimeSales.objects.filter(showtime=at.showtime.pk).exists():
        assert_bought_right(Showtime.objects.get(pk=at.showtime.pk))
    return _told(at, outcomes)


def _prepared(stage: str, works: Sequence[str], provider: FlakyDemo) -> Scene:
    at = scene(stage, provider)
    for name in dict.fromkeys(works):
        prepare = OPERATIONS[name].prepare
        if prepare:
            prepare(at)
    provider.calls.clear()
    return at


def _works(at: Scene, names: Sequence[str]) -> list[Work]:
    return [lambda name=name: OPERATIONS[name].does(at) for name in names]  # type: ignore[misc]


def _told(at: Scene, outcomes: list[Any]) -> str:
    for outcome in outcomes:
        # Neither a deadlock nor a row that stayed locked, whatever they are called.
        assert not (isinstance(outcome, Refusal) and isinstance(outcome.__cause__, OperationalError)), outcome.__cause__
    assert at.provider.calls.count("refund") <= 1, "money is given back once"
    return f"{', '.join(map(said, outcomes))}: {standing(at)}"


def assert_nothing_is_left_to_repair() -> None:
    """Assert what the reconciler asks of all showtimes: that no invariant is broken, and nothing was left behind."""
    assert broken_invariants([*SEAT_INVARIANTS, *BOOKING_INVARIANTS]) == []
    assert holds_of_strays() == {}
