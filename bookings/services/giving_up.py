"""Coming back from a provider's page without having paid."""

from __future__ import annotations

import functools

import structlog

from bookings.models import Booking, BookingStatus, PaymentStatus
from bookings.selectors.purchases import bookings, own_booking
from bookings.services.expiring import cancel_at_provider
from bookings.services.purchases import away_is_refused, lock_purchase, order_of, write_unpaid
from bookings.services.settling import settle_answer
from seating.services import resume_hold, run_sale

log = structlog.get_logger(__name__)


def give_up_payment(*, holder_id: int, reference: str) -> Booking:
    """Let a booking that is being paid not be paid in this way: its hold is as before, to be paid in another.

    Other than cancelling, it never undoes what has been paid meanwhile.

    Args:
        holder_id: whose booking it is.
        reference: which one.

    Returns:
        The booking as it is now: cancelled; or confirmed, if the money was quicker.

    Raises:
        Refusal: `not_found`; `unavailable` if the provider cannot be reached; `hold_paying` if the money is under way;
            `seat_locked`.
    """
    booking = own_booking(reference=reference, holder_id=holder_id)
    if booking.status != BookingStatus.PENDING:
        return booking
    with away_is_refused():
        state = cancel_at_provider(booking.payment)
    if state.status is not PaymentStatus.CANCELLED:
        settle_answer(provider=booking.payment.provider, order=order_of(booking.payment), state=state)
    elif run_sale(functools.partial(_give_up, reference)):
        log.info("booking.given_up", reference=reference)
    # Whoever it belongs to by now: a guest who signs in at this moment has done this all the same.
    return bookings().get(reference=reference)


def _give_up(reference: str) -> bool:
    purchase = lock_purchase(reference=reference)
    if purchase is None or not purchase.is_pending:
        return False
    resume_hold(booked=purchase.hold, until=purchase.booking.hold_expires_at)
    write_unpaid(purchase, booking=BookingStatus.CANCELLED, payment=PaymentStatus.CANCELLED)
    return True
