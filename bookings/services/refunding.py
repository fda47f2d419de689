"""Giving money back: once, and until it has worked."""

from __future__ import annotations

import functools

import structlog

from bookings.models import BookingStatus, Payment, PaymentStatus
from bookings.payments import ProviderAway, provider_of
from bookings.services.purchases import claim_refund, lock_purchase, order_of, write_refunded
from seating.services import run_sale

log = structlog.get_logger(__name__)


def carry_out_refund(*, reference: str) -> bool:
    """Have the provider give back what a booking has paid, if that is due and nobody else is at it.

    Args:
        reference: the booking's.

    Returns:
        Whether the money is back now. If not, it is tried again after a while.
    """
    if not claim_refund(reference=reference):
        return False
    payment = Payment.objects.select_related("booking").get(booking__reference=reference)
    try:
        state = provider_of(payment).refund(order_of(payment))
    except ProviderAway:
        log.warning("refund.provider_away", reference=reference, provider=payment.provider)
        return False
    if state.status is not PaymentStatus.REFUNDED:
        return False
    run_sale(functools.partial(_write, reference))
    log.info("booking.refunded", reference=reference)
    return True


def _write(reference: str) -> None:
    purchase = lock_purchase(reference=reference)
    if purchase and purchase.booking.status == BookingStatus.REFUND_DUE:
        write_refunded(purchase)
