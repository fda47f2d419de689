"""The provider `demo`: it moves no money, and does what its token says. It keeps books of its own, as a real one does.

Its page and its notices are those of a real provider too: the page decides a stalled payment, and a signed notice tells
the house. What real ones do at their worst, a token of it does at will: see `SCRIPTS`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

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
# How long `early` waits for its own notice to have been heard before it answers, and how often it looks, in seconds.
EARLY_PATIENCE = 3.0
GLANCE = 0.02
# After how many seconds a notice that was not heard is told again, and how many are told in one round.
TELL_AGAIN_SECONDS = 5
ROUND = 20
# What the notices call it.
EVENT_TYPES = {PaymentStatus.CAPTURED: "payment.captured", PaymentStatus.DECLINED: "payment.declined"}


@dataclasses.dataclass(frozen=True, slots=True)
class Script:
    """What a payment tells by itself, one notice after the other.

    `answer` is what its creation answers. `waits` are the seconds before each notice, counted from the one before, of
    which the first `forged` are not signed by the provider. They say that the money has come; it comes with the first
    one that is true. Unless `after_cancel`, they begin with the payment, and end when it is cancelled.
    """

    waits: tuple[float, ...]
    answer: PaymentStatus = PaymentStatus.PENDING
    forged: int = 0
    after_cancel: bool = False


SCRIPTS = {
    "late": Script(waits=(5,)),
    "twice": Script(waits=(1, 0)),
    "early": Script(waits=(0,), answer=PaymentStatus.CAPTURED),
    "forged": Script(waits=(1, 4), forged=1),
    "overdue": Script(waits=(3,), after_cancel=True),
}


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
        known = [name for name in OUTCOMES if name] + list(SCRIPTS)
        if token and token not in known:
            raise Refusal(ErrorCode.INVALID_DATA, errors={"payment": {"token": [f"One of {', '.join(known)}."]}})

    def create(self, order: Order) -> PaymentState:
        """Begin the payment of an order, and do what its token says."""
        script = SCRIPTS.get(order.token)
        payment = _payment(order, script.answer if script else OUTCOMES[order.token], order.token)
        if script and script.answer is PaymentStatus.CAPTURED:
            _wait_until_told(payment)
        return _state(payment)

    def cancel(self, order: Order) -> PaymentState:
        """Cancel the payment of an order. One that was never begun is entered as cancelled, so it never will be."""
        payment = _payment(order, PaymentStatus.CANCELLED)
        _change(payment, PaymentStatus.PENDING, PaymentStatus.CANCELLED)
        script = SCRIPTS.get(payment.script)
        if script and script.after_cancel and payment.status == PaymentStatus.CANCELLED:
            DemoPayment.objects.filter(pk=payment.pk, told=0, tells_at=None).update(tells_at=_first_notice(script))
        return _state(payment)

    def ask(self, order: Order) -> PaymentState:
        """Tell how the payment of an order stands; of one that was never begun, that it is still to come."""
        payment = DemoPayment.objects.filter(order=order.reference).first()
        return _state(payment) if payment else PaymentState(reference="", status=PaymentStatus.PENDING)

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


def due_notices() -> list[tuple[DemoPayment, SignedNotice | None]]:
    """Return the payments whose script has come to a notice, with that notice; None if there is nothing to tell.

    As with any provider, what is not known to have been `heard` is told again after a while.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE bookings_demopayment SET tells_at = clock_timestamp() + make_interval(secs => %s)
            WHERE id IN (
                SELECT id FROM bookings_demopayment WHERE tells_at <= clock_timestamp()
                ORDER BY tells_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            RETURNING id
            """,
            [TELL_AGAIN_SECONDS, ROUND],
        )
        due = [row[0] for row in cursor.fetchall()]
    return [(payment, _scripted(payment)) for payment in DemoPayment.objects.filter(pk__in=due).order_by("pk")]


def heard(payment: DemoPayment) -> None:
    """Go on in a payment's script, for the notice that it had come to was answered."""
    told = payment.told + 1
    waits = SCRIPTS[payment.script].waits[told:]
    DemoPayment.objects.filter(pk=payment.pk, told=payment.told).update(
        told=told, tells_at=Now() + dt.timedelta(seconds=waits[0]) if waits else None
    )


def _scripted(payment: DemoPayment) -> SignedNotice | None:
    """Return the notice that a script has come to, and let the books say what it says, if it is true."""
    script = SCRIPTS[payment.script]
    if payment.told >= script.forged:
        before = PaymentStatus.CANCELLED if script.after_cancel else PaymentStatus.PENDING
        _change(payment, before, PaymentStatus.CAPTURED)
        return demo_notice(payment)
    payment.status = PaymentStatus.CAPTURED
    lie = demo_notice(payment)
    if lie is None:
        return None
    forged = signature(secret="a guess", body=lie.body, at=int(time.time()))  # noqa: S106 - it is none
    return dataclasses.replace(lie, headers={SIGNATURE_HEADER: forged})


def _wait_until_told(payment: DemoPayment) -> None:
    """Answer only when the notice is there before the answer, as it can be; but for a while at the most."""
    patient_until = time.monotonic() + EARLY_PATIENCE
    while time.monotonic() < patient_until:
        payment.refresh_from_db()
        if payment.told:
            return
        time.sleep(GLANCE)


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


def _first_notice(script: Script) -> CombinedExpression:
    return Now() + dt.timedelta(seconds=script.waits[0])


def _payment(order: Order, status: PaymentStatus, token: str = "") -> DemoPayment:
    """Return the payment of an order; it gets this status, and the script of this token, if it is new."""
    script = SCRIPTS.get(token)
    return DemoPayment.objects.get_or_create(
        order=order.reference,
        defaults={
            "reference": f"demo_{secrets.token_urlsafe(18)}",
            "amount": order.amount,
            "currency": order.currency,
            "status": status,
            "script": token if script else "",
            "tells_at": _first_notice(script) if script and not script.after_cancel else None,
        },
    )[0]


def _change(payment: DemoPayment, before: PaymentStatus, after: PaymentStatus) -> None:
    DemoPayment.objects.filter(pk=payment.pk, status=before).update(status=after)
    payment.refresh_from_db()


def _state(payment: DemoPayment) -> PaymentState:
    status = PaymentStatus(payment.status)
    page = f"/payments/demo/{payment.reference}/" if status is PaymentStatus.PENDING else ""
    return PaymentState(reference=payment.reference, status=status, redirect_url=page)
