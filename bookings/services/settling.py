"""What a payment has come to: one function for the provider's answer, its page and its notices.

Nobody knows in which order these arrive, how often, or how late. Each is heard once, under the locks of the purchase,
and what it says is compared with what the purchase has become since.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import structlog
from django.db import connection

from bookings.models import LIVE, Booking, BookingStatus, PaymentStatus
from bookings.payments import BadNotice, Notice, Order, PaymentState, provider_named
from bookings.services.mailing import Mail
from bookings.services.purchases import (
    LockedPurchase,
    lock_purchase,
    write_confirmed,
    write_provider_reference,
    write_refund_claimed,
    write_refund_due,
    write_unpaid,
)
from bookings.services.refunding import carry_out_claimed_refund
from cinebook.core.errors import ErrorCode, Refusal
from seating.models import SeatChange
from seating.services import release_paid_hold, resume_hold, run_sale, sell_hold, sell_late

log = structlog.get_logger(__name__)

# Payments whose money has not come.
UNPAID = (PaymentStatus.PENDING, PaymentStatus.DECLINED, PaymentStatus.CANCELLED)
# What is told of a refund: it has been made; or it has failed, perhaps after that, so that it is due again.
OF_REFUNDS = (PaymentStatus.REFUNDED, PaymentStatus.REFUND_DUE)


def receive_notice(*, provider: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Take a provider's notice, and settle the payment that it is about.

    Args:
        provider: its name.
        body: as it came, to the byte.
        headers: of the request.

    Raises:
        Refusal: `not_found` if there is no such provider; `invalid_data` if it has not signed this, and nothing
            changes; `seat_locked` if the purchase was busy: the provider sends the notice again.
    """
    known = provider_named(provider)
    if known is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    try:
        notice = known.read_notice(body, headers)
    except BadNotice:
        log.warning("payment.bad_notice", provider=provider)
        raise Refusal(ErrorCode.INVALID_DATA) from None
    if notice:
        settle_payment(provider=provider, notice=notice)


def settle_answer(*, provider: str, order: Order, state: PaymentState) -> None:
    """Settle a payment by what its provider has answered to a call; the same answer is heard once.

    Raises:
        Refusal: `seat_locked`; ask the provider again.
    """
    settle_payment(
        provider=provider,
        notice=Notice(
            event_id=f"answer:{order.reference}:{state.status.value}",
            order=order.reference,
            state=state,
            amount=order.amount,
            currency=order.currency,
        ),
    )


def settle_payment(*, provider: str, notice: Notice) -> None:
    """Bring a purchase to where its payment has come.

    Captured: the seats are sold, the tickets issued and the booking confirmed, in one transaction. If the money comes
    after its hold has ended, the seats are taken again where nobody else has them; else it is given back, once.
    Declined: the booking is cancelled and the hold is as before. Refunded: whoever gives the money back looks at once.
    A refund that has failed after all is due again. Unknown, repeated and outdated notices change nothing.

    Args:
        provider: who tells it.
        notice: what is told.

    Raises:
        Refusal: `seat_locked` if the purchase was busy.
    """
    outcome = run_sale(functools.partial(_settle, provider, notice))
    if outcome:
        log.info("booking.settled", reference=notice.order, provider=provider, status=outcome.value)
    if outcome == BookingStatus.REFUND_DUE:
        carry_out_claimed_refund(reference=notice.order)


def _settle(provider: str, notice: Notice) -> BookingStatus | None:
    """Return what the booking has become; None if nothing has changed."""
    purchase = lock_purchase(reference=notice.order)
    if purchase is None or not _is_about(purchase, provider, notice):
        log.error("payment.notice_about_nothing", provider=provider, event_id=notice.event_id)
        return None
    # Also if it was heard before: a provider that was asked too early has said the same, and could not name it yet.
    if notice.state.reference and not purchase.payment.provider_reference:
        write_provider_reference(purchase, reference=notice.state.reference, redirect_url=notice.state.redirect_url)
    if not _is_new(purchase, notice):
        return None
    match notice.state.status, purchase.payment.status:
        case PaymentStatus.CAPTURED, before if before in UNPAID:
            return _captured(purchase)
        case PaymentStatus.DECLINED, _ if purchase.is_pending:
            return _declined(purchase)
        case PaymentStatus.REFUNDED, PaymentStatus.REFUND_DUE:
            write_refund_claimed(purchase)
            return BookingStatus.REFUND_DUE
        case PaymentStatus.REFUND_DUE, PaymentStatus.REFUNDED:
            log.error("refund.failed", reference=notice.order, provider=provider, event_id=notice.event_id)
            write_refund_claimed(purchase, failed=True)
    return None


def _is_about(purchase: LockedPurchase, provider: str, notice: Notice) -> bool:
    """Return whether a notice means this payment: its provider's, and all of its money, or a refund of it."""
    payment, told = purchase.payment, notice.state
    return (
        (notice.amount == payment.amount or (told.status in OF_REFUNDS and notice.amount < payment.amount))
        and notice.currency == purchase.booking.currency
        and payment.provider == provider
        and (payment.provider_reference == told.reference or "" in (payment.provider_reference, told.reference))
    )


def _is_new(purchase: LockedPurchase, notice: Notice) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bookings_paymentevent (payment_id, provider, event_id, told) VALUES (%s, %s, %s, %s)
            ON CONFLICT (provider, event_id) DO NOTHING
            """,
            [purchase.payment.pk, purchase.payment.provider, notice.event_id, notice.state.status.value],
        )
        return bool(cursor.rowcount)


def _captured(purchase: LockedPurchase) -> BookingStatus:
    given_up = _given_up(purchase)
    if not given_up and _sell(purchase):
        write_confirmed(purchase)
        return BookingStatus.CONFIRMED
    if purchase.is_pending:
        release_paid_hold(booked=purchase.hold, cause=SeatChange.WITHDRAWN if given_up else SeatChange.EXPIRED)
    write_refund_due(purchase, mail=given_up or Mail.TOO_LATE)
    return BookingStatus.REFUND_DUE


def _given_up(purchase: LockedPurchase) -> Mail | None:
    """Return what tells the buyer that the purchase was given up, by them or by the house: they want no seats for it.

    None if it was not.
    """
    if purchase.booking.showtime.cancelled_at:
        return Mail.SHOWTIME_CANCELLED
    if purchase.payment.status == PaymentStatus.CANCELLED and purchase.booking.status == BookingStatus.CANCELLED:
        return Mail.CANCELLED
    return None


def _sell(purchase: LockedPurchase) -> bool:
    """Sell the seats of a purchase that was paid, all or none; return whether."""
    if purchase.is_pending:
        return sell_hold(booked=purchase.hold, codes=purchase.prices.keys())
    if _is_bought_otherwise(purchase):
        return False
    return sell_late(booked=purchase.hold, prices=purchase.prices)


def _is_bought_otherwise(purchase: LockedPurchase) -> bool:
    """Return whether the hold has become another booking since, perhaps of other seats: it has one at a time."""
    live = Booking.objects.filter(hold=purchase.booking.hold_id, status__in=LIVE)
    return live.exclude(pk=purchase.booking.pk).exists()


def _declined(purchase: LockedPurchase) -> BookingStatus:
    resume_hold(booked=purchase.hold, until=purchase.booking.hold_expires_at)
    write_unpaid(purchase, booking=BookingStatus.CANCELLED, payment=PaymentStatus.DECLINED)
    return BookingStatus.CANCELLED
