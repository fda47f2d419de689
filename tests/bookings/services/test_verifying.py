"""Whatever disagrees is found, and nothing else: each check by a planted fault, and all of them while a house sells."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from bookings.models import Booking, DemoPayment, Payment, PaymentStatus, Ticket
from bookings.selectors.invariants import BOOKING_INVARIANTS, HOUSE_INVARIANTS
from bookings.services import cancel_booking, reconcile, repair_seats, verify_seats
from cinebook.core.errors import ErrorCode, Refusal
from seating import locks
from seating.models import BlockReason, Hold, Seat, SeatEvent, Showtime, ShowtimeSales
from seating.selectors import comparison, second_look
from seating.selectors.holds import HeldSeats
from seating.selectors.invariants import SEAT_INVARIANTS
from seating.services import (
    adopt_holds,
    block_seats,
    expire_holds,
    unblock_seats,
    withdraw_hold,
)
from tests import settings as own
from tests.factories import HolderFactory, HoldFactory, UserFactory, make_showtime
from tests.support.asking import NOWHERE, extend, hold, refused, release, somebody_holds
from tests.support.buying import buy, close_window, decide, notify
from tests.support.faults import plant, without_index
from tests.support.passing_time import let_pass, run_out
from tests.support.rivals import in_background, race

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf")]

STRAY_AUDIT = "a reserved seat and the audit of its hold do not agree"
OTHER_AUDIT = "the audit does not say what the ledger says"
OTHER_REPLAY = "replaying the ledger does not give the seat"
CHAIN = "a line of the ledger does not follow from the one before"
CAUSE = "a line of the ledger has a cause that does not do what it says"
MANY_CHANGES = "the lines of one version tell of more than one change"
GAP = "a showtime's versions have a gap, or its counter is another"
ENDED = "a seat is reserved by a hold that has ended"
OTHER_END = "a seat does not end, or is not paid, with its live hold"
SOLD_WITHOUT = "a sold seat has no ticket"
TICKETS = "a booking's tickets are not what the booking is"
PENDING = "a booking that is being paid does not have its hold and all its seats"
UNPAID = "a hold is being paid, and no booking waits for it"
PAYMENT = "a booking and its payment do not agree"
PAST_THE_CAP = "a hold was renewed past its cap"
TOLD = "a payment is not what its provider has told"
BOOKS = "a payment and the books of the provider demo do not agree"


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


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is at work, so whatever differs need not be waited for; but Redis is, however slow it is here."""
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 0.02)
    for patience in ("cinebook.core.redis.ANSWER_SECONDS", "cinebook.core.redis.SLOW_SECONDS"):
        monkeypatch.setattr(patience, 20.0)
    monkeypatch.setattr("seating.locks.mending.MEND_SECONDS", 20.0)


@pytest.fixture
def house(redis: Redis) -> House:
    return build_house()


@pytest.fixture
def without_redis(house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis goes away once the house stands, and nobody waits for it to come back."""
    settings.REDIS_URL = NOWHERE
    monkeypatch.setattr(comparison, "ATTEMPTS", 1)


def found(report: Any = None) -> set[str]:
    return {finding.violation for finding in (report or verify_seats()).findings}


# --- A house that is well ---------------------------------------------------------------------------------------------


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


# --- What can be wrong in PostgreSQL ----------------------------------------------------------------------------------


Fault = Callable[[House], Any]
HOUR = dt.timedelta(hours=1)


def two_live_holds(house: House) -> None:
    plant(
        "INSERT INTO seat_holds (hold_id, seat_id, price_amount) SELECT %s, id, 1200 FROM seating_seat"
        " WHERE showtime_id = %s AND code = 'A1'",
        house.pending.hold_id,
        house.showtime.pk,
    )


def left_open(house: House) -> None:
    plant("UPDATE seat_holds SET ended_at = NULL, end_reason = '' WHERE hold_id = %s", house.released.hold_id)


def closed_too_early(house: House) -> None:
    plant(
        "UPDATE seat_holds SET ended_at = now(), end_reason = 'released' WHERE hold_id = %s AND seat_id ="
        " (SELECT id FROM seating_seat WHERE showtime_id = %s AND code = 'A1')",
        house.held.hold_id,
        house.showtime.pk,
    )


def ended_alone(house: House) -> None:
    plant("UPDATE seating_hold SET ended_at = now(), end_reason = 'released' WHERE id = %s", house.held.hold_id)


def two_times(house: House) -> None:
    plant(
        "UPDATE seating_seatevent SET happened_at = happened_at - interval '1 second' WHERE id ="
        " (SELECT max(id) FROM seating_seatevent WHERE hold_id = %s AND cause = 'held')",
        house.held.hold_id,
    )


def two_holds_in_a_version(house: House) -> None:
    plant(
        "UPDATE seating_seatevent SET seq = (SELECT max(seq) FROM seating_seatevent WHERE hold_id = %s),"
        " happened_at = (SELECT max(happened_at) FROM seating_seatevent WHERE hold_id = %s)"
        " WHERE hold_id = %s AND cause = 'held'",
        house.held.hold_id,
        house.held.hold_id,
        house.pending.hold_id,
    )


def sold_to_somebody_else(house: House) -> None:
    """What an UPDATE without its owner check does: the buyer of one hold gets the seat of another."""
    seat = house.showtime.seats.get(code="A1")
    plant(
        "UPDATE seating_seat SET status = 'SOLD', hold_id = %s, sold_at = now(), reserved_at = NULL,"
        " reserved_until = NULL WHERE id = %s",
        house.bought.hold_id,
        seat.pk,
    )
    plant(
        "UPDATE seat_holds SET ended_at = now(), end_reason = 'sold' WHERE seat_id = %s AND ended_at IS NULL", seat.pk
    )
    house.line("A1", "RESERVED", "SOLD", "sold")
    plant(
        "UPDATE seating_seatevent SET hold_id = %s WHERE seat_id = %s AND cause = 'sold'", house.bought.hold_id, seat.pk
    )


def in_two_bookings(house: House) -> None:
    ticket = Ticket.objects.get(booking=house.bought, seat__code="B1")
    Ticket.objects.create(booking=house.pending, seat=ticket.seat, price_amount=ticket.price_amount)


def unsold(house: House) -> None:
    house.seat("B1", status="AVAILABLE", hold=None, sold_at=None)


def taken_while_paid(house: House) -> None:
    Booking.objects.filter(pk=house.declined.pk).update(ended_at=timezone.now() + HOUR)
    plant(
        "UPDATE bookings_paymentevent SET received_at = now() + interval '1 hour' WHERE payment_id IN"
        " (SELECT id FROM bookings_payment WHERE booking_id = %s)",
        house.declined.pk,
    )


def unpaid_again(house: House) -> None:
    Hold.objects.filter(pk=house.pending.hold_id).update(paying=False)
    house.seat("B3", paying=False)


def paid_for_nothing(house: House) -> None:
    Ticket.objects.filter(booking=house.pending).update(cancelled_at=timezone.now())
    Payment.objects.filter(booking=house.pending).update(status="CANCELLED")
    Booking.objects.filter(pk=house.pending.pk).update(status="CANCELLED", ended_at=timezone.now())


def dearer(house: House) -> None:
    amount = house.bought.total_amount + 100
    Booking.objects.filter(pk=house.bought.pk).update(total_amount=amount)
    Payment.objects.filter(booking=house.bought).update(amount=amount, captured_amount=amount)
    DemoPayment.objects.filter(order=house.bought.reference).update(amount=amount)


def shifted_price(house: House) -> None:
    for code, amount in (("B1", 1300), ("B2", 1100)):
        Ticket.objects.filter(booking=house.bought, seat__code=code).update(price_amount=amount)


def cancelled_long_ago(house: House) -> None:
    Showtime.objects.filter(pk=house.showtime.pk).update(cancelled_at=timezone.now() - HOUR)


def foreign_line(house: House) -> None:
    plant(
        "UPDATE seating_seatevent SET showtime_id = %s, seq = 1 WHERE showtime_id = %s AND cause = 'blocked'",
        make_showtime().pk,
        house.showtime.pk,
    )


FAULTS: list[tuple[str, Fault, set[str], set[str]]] = [
    # What it is called, what is done, what is found, what is left after a repair once all times are over.
    ("an audit row left open", left_open, {STRAY_AUDIT, OTHER_AUDIT}, set()),
    ("an audit row closed too early", closed_too_early, {STRAY_AUDIT, OTHER_AUDIT}, {OTHER_AUDIT}),
    ("a hold that ended alone", ended_alone, {ENDED}, set()),
    (
        "a seat that ends later than its hold",
        lambda house: house.seat("A1", reserved_until=timezone.now() + 24 * HOUR),
        {OTHER_END},
        set(),
    ),
    ("a seat that waits for no payment", lambda house: house.seat("A1", paying=True), {OTHER_END}, set()),
    (
        "a seat that does not wait for its payment",
        lambda house: house.seat("B3", paying=False),
        {OTHER_END, PENDING},
        set(),
    ),
    (
        "a seat overtaken too early",
        lambda house: plant(
            "UPDATE seat_holds SET ended_at = ended_at - interval '1 hour' WHERE hold_id = %s", house.overtaken.hold_id
        ),
        {"a seat was taken over before its hold's time was over"},
        {"a seat was taken over before its hold's time was over"},
    ),
    (
        "a hold without seats",
        lambda house: HoldFactory(showtime=house.showtime),
        {"a live hold has no seat, though nobody took over any"},
        set(),
    ),
    (
        "a counter that is ahead",
        lambda house: ShowtimeSales.objects.filter(showtime=house.showtime).update(seq=99),
        {GAP},
        {GAP},
    ),
    (
        "a seat that is not as in the ledger",
        lambda house: house.seat("C3", status="BLOCKED", block_reason="broken"),
        {OTHER_REPLAY},
        {OTHER_REPLAY},
    ),
    ("a line about another showtime's seat", foreign_line, {OTHER_REPLAY, GAP}, {OTHER_REPLAY, GAP}),
    (
        "a line that follows from nothing",
        lambda house: house.line("C3", "SOLD", "AVAILABLE", "cancelled"),
        {CHAIN},
        {CHAIN},
    ),
    (
        "a line with a wrong cause",
        lambda house: house.line("C3", "AVAILABLE", "AVAILABLE", "released"),
        {CAUSE},
        {CAUSE},
    ),
    ("a version at two times", two_times, {MANY_CHANGES}, {MANY_CHANGES}),
    ("a version of two holds", two_holds_in_a_version, {MANY_CHANGES, GAP}, {MANY_CHANGES, GAP}),
    (
        "an audit that tells another end",
        lambda house: plant(
            "UPDATE seat_holds SET end_reason = 'withdrawn' WHERE hold_id = %s", house.released.hold_id
        ),
        {OTHER_AUDIT},
        {OTHER_AUDIT},
    ),
    (
        "a hold long over",
        lambda house: let_pass(3000, house.held.hold_id),
        {"a seat is still reserved though its time is over", "a hold has not ended though its time is over"},
        set(),
    ),
    (
        "a hold renewed past its cap",
        lambda house: Hold.objects.filter(pk=house.released.hold_id).update(max_expires_at=F("expires_at") - HOUR),
        {PAST_THE_CAP},
        {PAST_THE_CAP},
    ),
    (
        "a hold renewed past its cap after a decline",
        lambda house: Hold.objects.filter(pk=house.overtaken.hold_id).update(
            expires_at=timezone.now() + 24 * HOUR, max_expires_at=timezone.now() + HOUR
        ),
        {PAST_THE_CAP, "a seat was taken over before its hold's time was over"},
        {PAST_THE_CAP, "a seat was taken over before its hold's time was over"},
    ),
    (
        "a payment long over",
        lambda house: let_pass(9000, house.pending.hold_id),
        {"a hold is still being paid long after its time"},
        {"a hold is still being paid long after its time"},
    ),
    (
        "a booking long over",
        lambda house: Booking.objects.filter(pk=house.pending.pk).update(pay_by=timezone.now() - HOUR),
        {"a booking is still pending long after the window of its payment"},
        {"a booking is still pending long after the window of its payment"},
    ),
    (
        "a showtime that was cancelled by hand",
        cancelled_long_ago,
        {"a cancelled showtime still has a hold", "a cancelled showtime still has a confirmed booking"},
        {"a cancelled showtime still has a confirmed booking"},
    ),
    ("a sale to somebody else", sold_to_somebody_else, {CAUSE, SOLD_WITHOUT}, {CAUSE, SOLD_WITHOUT}),
    (
        "a confirmed seat that is free",
        unsold,
        {"a confirmed ticket's seat is not sold", OTHER_REPLAY},
        {"a confirmed ticket's seat is not sold", OTHER_REPLAY},
    ),
    (
        "a sold seat whose ticket is cancelled",
        lambda house: house.bought.tickets.filter(seat__code="B1").update(cancelled_at=timezone.now()),
        {SOLD_WITHOUT, TICKETS},
        {SOLD_WITHOUT, TICKETS},
    ),
    (
        "a ticket that was not issued",
        lambda house: house.bought.tickets.filter(seat__code="B1").update(issued_at=None),
        {TICKETS},
        {TICKETS},
    ),
    (
        "a live ticket of a booking that was refunded",
        lambda house: Ticket.objects.filter(booking=house.refunded).update(cancelled_at=None),
        {TICKETS},
        {TICKETS},
    ),
    (
        "a hold sold to nobody",
        lambda house: Hold.objects.filter(pk=house.released.hold_id).update(end_reason="sold"),
        {"a hold was sold, and nobody has bought it"},
        {"a hold was sold, and nobody has bought it"},
    ),
    (
        "a seat taken from a payment",
        taken_while_paid,
        {"a seat was taken from a hold that was being paid"},
        {"a seat was taken from a hold that was being paid"},
    ),
    ("a booking whose hold is not being paid", unpaid_again, {PENDING}, {PENDING}),
    (
        "a booking that lost its seat",
        lambda house: Ticket.objects.filter(booking=house.pending).update(seat=house.showtime.seats.get(code="C3")),
        {PENDING, "a ticket does not cost what its seat cost when it was held"},
        {PENDING, "a ticket does not cost what its seat cost when it was held"},
    ),
    ("a hold that is paid for nothing", paid_for_nothing, {UNPAID}, set()),
    (
        "a refund that the booking does not know",
        lambda house: Booking.objects.filter(pk=house.refunded.pk).update(status="REFUND_DUE"),
        {PAYMENT},
        {PAYMENT},
    ),
    (
        "a booking without a payment",
        lambda house: plant("DELETE FROM bookings_payment WHERE booking_id = %s", house.declined.pk),
        {PAYMENT},
        {PAYMENT},
    ),
    (
        "a capture that nobody told of",
        lambda house: plant(
            "DELETE FROM bookings_paymentevent WHERE payment_id IN"
            " (SELECT id FROM bookings_payment WHERE booking_id = %s)",
            house.bought.pk,
        ),
        {TOLD},
        {TOLD},
    ),
    (
        "a capture that was told and not booked",
        lambda house: plant(
            "UPDATE bookings_paymentevent SET told = 'CAPTURED' WHERE told = 'DECLINED' AND payment_id IN"
            " (SELECT id FROM bookings_payment WHERE booking_id = %s)",
            house.declined.pk,
        ),
        {TOLD},
        {TOLD},
    ),
    (
        "a booking that costs more than its tickets",
        dearer,
        {"a booking does not cost what its tickets cost"},
        {"a booking does not cost what its tickets cost"},
    ),
    (
        "tickets at other prices",
        shifted_price,
        {"a ticket does not cost what its seat cost when it was held"},
        {"a ticket does not cost what its seat cost when it was held"},
    ),
    (
        "a capture that the provider does not know",
        lambda house: DemoPayment.objects.filter(order=house.bought.reference).update(status="PENDING"),
        {BOOKS},
        {BOOKS},
    ),
    (
        "a capture that the house does not know",
        lambda house: DemoPayment.objects.filter(order=house.declined.reference).update(status="CAPTURED"),
        {BOOKS},
        {BOOKS},
    ),
    (
        "a payment that the provider calls otherwise",
        lambda house: DemoPayment.objects.filter(order=house.bought.reference).update(reference="demo_other"),
        {BOOKS},
        {BOOKS},
    ),
    (
        "an order that is no booking's",
        lambda _house: DemoPayment.objects.create(
            reference="demo_x", order="BK-0000000000", amount=1, currency="EUR", status="CAPTURED"
        ),
        {"the books of the provider demo have an order that is no booking's"},
        {"the books of the provider demo have an order that is no booking's"},
    ),
]
WITHOUT_INDEX: list[tuple[str, str, str, Fault, set[str], set[str]]] = [
    (
        "a seat in two live holds",
        "seat_is_in_one_live_hold",
        "seat_holds",
        two_live_holds,
        {"a seat is in two live holds", STRAY_AUDIT, OTHER_AUDIT},
        {OTHER_AUDIT},
    ),
    (
        "a seat in two live bookings",
        "seat_has_one_ticket",
        "bookings_ticket",
        in_two_bookings,
        {
            "a seat is in two live bookings",
            PENDING,
            "a booking does not cost what its tickets cost",
            "a ticket does not cost what its seat cost when it was held",
        },
        {
            "a seat is in two live bookings",
            PENDING,
            "a booking does not cost what its tickets cost",
            "a ticket does not cost what its seat cost when it was held",
        },
    ),
]
CASES = [(name, None, None, *rest) for name, *rest in FAULTS] + [tuple(case) for case in WITHOUT_INDEX]


def past_sales_and_money() -> tuple[Any, ...]:
    """What no repair may touch, but for lines that it appends to the ledger."""
    return (
        list(Seat.objects.filter(status="SOLD").order_by("pk").values_list("pk", "hold", "sold_at")),
        list(Ticket.objects.order_by("pk").values()),
        list(Booking.objects.order_by("pk").values()),
        list(Payment.objects.order_by("pk").values()),
        list(DemoPayment.objects.order_by("pk").values()),
    )


@pytest.mark.usefixtures("without_redis")
@pytest.mark.parametrize("case", [pytest.param(case[1:], id=str(case[0])) for case in CASES])
def test_a_planted_fault_is_found_and_repaired_if_it_may_be(house: House, case: Any) -> None:
    index, table, fault, wanted, left = case
    with without_index(index, table) if index else nullcontext():
        fault(house)
        ledger = list(SeatEvent.objects.order_by("pk").values())
        kept = past_sales_and_money()

        assert found() == wanted

        over = Hold.objects.filter(ended_at=None, paying=False)
        let_pass(3000, house.held.hold_id, *over.values_list("pk", flat=True))
        if wanted == {UNPAID}:
            run_out(house.pending.hold_id)
        assert found(repair_seats()) == left
        assert list(SeatEvent.objects.order_by("pk").values())[: len(ledger)] == ledger
        assert past_sales_and_money() == kept


def test_every_invariant_has_its_fault() -> None:
    planted = {violation for case in CASES for violation in case[4]}  # type: ignore[union-attr]

    assert planted == {invariant.violation for invariant in (*SEAT_INVARIANTS, *BOOKING_INVARIANTS, *HOUSE_INVARIANTS)}


# --- What can be wrong in Redis ---------------------------------------------------------------------------------------


def lock_key(house: House, code: str) -> str:
    return f"seat_lock:{{{house.showtime.pk}}}:{code}"


def record_key(house: House) -> str:
    return f"seat_hold:{{{house.showtime.pk}}}:{house.held.hold_id}"


def index_key(house: House) -> str:
    return f"locked_seats:{{{house.showtime.pk}}}"


NO_LOCK = "a seat that is held has no lock"
WRONG_LOCK = "a lock is not as its seat's hold"
GHOST = "a seat that nobody holds has a lock"
LINE = "the index of locked seats has a wrong line"


@pytest.mark.parametrize(
    ("damage", "violation"),
    [
        pytest.param(lambda redis, house: redis.delete(lock_key(house, "A1")), NO_LOCK, id="no lock"),
        pytest.param(
            lambda redis, house: redis.set(
                lock_key(house, "A1"),
                json.dumps({**json.loads(redis.get(lock_key(house, "A1"))), "hold_id": "x"}),
                keepttl=True,
            ),
            WRONG_LOCK,
            id="a lock of another hold",
        ),
        pytest.param(lambda redis, house: redis.persist(lock_key(house, "A1")), WRONG_LOCK, id="a lock for ever"),
        pytest.param(
            lambda redis, house: redis.pexpire(lock_key(house, "A1"), 9_000),
            WRONG_LOCK,
            id="a lock that ends too early",
        ),
        pytest.param(lambda redis, house: redis.set(lock_key(house, "C3"), "?"), GHOST, id="a ghost"),
        pytest.param(
            lambda redis, _house: redis.set("seat_lock:{424242}:A1", json.dumps({"fence": 1}), px=60_000),
            GHOST,
            id="a ghost of no showtime",
        ),
        pytest.param(lambda redis, house: redis.delete(record_key(house)), "a live hold has no record", id="no record"),
        pytest.param(
            lambda redis, house: redis.set(record_key(house), "?", keepttl=True),
            "a record is not as its hold",
            id="a wrong record",
        ),
        pytest.param(
            lambda redis, house: redis.set(f"seat_hold:{{{house.showtime.pk}}}:{uuid.uuid4()}", "?"),
            "a hold that is over has a record",
            id="a record of nobody",
        ),
        pytest.param(lambda redis, house: redis.zrem(index_key(house), "A1"), LINE, id="no line"),
        pytest.param(lambda redis, house: redis.zadd(index_key(house), {"C3": 10**13}), LINE, id="a line too many"),
        pytest.param(
            lambda redis, house: redis.pexpire(index_key(house), 9_000),
            "the index of locked seats ends before its locks",
            id="an index that ends too early",
        ),
    ],
)
def test_what_redis_says_otherwise_is_found_and_repaired(
    house: House, redis: Redis, damage: Callable[[Redis, House], Any], violation: str
) -> None:
    damage(redis, house)
    before = {key: redis.dump(key) for key in redis.scan_iter()}

    [finding] = verify_seats().findings

    assert (finding.number, finding.violation, finding.count) == ("I8", violation, 1)
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before, "it only looks"
    report = repair_seats()
    assert report.findings == []
    assert len(report.repaired) == 1
    assert "in Redis" in report.repaired[0]


def test_after_a_flush_every_lock_is_missed_and_one_repair_writes_them(house: House, redis: Redis) -> None:
    redis.flushdb()

    assert found() == {NO_LOCK, "a live hold has no record"}
    assert repair_seats(showtime_ids=[house.showtime.pk]).findings == []


def test_an_attempt_that_is_under_way_is_no_difference(house: House, redis: Redis) -> None:
    owner = locks.LockOwner(holder_id=HolderFactory().pk, user_id=None)
    assert not locks.acquire(showtime_id=house.showtime.pk, codes=["C3"], owner=owner, nonce=uuid.uuid4())

    assert found() == set()


def test_the_line_of_a_lock_that_has_ended_by_itself_is_no_difference(house: House, redis: Redis) -> None:
    redis.zadd(index_key(house), {"C3": 1})

    assert found() == set()
    assert repair_seats().repaired == []
    assert redis.zscore(index_key(house), "C3") is None, "it is tidied up without a word"


def test_without_redis_the_rest_is_compared_and_it_says_so(house: House, without_redis: None) -> None:
    house.seat("C3", status="BLOCKED", block_reason="broken")

    report = verify_seats()

    assert (report.redis, found(report)) == ("away", {OTHER_REPLAY})
    assert "redis_keys" not in report.checked


def test_one_showtime_is_repaired_and_no_other(house: House, redis: Redis) -> None:
    other = build_house()
    for each in (house, other):
        left_open(each)
    redis.flushdb()

    report = repair_seats(showtime_ids=[house.showtime.pk])

    assert report.findings == []
    assert {line.partition(":")[0] for line in report.repaired} == {f"showtime {house.showtime.pk}"}
    assert {finding.showtime_id for finding in verify_seats().findings} == {other.showtime.pk}


# --- While the house sells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patient", [True, False], ids=["as it is", "control without the second look"])
def test_a_release_that_redis_has_not_heard_of_yet_is_no_alarm(
    house: House,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    patient: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 5.0 if patient else 0.0)
    looked, committed = threading.Event(), threading.Event()
    tell_redis, compare = locks.release, comparison.mending.compare

    def tell_late(**given: Any) -> None:
        committed.set()
        assert looked.wait(20)
        tell_redis(**given)

    def compare_and_tell(**given: Any) -> Any:
        differences = compare(**given)
        looked.set()
        return differences

    monkeypatch.setattr(locks, "release", tell_late)
    monkeypatch.setattr(comparison.mending, "compare", compare_and_tell)
    holder = Hold.objects.get(pk=house.held.hold_id).holder
    with in_background() as start:
        releasing = start(lambda: release(house.showtime, holder))
        assert committed.wait(20)
        alarms = found()
        releasing.result(20)

    assert bool(alarms) is not patient
    assert found() == set()


def test_money_that_has_just_come_is_no_alarm(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's books know of late money before its notice is heard."""
    DemoPayment.objects.filter(order=house.declined.reference).update(status="CAPTURED")
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 5.0)
    monkeypatch.setattr(second_look.time, "sleep", lambda _seconds: notify(house.declined))

    assert found() == set()
    assert Booking.objects.get(pk=house.declined.pk).status == "REFUNDED"


class Crowd:
    """People who hold, pay, cancel, let go and run out of time at two showtimes."""

    def __init__(self, people: int) -> None:
        self.showtimes = [make_showtime(), make_showtime()]
        self.people = people
        self.gone = 0

    def person(self, number: int) -> None:
        try:
            for turn in range(12):
                with suppress(Refusal):  # somebody else was quicker
                    self.act(self.showtimes[(number + turn) % 2], turn + number, f"{'ABC'[number % 3]}{1 + turn % 6}")
        finally:
            self.gone += 1

    def act(self, showtime: Showtime, kind: int, code: str) -> None:
        held = somebody_holds(showtime, code)
        match kind % 4:
            case 0:
                booking = buy(held).booking
                cancel_booking(holder_id=held.holder_id, reference=booking.reference)
            case 1:
                with suppress(Refusal):
                    buy(held, "decline")
                release(showtime, Hold.objects.get(pk=held.hold_id).holder)
            case 2:
                run_out(held.hold_id)
                expire_holds(showtime_id=showtime.pk)
            case _:
                release(showtime, Hold.objects.get(pk=held.hold_id).holder)

    def verified(self) -> list[Any]:
        reports = [verify_seats()]
        while self.gone < self.people:
            reports.append(verify_seats())
        return reports


def test_a_crowd_raises_no_false_alarm(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 5.0)
    crowd = Crowd(people=5)

    *_people, reports = race(*[lambda number=number: crowd.person(number) for number in range(5)], crowd.verified)

    assert len(reports) > 1
    assert [finding for report in reports for finding in report.findings] == []
    assert SeatEvent.objects.filter(cause__in=["sold", "released", "expired", "cancelled"]).count() > 20
