"""A showtime at which everything has happened once, and what `verify_seats` finds in it."""

from __future__ import annotations

import dataclasses
from typing import Any

from redis import Redis

from bookings.models import Booking
from bookings.services import cancel_booking, verify_seats
from cinebook.core.errors import ErrorCode
from seating.models import BlockReason, Hold, Seat, SeatEvent, Showtime, ShowtimeSales
from seating.selectors.holds import HeldSeats
from seating.services import (
    block_seats,
    expire_holds,
)
from tests import settings as own
from tests.factories import make_showtime
from tests.support.asking import refused, release, somebody_holds
from tests.support.buying import buy
from tests.support.passing_time import run_out


@dataclasses.dataclass(frozen=True)
class House:
    """A showtime at which everything has happened once."""

    showtime: Showtime
    held: HeldSeats  # A1 A2, live
    released: HeldSeats  # A4
    overtaken: HeldSeats  # A3, by somebody else, after its payment was declined and its time was over
    bought: Booking  # B1 B2
    pending: Booking  # B3
    refunded: Booking  # B4
    declined: Booking  # of `overtaken`

    def line(self, code: str, before: str, after: str, cause: str) -> None:
        """Write a line of the ledger, with the next version."""
        sales = ShowtimeSales.objects.get(showtime=self.showtime)
        SeatEvent.objects.create(
            showtime=self.showtime,
            seq=sales.seq + 1,
            seat=self.showtime.seats.get(code=code),
            from_status=before,
            to_status=after,
            cause=cause,
        )
        ShowtimeSales.objects.filter(pk=sales.pk).update(seq=sales.seq + 1)

    def seat(self, code: str, **columns: Any) -> None:
        assert Seat.objects.filter(showtime=self.showtime, code=code).update(**columns)


def build_house() -> House:
    showtime = make_showtime()
    released = somebody_holds(showtime, "A4")
    release(showtime, Hold.objects.get(pk=released.hold_id).holder)
    overtaken = somebody_holds(showtime, "A3")
    with refused(ErrorCode.PAYMENT_DECLINED):
        buy(overtaken, "decline")
    run_out(overtaken.hold_id)
    with Redis.from_url(own.REDIS_URL) as client:
        # Its time is over there, too.
        client.delete(f"seat_lock:{{{showtime.pk}}}:A3", f"seat_hold:{{{showtime.pk}}}:{overtaken.hold_id}")
    somebody_holds(showtime, "A3")
    expire_holds(showtime_id=showtime.pk)
    refunded = somebody_holds(showtime, "B4")
    cancelled = buy(refunded).booking
    cancel_booking(holder_id=refunded.holder_id, reference=cancelled.reference)
    block_seats(showtime_id=showtime.pk, codes=["C1"], reason=BlockReason.BROKEN)
    return House(
        showtime=showtime,
        held=somebody_holds(showtime, "A1", "A2"),
        released=released,
        overtaken=overtaken,
        bought=buy(somebody_holds(showtime, "B1", "B2")).booking,
        pending=buy(somebody_holds(showtime, "B3"), "stall").booking,
        refunded=Booking.objects.get(pk=cancelled.pk),
        declined=Booking.objects.get(hold=overtaken.hold_id),
    )


def found(report: Any = None) -> set[str]:
    return {finding.violation for finding in (report or verify_seats()).findings}
