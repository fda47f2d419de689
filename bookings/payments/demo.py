"""The provider `demo`: it moves no money, and does what its token says. It keeps books of its own, as a real one does.

Its page and its notices are those of a real provider too: the page decides a stalled payment, and a signed notice tells
the house.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import F

from bookings.models import DemoPayment, PaymentStatus
from bookings.payments.provider import BadNotice, Notice, Order, PaymentState
from bookings.payments.signatures import is_signed, signature
from cinebook.core.errors import ErrorCode, Refusal

# The request header of a notice that signs it.
SIGNATURE_HEADER = "Demo-Signature"
# What a token makes of a payment; without one it succeeds.
OUTCOMES = {
    "": PaymentStatus.CAPTURED,
    "succeed": PaymentStatus.CAPTURED,
    "decline": PaymentStatus.DECLINED,
    "stall": PaymentStatus.PENDING,
}
# What the notices call it.
EVENT_TYPES = {PaymentStatus.CAPTURED: "payment.captured", PaymentStatus.DECLINED: "payment.declined"}


@dataclasses.dataclass(frozen=True, slots=True)
class SignedNotice:
    """A notice that is ready to be sent."""

    body: bytes
    headers: dict[str, str]


class DemoProvider:
    """The house's end of it."""

    name = "demo"

    def check_token(self, token: str) -> None:
        """Refuse a token that says nothing.

        Raises:
            Refusal: `invalid_data`.
        """
        if token not in OUTCOMES:
            raise Refusal(ErrorCode.INVALID_DATA, errors={"payment": {"token": ["succeed, decline or stall."]}})

    def create(self, order: Order) -> PaymentState:
        """Begin the payment of an order, and do what its token says."""
        return _state(_payment(order, OUTCOMES[order.token]))

    def cancel(self, order: Order) -> PaymentState:
        """Cancel the payment of an order. One that was never begun is entered as cancelled, so it never will be."""
        payment = _payment(order, PaymentStatus.CANCELLED)
        _change(payment, PaymentStatus.PENDING, PaymentStatus.CANCELLED)
        return _state(payment)

    def refund(self, order: Order) -> PaymentState:
        """Give the money back; once, however often it is asked for."""
        payment = DemoPayment.objects.get(order=order.reference)
        DemoPayment.objects.filter(pk=payment.pk, status=PaymentStatus.CAPTURED).update(
            status=PaymentStatus.REFUNDED, refunded_amount=F("amount")
        )
        payment.refresh_from_db()
        return _state(payment)

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        """Return what a notice says; None if it is of a kind that does not concern us.

        Raises:
            BadNotice: it is forged, too old, or unreadable.
        """
        if not is_signed(
            headers.get(SIGNATURE_HEADER, ""), secret=settings.DEMO_WEBHOOK_SECRET, body=body, now=time.time()
        ):
            raise BadNotice
        try:
            event = json.loads(body)
            kinds = {name: status for status, name in EVENT_TYPES.items()}
            notice = _notice(event, kinds[event["type"]]) if event["type"] in kinds else None
        except (ValueError, KeyError, TypeError) as error:
            raise BadNotice from error
        if notice:
            _enter(notice)
        return notice


def demo_notice(payment: DemoPayment) -> SignedNotice | None:
    """Return the notice that tells the house how a payment was decided; None if it was not.

    The same decision always has the same event id, however often it is told.
    """
    status = PaymentStatus(payment.status)
    if status not in EVENT_TYPES:
        return None
    event = {
        "id": f"evt_{payment.reference}_{status.value.lower()}",
        "type": EVENT_TYPES[status],
        "created": int(time.time()),
        "data": {
            "object": {
                "id": payment.reference,
                "amount": payment.amount,
                "currency": payment.currency,
                "metadata": {"order": payment.order},
            }
        },
    }
    body = json.dumps(event).encode()
    header = signature(secret=settings.DEMO_WEBHOOK_SECRET, body=body, at=int(time.time()))
    return SignedNotice(body=body, headers={SIGNATURE_HEADER: header})


def decide(payment: DemoPayment, outcome: PaymentStatus) -> None:
    """Decide a payment that waits on the provider's page; one that is decided stays as it is.

    Args:
        outcome: `CAPTURED` or `DECLINED`.
    """
    _change(payment, PaymentStatus.PENDING, outcome)


def _notice(event: dict[str, Any], status: PaymentStatus) -> Notice:
    payment = event["data"]["object"]
    return Notice(
        event_id=str(event["id"]),
        order=str(payment["metadata"]["order"]),
        state=PaymentState(reference=str(payment["id"]), status=status),
        amount=int(payment["amount"]),
        currency=str(payment["currency"]),
    )


def _enter(notice: Notice) -> None:
    """Let the provider's own books follow a notice that was written by hand, so that its money can be refunded.

    Whoever knows the secret speaks for the provider: that is how a late success is tried out.
    """
    before = {
        PaymentStatus.CAPTURED: (PaymentStatus.PENDING, PaymentStatus.DECLINED, PaymentStatus.CANCELLED),
        PaymentStatus.DECLINED: (PaymentStatus.PENDING,),
    }
    DemoPayment.objects.filter(
        reference=notice.state.reference,
        order=notice.order,
        amount=notice.amount,
        currency=notice.currency,
        status__in=before[notice.state.status],
    ).update(status=notice.state.status)


def _payment(order: Order, status: PaymentStatus) -> DemoPayment:
    """Return the payment of an order; it gets this status if it is new."""
    return DemoPayment.objects.get_or_create(
        order=order.reference,
        defaults={
            "reference": f"demo_{secrets.token_urlsafe(18)}",
            "amount": order.amount,
            "currency": order.currency,
            "status": status,
        },
    )[0]


def _change(payment: DemoPayment, before: PaymentStatus, after: PaymentStatus) -> None:
    DemoPayment.objects.filter(pk=payment.pk, status=before).update(status=after)
    payment.refresh_from_db()


def _state(payment: DemoPayment) -> PaymentState:
    status = PaymentStatus(payment.status)
    page = f"/payments/demo/{payment.reference}/" if status is PaymentStatus.PENDING else ""
    return PaymentState(reference=payment.reference, status=status, redirect_url=page)
