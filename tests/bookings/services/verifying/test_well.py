"""A house that is well agrees, whatever has happened in it; and what disagrees is found in whatever batch."""

from __future__ import annotations

import pytest
from django.db.models import F
from redis import Redis

from bookings.models import Booking, DemoPayment, PaymentStatus
from bookings.services import cancel_booking, reconcile, verify_seats
from seating.models import BlockReason, Hold, SeatEvent
from seating.selectors.holds import HeldSeats
from seating.services import (
    adopt_holds,
    block_seats,
    unblock_seats,
    withdraw_hold,
)
from tests.bookings.services.verifying.faults import OTHER_REPLAY
from tests.bookings.services.verifying.house import House, build_house, found
from tests.factories import HolderFactory, UserFactory, make_showtime
from tests.support.asking import extend, hold, release, somebody_holds
from tests.support.buying import buy, close_window, decide, notify
from tests.support.faults import plant
from tests.support.passing_time import let_pass

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf", "hasty")]


def test_a_house_with_a_rich_past_agrees(redis: Redis) -> None:
    house = build_house()
    showtime = make_showtime()
    guest, user = HolderFactory(), HolderFactory(guest_key=None, user=UserFactory())
    hold(showtime, guest, "A1", "A2")
    extend(showtime, guest)
    release(showtime, guest, "A1")
    adopt_holds(guest_id=guest.pk, holder_id=user.pk)
    late = buy(somebody_holds(showtime, "B4"), "stall").booking
    close_window(late)
    declined = buy(somebody_holds(showtime, "B5"), "stall").booking
    decide(declined, PaymentStatus.DECLINED)
    withdraw_hold(hold_id=somebody_holds(showtime, "A5").hold_id)
    block_seats(showtime_id=showtime.pk, codes=["C1", "C2"], reason=BlockReason.BROKEN)
    unblock_seats(showtime_id=showtime.pk, codes=["C1"])
    # Money that comes late takes its seat from another hold of the same holder.
    slow = somebody_holds(showtime, "B6")
    overdue = buy(slow, "stall").booking
    close_window(overdue)
    # What was declined, lost to others, and given up only then has ended twice.
    cancel_booking(holder_id=house.declined.holder_id, reference=house.declined.reference)
    assert reconcile().findings == []
    hold(showtime, Hold.objects.get(pk=slow.hold_id).holder, "B6")
    plant("UPDATE bookings_demopayment SET status = 'CAPTURED' WHERE \"order\" = %s", overdue.reference)
    notify(overdue, times=2)
    assert Booking.objects.get(pk=overdue.pk).status == "CONFIRMED"

    report = verify_seats()

    assert [str(finding) for finding in report.findings] == []
    assert report.redis == "compared"
    assert report.checked["ledger_rows"] == SeatEvent.objects.count()
    assert report.checked["showtimes"] == 2
    assert (
        verify_seats(showtime_ids=[house.showtime.pk]).checked["ledger_rows"]
        == SeatEvent.objects.filter(showtime=house.showtime).count()
    )


def test_payments_keep_holds_past_their_cap(redis: Redis) -> None:
    """As long as they are paid, and for two minutes more; and so it stays, also when the hold is changed after that."""
    showtime = make_showtime()
    held = somebody_holds(showtime, "A1", "A2")
    let_pass(840, held.hold_id)
    Hold.objects.filter(pk=held.hold_id).update(max_expires_at=F("expires_at"))
    booking = buy(held, "stall").booking
    assert past_its_cap(held)
    assert found() == set()
    decide(booking, PaymentStatus.DECLINED)
    Booking.objects.filter(pk=booking.pk).update(pay_by=F("ended_at"))
    holder = Hold.objects.get(pk=held.hold_id).holder
    release(showtime, holder, "A1")
    assert past_its_cap(held)
    assert found() == set()
    # Its money comes after all: the booking forgets that it was declined.
    DemoPayment.objects.filter(order=booking.reference).update(status="CAPTURED")
    hold(showtime, holder, "A1")
    notify(booking)
    booking.refresh_from_db()
    assert (booking.status, booking.ended_at) == ("CONFIRMED", None)
    assert past_its_cap(held)
    assert found() == set()


def past_its_cap(held: HeldSeats) -> bool:
    return Hold.objects.filter(pk=held.hold_id, expires_at__gt=F("max_expires_at")).exists()


def test_a_house_without_anything_agrees(redis: Redis) -> None:
    assert verify_seats().findings == []


def test_batches_find_what_one_look_finds(house: House, monkeypatch: pytest.MonkeyPatch, without_redis: None) -> None:
    other = build_house()
    monkeypatch.setattr("bookings.services.verifying.BATCH_VERSIONS", 1)
    other.seat("C3", status="BLOCKED", block_reason="broken")

    [finding] = verify_seats().findings

    assert (finding.number, finding.violation, finding.showtime_id) == ("I7", OTHER_REPLAY, other.showtime.pk)
    assert (finding.count, finding.what) == (1, "seat C3")
    assert finding.examples == ("seat C3: the ledger says AVAILABLE, the seat BLOCKED",)
    assert verify_seats(showtime_ids=[house.showtime.pk]).findings == []
