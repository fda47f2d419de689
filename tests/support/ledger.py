"""What must be true of a showtime at every moment (I2, I7), whatever was done to it."""

from __future__ import annotations

import itertools
import uuid

from seating.models import Hold, Seat, SeatEvent, SeatHold, SeatStatus, ShowtimeSales

Standing = tuple[str, uuid.UUID | None]


def replay(showtime_id: int) -> dict[str, Standing]:
    """Return how every seat stands and whose it is, by the ledger alone.

    It asserts that the versions have no gap, and that each line leads on from the one before.
    """
    standing: dict[str, Standing] = dict.fromkeys(
        Seat.objects.filter(showtime=showtime_id).values_list("code", flat=True), (SeatStatus.AVAILABLE, None)
    )
    version = 0
    lines = SeatEvent.objects.filter(showtime=showtime_id).select_related("seat").order_by("seq")
    for seq, changes in itertools.groupby(lines, key=lambda line: line.seq):
        assert seq == version + 1, f"version {seq} follows {version}"
        version = seq
        for line in changes:
            assert standing[line.seat.code][0] == line.from_status
            standing[line.seat.code] = (line.to_status, line.hold_id)
    assert version == ShowtimeSales.objects.get(showtime=showtime_id).seq
    return standing


def assert_sound(showtime_id: int) -> None:
    """Assert that ledger, seats, audit and holds tell the same story."""
    seats = list(Seat.objects.filter(showtime=showtime_id).select_related("hold"))
    assert {seat.code: (seat.status, seat.hold_id) for seat in seats} == replay(showtime_id)

    reserved = [seat for seat in seats if seat.status == SeatStatus.RESERVED]
    live = SeatHold.objects.filter(seat__showtime=showtime_id, ended_at=None)
    assert sorted(live.values_list("seat__code", "hold")) == sorted((seat.code, seat.hold_id) for seat in reserved)
    for seat in reserved:
        assert seat.hold is not None
        assert seat.hold.ended_at is None
        assert (seat.reserved_until, seat.paying) == (seat.hold.expires_at, seat.hold.paying)
    # A hold may have lost all of its seats only when its time is over.
    empty = Hold.objects.filter(showtime=showtime_id, ended_at=None).exclude(pk__in=[seat.hold_id for seat in reserved])
    assert not empty.exclude(seat_holds__end_reason="overtaken").exists()
