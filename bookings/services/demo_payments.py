"""The provider `demo` as it meets the house: its page, which a person decides, and what it tells by itself."""

from __future__ import annotations

from bookings.models import DemoPayment, PaymentStatus
from bookings.payments.demo import DemoProvider, decide, demo_notice, due_notices, heard
from bookings.services.settling import receive_notice
from cinebook.core.errors import ErrorCode, Refusal


def demo_payment(reference: str) -> DemoPayment:
    """Return a payment of the demo provider. Its `order` is the reference of the booking.

    Args:
        reference: the provider's, which is the end of its page's address and cannot be guessed.

    Raises:
        Refusal: `not_found`.
    """
    payment = DemoPayment.objects.filter(reference=reference).first()
    if payment is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    return payment


def demo_decide(*, reference: str, outcome: PaymentStatus) -> DemoPayment:
    """Decide a payment that waits on the demo provider's page, and tell the house by a signed notice.

    Args:
        reference: the provider's.
        outcome: `CAPTURED` or `DECLINED`. One that is decided already stays as it is, and is told once more.

    Returns:
        The payment as it is now; its `order` is the reference of the booking.

    Raises:
        Refusal: `not_found`; `seat_locked` if the purchase was busy: decide once more.
    """
    payment = demo_payment(reference)
    decide(payment, outcome)
    notice = demo_notice(payment)
    if notice:
        receive_notice(provider=DemoProvider.name, body=notice.body, headers=notice.headers)
    return payment


def tell_demo_notices() -> int:
    """Bring the house the notices that the scripts of the demo provider have come to, as its server would.

    A forged one is refused, and not told again; one that met a purchase which was busy comes again after a while.

    Returns:
        How many were answered.
    """
    answered = 0
    for payment, notice in due_notices():
        try:
            if notice:
                receive_notice(provider=DemoProvider.name, body=notice.body, headers=notice.headers)
        except Refusal as refusal:
            if refusal.code is not ErrorCode.INVALID_DATA:
                continue
        heard(payment)
        answered += 1
    return answered
