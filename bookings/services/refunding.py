"""Giving money back: once, and until it has worked."""

from __future__ import annotations

import functools
from collections.abc import Collection

import structlog
from django.db.models.functions import Now

from bookings.models import BookingStatus, Payment, PaymentStatus
from bookings.payments import ProviderAway, provider_of
from bookings.services.purchases import claim_refund, lock_purchase, order_of, write_refunded
from seating.services import run_sale

log = structlog.get_logger(__name__)

# From which attempt on people are told that a refund does not go through: that is after an hour, by the growing pauses.
ATTEMPTS_UNTIL_STUCK = 8


def carry_out_refund(*, reference: str) -> bool:
    """Have the provider give back what a booking has paid, if that is due and nobody else is at it.

    Args:
        reference: the booking's.

    Returns:
        Whether the money is back now. If not, it is tried again after a while.
    """
    return claim_refund(reference=reference) and carry_out_claimed_refund(reference=reference)


def carry_out_claimed_refund(*, reference: str) -> bool:
    """Have the provider give back what a booking has paid, for who has just written that it is due, or has claimed it.

    Args:
        reference: the booking's.

    Returns:
        Whether the money is back now. If not, it is tried again after a while.
    """
    payment = Payment.objects.select_related("booking").get(booking__reference=reference)
    try:
        state = provider_of(payment).refund(order_of(payment))
    except ProviderAway:
        log.warning("refund.provider_away", reference=reference, provider=payment.provider)
        is_back = False
    else:
        is_back = state.status is PaymentStatus.REFUNDED
    if is_back:
        run_sale(functools.partial(_write, reference))
        log.info("booking.refunded", reference=reference)
    elif payment.refund_attempts >= ATTEMPTS_UNTIL_STUCK:
        log.error("refund.stuck", reference=reference, provider=payment.provider, attempts=payment.refund_attempts)
    return is_back


def hasten_refunds(*, payment_ids: Collection[int]) -> int:
    """Have those refunds tried again within a second that are due, however long they were to wait; return how many."""
    return Payment.objects.filter(pk__in=payment_ids, status=PaymentStatus.REFUND_DUE).update(
        next_attempt_at=Now(), refund_attempts=0
    )


def _write(reference: str) -> None:
    purchase = lock_purchase(reference=reference)
    if purchase and purchase.booking.status == BookingStatus.REFUND_DUE:
        write_refunded(purchase)
