"""Everything that can be wrong in PostgreSQL: a fault to be planted for each invariant, and what is found of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.db.models import F
from django.utils import timezone

from bookings.models import Booking, DemoPayment, Payment, Ticket
from seating.models import Hold, Showtime, ShowtimeSales
from tests.bookings.services.verifying.house import House
from tests.factories import HoldFactory, make_showtime
from tests.support.faults import plant
from tests.support.passing_time import let_pass

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
