"""Reads of what was bought."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import uuid

from django.conf import settings
from django.db import connection
from django.db.models import Count, Prefetch, Q, QuerySet

from bookings.models import LIVE, Booking, BookingStatus, Ticket
from bookings.models.bookings import REFERENCE
from cinebook.core.errors import ErrorCode, Refusal

# How long after its window a payment is waited for while its provider cannot be reached, in seconds.
GRACE_SECONDS = 900
# How many payments that were not made in time one round sees to; the next round is soon.
ROUND = 100
# How many refunds: when a whole showtime is cancelled there are hundreds, and the others shall not wait for them.
REFUNDS_A_ROUND = 10


@dataclasses.dataclass(frozen=True, slots=True)
class DuePayment:
    """A payment that somebody has to see to. `grace_is_over`: its provider is not waited for any longer."""

    reference: str
    is_refund: bool
    grace_is_over: bool


def bookings() -> QuerySet[Booking]:
    """Return bookings with all that is shown of them, newest first."""
    return Booking.objects.select_related("payment", "showtime__movie", "showtime__auditorium").prefetch_related(
        Prefetch("tickets", Ticket.objects.select_related("seat").order_by("seat__position"))
    )


def own_bookings(*, holder_id: int, hold_id: uuid.UUID | None = None) -> QuerySet[Booking]:
    """Return a holder's bookings, newest first; those of one hold alone for somebody who has shown its token."""
    return bookings().filter(hold=hold_id) if hold_id else bookings().filter(holder=holder_id)


def own_booking(*, reference: str, holder_id: int, hold_id: uuid.UUID | None = None) -> Booking:
    """Return a booking to its holder, or to somebody who has shown the token of its hold.

    Raises:
        Refusal: `not_found`, also if it is somebody else's.
    """
    own = own_bookings(holder_id=holder_id, hold_id=hold_id)
    # PostgreSQL refuses to be asked for some texts that an address can have.
    booking = own.filter(reference=reference).first() if re.fullmatch(REFERENCE.regex, reference) else None
    if booking is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    return booking


def purchase_of_hold(*, holder_id: int, hold_id: uuid.UUID) -> Booking | None:
    """Return the booking of a holder that a hold has become, unless nothing was paid for it; None if there is none."""
    paid = [status for status in BookingStatus if status not in (BookingStatus.CANCELLED, BookingStatus.EXPIRED)]
    return bookings().filter(holder=holder_id, hold=hold_id, status__in=paid).first()


def cancellable_until(booking: Booking) -> dt.datetime:
    """Return until when a confirmed booking may be cancelled by the house's policy.

    Args:
        booking: with its showtime.
    """
    return booking.showtime.starts_at - dt.timedelta(minutes=settings.CANCELLATION_CUTOFF_MINUTES)


def payments_due() -> list[DuePayment]:
    """Return the payments whose window is over, and those that are to be refunded, as far as they may be tried now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
            (
                SELECT booking.reference, false, booking.pay_by <= now - make_interval(secs => %(grace)s)
                FROM clock, bookings_booking AS booking
                JOIN bookings_payment AS payment ON payment.booking_id = booking.id
                WHERE booking.status = 'PENDING' AND booking.pay_by <= now AND payment.next_attempt_at <= now
                ORDER BY booking.pay_by
                LIMIT %(round)s
            ) UNION ALL (
                SELECT booking.reference, true, false
                FROM clock, bookings_payment AS payment
                JOIN bookings_booking AS booking ON booking.id = payment.booking_id
                WHERE payment.status = 'REFUND_DUE' AND payment.next_attempt_at <= now
                ORDER BY payment.next_attempt_at
                LIMIT %(refunds)s
            )
            """,
            {"grace": GRACE_SECONDS, "round": ROUND, "refunds": REFUNDS_A_ROUND},
        )
        return [DuePayment(*row) for row in cursor.fetchall()]


def cancelled_showtimes_with_bookings() -> list[int]:
    """Return the cancelled showtimes that still have bookings which nobody has cancelled."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT showtime.id FROM seating_showtime AS showtime
            WHERE showtime.cancelled_at IS NOT NULL AND EXISTS (
                SELECT FROM bookings_booking AS booking
                WHERE booking.showtime_id = showtime.id AND booking.status IN ('PENDING', 'CONFIRMED')
            )
            ORDER BY showtime.id
            """
        )
        return [row[0] for row in cursor.fetchall()]


def holds_paid_for_nothing() -> list[tuple[uuid.UUID, int, int]]:
    """Return the holds whose payment's time is over, and that no booking waits for; each with holder and showtime.

    No correct transaction leaves such a hold behind.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT hold.id, hold.holder_id, hold.showtime_id FROM seating_hold AS hold
            WHERE hold.ended_at IS NULL AND hold.paying AND hold.expires_at <= statement_timestamp()
              AND NOT EXISTS (
                  SELECT FROM bookings_booking AS booking WHERE booking.hold_id = hold.id AND booking.status = 'PENDING'
              )
            ORDER BY hold.id
            """
        )
        return [(row[0], row[1], row[2]) for row in cursor.fetchall()]


def live_bookings_at(showtime_id: int) -> tuple[int, int]:
    """Return how many bookings of a showtime are confirmed, and how many are being paid."""
    live = Booking.objects.filter(showtime=showtime_id).aggregate(
        confirmed=Count("pk", filter=Q(status=BookingStatus.CONFIRMED)),
        pending=Count("pk", filter=Q(status=BookingStatus.PENDING)),
    )
    return live["confirmed"], live["pending"]


@dataclasses.dataclass(frozen=True, slots=True)
class CancelledBookings:
    """How far the cancelling of a showtime has come: its bookings that live, wait for their money, and have it back."""

    to_cancel: int
    to_refund: int
    refunded: int


def cancelled_bookings_at(showtime_id: int) -> CancelledBookings:
    """Return how far the cancelling of a showtime has come."""
    counted = Booking.objects.filter(showtime=showtime_id).aggregate(
        to_cancel=Count("pk", filter=Q(status__in=LIVE)),
        to_refund=Count("pk", filter=Q(status=BookingStatus.REFUND_DUE)),
        refunded=Count("pk", filter=Q(status=BookingStatus.REFUNDED)),
    )
    return CancelledBookings(**counted)
