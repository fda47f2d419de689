"""Payments whose window is over, and refunds that are due: whoever comes by sees to them.

The ticker of each web process comes every second, the reconciler every five minutes; that they meet does no harm.
"""

from __future__ import annotations

import functools

import structlog

from bookings.models import BookingStatus, Payment, PaymentStatus
from bookings.payments import PaymentState, PaymentUnderWay, ProviderAway, provider_of
from bookings.selectors.purchases import payments_due
from bookings.services.purchases import claim_expiry, lock_purchase, order_of, write_unpaid
from bookings.services.refunding import carry_out_refund
from bookings.services.settling import settle_answer
from cinebook.core.outbox import effect, write_effect
from seating.services import release_paid_hold, run_sale

log = structlog.get_logger(__name__)

# The effect that ends a payment at a provider that could not be told in time.
END_AT_PROVIDER = "bookings.end_at_provider"


def settle_overdue_payments() -> int:
    """See to every payment whose window is over, and carry out the refunds that are due.

    One that fails does not keep the others waiting; it is tried again after a while.

    Returns:
        How many purchases have come to an end.
    """
    ended = 0
    for due in payments_due():
        try:
            if due.is_refund:
                ended += carry_out_refund(reference=due.reference)
            else:
                ended += expire_payment(reference=due.reference, grace_is_over=due.grace_is_over)
        except Exception:
            log.exception("payment.not_settled", reference=due.reference)
    return ended


def expire_payment(*, reference: str, grace_is_over: bool = False) -> bool:
    """End a purchase whose payment has not come in time: its booking expires, and its seats are free.

    The provider is told first that it must not take the money any more. If it has done so already, the booking is
    confirmed instead.

    Args:
        reference: the booking's.
        grace_is_over: go on even if the provider cannot be reached. Money that comes after that is seen to as well.

    Returns:
        Whether the purchase has come to an end. If not, it is tried again after a while.
    """
    if not claim_expiry(reference=reference):
        return False
    payment = Payment.objects.select_related("booking").get(booking__reference=reference)
    try:
        state = cancel_at_provider(payment)
    except ProviderAway:
        log.warning("payment.provider_away", reference=reference, provider=payment.provider)
        if not grace_is_over:
            return False
        provider_knows = False
    else:
        if state.status is not PaymentStatus.CANCELLED:
            settle_answer(provider=payment.provider, order=order_of(payment), state=state)
            return True
        provider_knows = True
    expired = run_sale(functools.partial(_expire, reference, provider_knows=provider_knows))
    if expired:
        log.info("booking.expired", reference=reference)
    return expired


def cancel_at_provider(payment: Payment) -> PaymentState:
    """Have the provider of a payment see to it that it does not come any more.

    Returns:
        `CANCELLED`; `CAPTURED` or `DECLINED` if it has come to that before.

    Raises:
        ProviderAway: nobody knows; PaymentUnderWay: the provider cannot do it now.
    """
    state = provider_of(payment).cancel(order_of(payment))
    if state.status not in (PaymentStatus.CANCELLED, PaymentStatus.CAPTURED, PaymentStatus.DECLINED):
        raise PaymentUnderWay
    return state


@effect(END_AT_PROVIDER)
def end_at_provider(*, reference: str, key: str) -> None:
    """Tell a provider that was away when the grace was over that the money is not wanted any more, once it is back.

    If it has taken the money meanwhile, and nobody has heard of it, that is settled as any money that comes late.

    Args:
        reference: the booking's.
        key: of the effect; the provider knows the payment by its order.

    Raises:
        ProviderAway: it still is, or the money is still under way.
        Refusal: `seat_locked` if the purchase was busy.
    """
    payment = Payment.objects.select_related("booking").get(booking__reference=reference)
    if payment.status != PaymentStatus.CANCELLED:
        # Its money was told of before.
        return
    state = cancel_at_provider(payment)
    if state.status is not PaymentStatus.CANCELLED:
        settle_answer(provider=payment.provider, order=order_of(payment), state=state)


def _expire(reference: str, *, provider_knows: bool) -> bool:
    purchase = lock_purchase(reference=reference)
    if purchase is None or not purchase.is_pending or purchase.booking.pay_by > purchase.now:
        return False
    release_paid_hold(booked=purchase.hold)
    write_unpaid(purchase, booking=BookingStatus.EXPIRED, payment=PaymentStatus.CANCELLED)
    if not provider_knows:
        write_effect(subject=f"payment {reference}", name=END_AT_PROVIDER, arguments={"reference": reference})
    return True
