"""Undoing a purchase: by whoever made it, in time; or by the house, which cancels a showtime."""

from __future__ import annotations

import dataclasses
import functools

import structlog

from bookings.models import LIVE, Booking, BookingStatus, Payment, PaymentStatus
from bookings.payments import ProviderAway
from bookings.selectors.purchases import (
    bookings,
    cancellable_until,
    cancelled_showtimes_with_bookings,
    live_bookings_at,
    own_booking,
)
from bookings.services.expiring import cancel_at_provider
from bookings.services.mailing import Mail, write_mail
from bookings.services.purchases import (
    LockedPurchase,
    away_is_refused,
    lock_purchase,
    order_of,
    write_refund_due,
    write_unpaid,
)
from bookings.services.refunding import carry_out_claimed_refund
from bookings.services.settling import settle_answer
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.outbox import effect, write_effect
from seating.models import SeatChange, Showtime
from seating.services import (
    NamedRequest,
    begin_request,
    cancel_showtime,
    release_paid_hold,
    resume_hold,
    return_seats,
    run_sale,
    withdraw_holds,
)

log = structlog.get_logger(__name__)

# The effect that brings the cancelling of a showtime to its end.
CALL_OFF = "bookings.call_off_showtime"


class StillToDo(Exception):  # noqa: N818 - a state of the world
    """Some bookings of a cancelled showtime could not be cancelled: a provider is away, or they were busy."""


@dataclasses.dataclass(frozen=True, slots=True)
class CalledOff:
    """What a showtime that was called off takes with it: holds that ended, and bookings that are being cancelled."""

    holds: int
    bookings: int


def cancel_booking(*, holder_id: int, reference: str, named: NamedRequest | None = None) -> Booking:
    """Cancel a booking for its holder.

    One that is being paid is cancelled at the provider, and its hold is as before. One that is confirmed gives its
    seats back to the sale, and its money is returned, at once if the provider does so. One that has ended stays as it
    is.

    Args:
        holder_id: whose booking it is.
        reference: which one.
        named: the request, if it has named itself.

    Returns:
        The booking as it is now.

    Raises:
        Refusal: `not_found`; `not_cancellable` from CANCELLATION_CUTOFF_MINUTES before the film on; `unavailable` if
            the provider cannot be reached, `hold_paying` if the money is under way, and nothing has changed;
            `seat_locked`.
    """
    booking = own_booking(reference=reference, holder_id=holder_id)
    if named:
        begin_request(named=named, begun=booking.reference)
    with away_is_refused():
        _cancel_and_refund(booking.reference, by_house=False)
    # Whoever it belongs to by now: a guest who signs in at this moment has done this all the same.
    return bookings().get(reference=reference)


def cancel_booking_for_house(*, reference: str) -> Booking:
    """Cancel a booking because the house wants to, however late it is.

    One that is being paid is cancelled at the provider, and its seats are free. Otherwise as `cancel_booking`.

    Returns:
        The booking as it is now.

    Raises:
        Refusal: `not_found`; `unavailable` if the provider cannot be reached, `hold_paying` if the money is under way,
            and nothing has changed; `seat_locked`.
    """
    if not Booking.objects.filter(reference=reference).exists():
        raise Refusal(ErrorCode.NOT_FOUND)
    with away_is_refused():
        _cancel_and_refund(reference, by_house=True)
    return bookings().get(reference=reference)


def call_off_showtime(*, showtime_id: int) -> CalledOff:
    """Cancel a showtime for good: no more sales, no more holds, and whoever has paid gets their money back.

    In this order, so that nobody can begin to pay what will not be shown. The showtime is cancelled and its holds end
    at once. Its bookings are cancelled by an effect that is written with that, and the money is given back by whoever
    comes by: hundreds of calls to a provider would keep the caller waiting. Calling off once more does no harm.

    Returns:
        How much there is to undo.

    Raises:
        Refusal: `not_found`; `seat_locked`: nothing has changed.
    """
    finish = functools.partial(
        write_effect, subject=f"showtime {showtime_id}", name=CALL_OFF, arguments={"showtime_id": showtime_id}
    )
    try:
        holds = cancel_showtime(showtime_id=showtime_id, also=finish).holds
    except Refusal:
        if not Showtime.objects.filter(pk=showtime_id, cancelled_at__isnull=False).exists():
            raise
        # One of the holds was busy: the effect comes back to them.
        holds = 0
    return CalledOff(holds=holds, bookings=sum(live_bookings_at(showtime_id)))


@effect(CALL_OFF)
def finish_calling_off(*, showtime_id: int, key: str) -> None:
    """End what still lives at a showtime that was called off.

    Done again, it goes on where it was broken off; done by two at the same time, the one waits for the other's rows.

    Args:
        showtime_id: which one.
        key: of the effect; there is nothing that it would have to be told apart by.

    Raises:
        Refusal: `seat_locked` when a hold was busy.
        StillToDo: something could not be cancelled yet.
    """
    withdraw_holds(showtime_id=showtime_id)
    cancel_bookings_of_showtime(showtime_id=showtime_id)
    if any(live_bookings_at(showtime_id)):
        raise StillToDo


def cancel_bookings_of_showtime(*, showtime_id: int) -> int:
    """Cancel all bookings of a showtime that the house has cancelled; the money that is due is returned later.

    One that fails does not keep the others waiting: whoever called comes back to it.

    Returns:
        How many bookings were cancelled.
    """
    live = Booking.objects.filter(showtime=showtime_id, status__in=LIVE).order_by("id")
    cancelled = 0
    for reference in live.values_list("reference", flat=True):
        try:
            cancelled += _cancel(reference, by_house=True, refund_at_once=False) is not None
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


def _cancel_and_refund(reference: str, *, by_house: bool) -> None:
    if _cancel(reference, by_house=by_house) == BookingStatus.CONFIRMED:
        carry_out_claimed_refund(reference=reference)


def _cancel(reference: str, *, by_house: bool, refund_at_once: bool = True) -> BookingStatus | None:
    """Cancel a booking; return what it was, None if it had ended. One that was confirmed has its refund due.

    Args:
        reference: the booking's.
        by_house: it is not the buyer who cancels.
        refund_at_once: the caller carries the refund out; otherwise whoever comes by does.

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
        functools.partial(
            _write_cancelled,
            reference,
            nothing_will_come=nothing_will_come,
            by_house=by_house,
            refund_at_once=refund_at_once,
        )
    )
    if was == BookingStatus.CONFIRMED:
        log.info("booking.refund_due", reference=reference)
    elif was:
        log.info("booking.cancelled", reference=reference)
    return was


def _write_cancelled(
    reference: str, *, nothing_will_come: bool, by_house: bool, refund_at_once: bool
) -> BookingStatus | None:
    """Return what the booking was; None if it had ended."""
    purchase = lock_purchase(reference=reference)
    if purchase and purchase.payment.status == PaymentStatus.DECLINED:
        # It has ended without money. Should that come after all, nobody wants the seats for it any more.
        write_unpaid(purchase, booking=BookingStatus.CANCELLED, payment=PaymentStatus.CANCELLED)
        return None
    if purchase is None or purchase.booking.status not in LIVE:
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
    write_refund_due(purchase, mail=_mail(purchase, by_house=by_house), at_once=refund_at_once)
    return BookingStatus.CONFIRMED


def _mail(purchase: LockedPurchase, *, by_house: bool) -> Mail:
    if not by_house:
        return Mail.CANCELLED
    return Mail.SHOWTIME_CANCELLED if purchase.booking.showtime.cancelled_at else Mail.CANCELLED_BY_HOUSE


def _is_too_late(purchase: LockedPurchase) -> bool:
    return purchase.now > cancellable_until(purchase.booking)
