"""Undoing a purchase: by whoever made it, in time; or by the house, which cancels a showtime."""

from __future__ import annotations

import dataclasses
import functools

import structlog

from bookings.models import Booking, BookingStatus, Payment, PaymentStatus
from bookings.payments import ProviderAway
from bookings.selectors.purchases import bookings, cancellable_until, cancelled_showtimes_with_bookings, own_booking
from bookings.services.expiring import cancel_at_provider
from bookings.services.mailing import Mail, write_mail
from bookings.services.purchases import LockedPurchase, lock_purchase, order_of, write_refund_due, write_unpaid
from bookings.services.refunding import carry_out_refund
from bookings.services.settling import settle_answer
from cinebook.core.errors import ErrorCode, Refusal
from seating.models import SeatChange
from seating.services import cancel_showtime, release_paid_hold, resume_hold, return_seats, run_sale

log = structlog.get_logger(__name__)

# After how many seconds to ask again when the provider could not be reached.
RETRY_AFTER_PROVIDER = 5


@dataclasses.dataclass(frozen=True, slots=True)
class CalledOff:
    """What a showtime that was called off took with it: how many holds, and how many bookings."""

    holds: int
    bookings: int


def cancel_booking(*, holder_id: int, reference: str) -> Booking:
    """Cancel a booking for its holder.

    One that is being paid is cancelled at the provider, and its hold is as before. One that is confirmed gives its
    seats back to the sale, and its money is returned, at once if the provider does so. One that has ended stays as it
    is.

    Args:
        holder_id: whose booking it is.
        reference: which one.

    Returns:
        The booking as it is now.

    Raises:
        Refusal: `not_found`; `not_cancellable` from CANCELLATION_CUTOFF_MINUTES before the film on; `unavailable` if
            the provider cannot be reached and nothing has changed; `seat_locked`.
    """
    booking = own_booking(reference=reference, holder_id=holder_id)
    try:
        _cancel(booking.reference, by_house=False)
    except ProviderAway:
        raise Refusal(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER_PROVIDER) from None
    return own_booking(reference=reference, holder_id=holder_id)


def cancel_booking_for_house(*, reference: str) -> Booking:
    """Cancel a booking because the house wants to, however late it is.

    One that is being paid is cancelled at the provider, and its seats are free. Otherwise as `cancel_booking`.

    Returns:
        The booking as it is now.

    Raises:
        Refusal: `not_found`; `unavailable` if the provider cannot be reached and nothing has changed; `seat_locked`.
    """
    if not Booking.objects.filter(reference=reference).exists():
        raise Refusal(ErrorCode.NOT_FOUND)
    try:
        _cancel(reference, by_house=True)
    except ProviderAway:
        raise Refusal(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER_PROVIDER) from None
    return bookings().get(reference=reference)


def call_off_showtime(*, showtime_id: int) -> CalledOff:
    """Cancel a showtime for good: no more sales, no more holds, and whoever has paid gets their money back.

    In this order, so that nobody can begin to pay what will not be shown. What fails on the way is taken up by the
    reconciler, or by calling off once more.

    Returns:
        How much there was to undo.

    Raises:
        Refusal: `not_found`; `seat_locked` when a hold was busy: the showtime is cancelled, the rest is still to do.
    """
    withdrawn = cancel_showtime(showtime_id=showtime_id)
    return CalledOff(holds=withdrawn.holds, bookings=cancel_bookings_of_showtime(showtime_id=showtime_id))


def cancel_bookings_of_showtime(*, showtime_id: int) -> int:
    """Cancel all bookings of a showtime that the house has cancelled, and return the money.

    One that fails does not keep the others waiting: `cancel_bookings_of_cancelled_showtimes` comes back to it.

    Returns:
        How many bookings were cancelled.
    """
    live = Booking.objects.filter(
        showtime=showtime_id, status__in=[BookingStatus.PENDING, BookingStatus.CONFIRMED]
    ).order_by("id")
    cancelled = 0
    for reference in live.values_list("reference", flat=True):
        try:
            cancelled += _cancel(reference, by_house=True)
        except ProviderAway:
            log.warning("booking.provider_away", reference=reference)
        except Exception:
            log.exception("booking.not_cancelled", reference=reference)
    log.info("bookings.cancelled_by_house", showtime_id=showtime_id, bookings=cancelled)
    return cancelled


def cancel_bookings_of_cancelled_showtimes() -> int:
    """Cancel what is left of the bookings of cancelled showtimes; the reconciler asks for it.

    Returns:
        How many bookings were cancelled.
    """
    return sum(
        cancel_bookings_of_showtime(showtime_id=showtime_id) for showtime_id in cancelled_showtimes_with_bookings()
    )


def _cancel(reference: str, *, by_house: bool) -> bool:
    """Cancel a booking, and return its money; return whether that changed anything.

    Raises:
        ProviderAway: it is being paid, and the provider cannot be reached.
        Refusal: `not_cancellable`, `seat_locked`.
    """
    payment = Payment.objects.select_related("booking").get(booking__reference=reference)
    nothing_will_come = False
    if payment.booking.status == BookingStatus.PENDING:
        state = cancel_at_provider(payment)
        nothing_will_come = state.status is PaymentStatus.CANCELLED
        if not nothing_will_come:
            settle_answer(provider=payment.provider, order=order_of(payment), state=state)
    was = run_sale(
        functools.partial(_write_cancelled, reference, nothing_will_come=nothing_will_come, by_house=by_house)
    )
    if was == BookingStatus.CONFIRMED:
        log.info("booking.refund_due", reference=reference)
        carry_out_refund(reference=reference)
    elif was:
        log.info("booking.cancelled", reference=reference)
    return was is not None


def _write_cancelled(reference: str, *, nothing_will_come: bool, by_house: bool) -> BookingStatus | None:
    """Return what the booking was; None if it had ended."""
    purchase = lock_purchase(reference=reference)
    if purchase is None or purchase.booking.status not in (BookingStatus.PENDING, BookingStatus.CONFIRMED):
        return None
    if purchase.is_pending:
        # It has begun to be paid since we asked the provider about it.
        if not nothing_will_come:
            raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)
        if by_house:
            release_paid_hold(booked=purchase.hold, cause=SeatChange.WITHDRAWN)
        else:
            resume_hold(booked=purchase.hold, until=purchase.booking.hold_expires_at)
        write_unpaid(purchase, booking=BookingStatus.CANCELLED, payment=PaymentStatus.CANCELLED)
        if by_house:
            write_mail(reference=reference, mail=_mail(purchase, by_house=True))
        return BookingStatus.PENDING
    if not by_house and _is_too_late(purchase):
        raise Refusal(ErrorCode.NOT_CANCELLABLE)
    return_seats(booked=purchase.hold, codes=purchase.prices.keys())
    write_refund_due(purchase, mail=_mail(purchase, by_house=by_house))
    return BookingStatus.CONFIRMED


def _mail(purchase: LockedPurchase, *, by_house: bool) -> Mail:
    if not by_house:
        return Mail.CANCELLED
    return Mail.SHOWTIME_CANCELLED if purchase.booking.showtime.cancelled_at else Mail.CANCELLED_BY_HOUSE


def _is_too_late(purchase: LockedPurchase) -> bool:
    return purchase.now > cancellable_until(purchase.booking)
