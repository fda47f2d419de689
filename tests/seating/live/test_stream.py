"""Whatever order messages come in, changes go out once each and in order."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from seating.events import SeatsChanged
from seating.live import stream
from seating.live.stream import SeatStream


def change(version: int, **changes: str) -> SeatsChanged:
    return SeatsChanged(1, version, changes or {"A1": "locked" if version % 2 else "available"})


def taken(seats: SeatStream) -> list[int]:
    return [event.version for event in seats.take()]


def started(version: int) -> SeatStream:
    seats = SeatStream()
    seats.start(version)
    return seats


def test_six_before_five() -> None:
    seats = started(4)

    seats.hear(change(6))
    assert taken(seats) == []
    assert seats.is_behind
    seats.hear(change(5))

    assert taken(seats) == [5, 6]
    assert not seats.is_behind


def test_what_was_given_out_is_passed_over() -> None:
    seats = started(4)
    seats.hear(change(5))
    assert taken(seats) == [5]

    seats.hear(change(5))
    seats.hear(change(3))

    assert taken(seats) == []
    assert not seats.is_behind


def test_what_is_heard_before_the_snapshot_follows_upon_it() -> None:
    seats = SeatStream()
    for version in (8, 6, 7):
        seats.hear(change(version))
    assert taken(seats) == []
    assert not seats.is_behind

    seats.start(6)

    assert taken(seats) == [7, 8]


def test_a_version_that_was_only_heard_of_is_missed() -> None:
    seats = started(4)

    seats.hear_of(6)
    seats.hear(change(5))

    assert taken(seats) == [5]
    assert seats.is_behind


def test_it_keeps_only_so_much_and_knows_that_it_is_behind() -> None:
    seats = started(0)

    for version in range(2, stream.MAX_AHEAD + 10):
        seats.hear(change(version))
    seats.hear(change(1))

    assert len(seats._ahead) <= stream.MAX_AHEAD
    assert seats.is_behind


@given(st.integers(1, 30), st.integers(0, 10), st.randoms(use_true_random=False))
def test_any_order_with_any_repetition_gives_every_change_once(count: int, start: int, shuffled: random.Random) -> None:
    versions = [*range(1, start + count + 1)] * 2
    shuffled.shuffle(versions)
    when = shuffled.randrange(len(versions))
    seats = SeatStream()
    out = []

    for turn, version in enumerate(versions):
        if turn == when:
            seats.start(start)
        seats.hear(change(version))
        out += taken(seats)

    assert out == [*range(start + 1, start + count + 1)]
    assert not seats.is_behind
