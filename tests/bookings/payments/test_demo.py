"""The provider `demo` keeps the promises that CineBook needs of a provider: each thing once, per order."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction

from bookings.models import DemoPayment, PaymentStatus
from bookings.payments import BadNotice, Order, provider_named
from bookings.payments.demo import SIGNATURE_HEADER, DemoProvider, decide, demo_notice
from bookings.payments.signatures import signature
from cinebook.core.errors import ErrorCode
from tests.support.asking import refused

pytestmark = pytest.mark.django_db

DEMO = DemoProvider()


def order(token: str = "", reference: str = "BK-1") -> Order:
    return Order(reference=reference, amount=2400, currency="EUR", token=token)


def signed(event: Any) -> tuple[bytes, dict[str, str]]:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return body, {SIGNATURE_HEADER: signature(secret=settings.DEMO_WEBHOOK_SECRET, body=body, at=int(time.time()))}


def test_it_is_registered() -> None:
    provider = provider_named("demo")
    assert provider is not None
    assert provider.name == "demo"
    assert provider_named("none") is None


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("", PaymentStatus.CAPTURED),
        ("succeed", PaymentStatus.CAPTURED),
        ("decline", PaymentStatus.DECLINED),
        ("stall", PaymentStatus.PENDING),
    ],
)
def test_it_does_what_the_token_says(token: str, status: PaymentStatus) -> None:
    DEMO.check_token(token)
    state = DEMO.create(order(token))
    assert state.status is status
    assert state.redirect_url == (f"/payments/demo/{state.reference}/" if token == "stall" else "")


def test_another_token_is_refused() -> None:
    with refused(ErrorCode.INVALID_DATA):
        DEMO.check_token("perhaps")


def test_an_order_is_begun_once() -> None:
    assert DEMO.create(order("stall")) == DEMO.create(order("succeed"))
    assert DemoPayment.objects.count() == 1


def test_only_what_waits_can_be_cancelled() -> None:
    for token, after in (("stall", PaymentStatus.CANCELLED), ("", PaymentStatus.CAPTURED)):
        there = DEMO.create(order(token, f"BK-{token}"))
        assert DEMO.cancel(order(token, f"BK-{token}")).status is after
        assert DEMO.cancel(order(token, f"BK-{token}")).reference == there.reference


def test_what_was_cancelled_before_it_began_never_begins() -> None:
    DEMO.cancel(order())
    assert DEMO.create(order()).status is PaymentStatus.CANCELLED


def test_a_refund_is_carried_out_once() -> None:
    DEMO.create(order())
    assert DEMO.refund(order()).status is PaymentStatus.REFUNDED
    assert DEMO.refund(order()).status is PaymentStatus.REFUNDED
    assert DemoPayment.objects.get().refunded_amount == 2400
    assert DEMO.cancel(order()).status is PaymentStatus.REFUNDED


def test_nothing_is_refunded_that_was_not_captured() -> None:
    DEMO.create(order("decline"))
    assert DEMO.refund(order()).status is PaymentStatus.DECLINED
    with pytest.raises(IntegrityError, match="demo_payment_refunds_what_it_captured"), transaction.atomic():
        DemoPayment.objects.update(refunded_amount=1)


class TestNotices:
    def test_a_decision_is_told(self) -> None:
        there = DEMO.create(order("stall"))
        payment = DemoPayment.objects.get()
        assert demo_notice(payment) is None
        decide(payment, PaymentStatus.CAPTURED)
        told = demo_notice(payment)
        assert told is not None
        notice = DEMO.read_notice(told.body, told.headers)

        assert notice is not None
        assert (notice.order, notice.amount, notice.currency) == ("BK-1", 2400, "EUR")
        assert (notice.state.reference, notice.state.status) == (there.reference, PaymentStatus.CAPTURED)
        again = demo_notice(payment)
        assert again is not None
        assert json.loads(again.body)["id"] == notice.event_id

    def test_other_kinds_do_not_concern_us(self) -> None:
        assert DEMO.read_notice(*signed({"id": "evt_9", "type": "payout.paid"})) is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not json",
            b"[]",
            b"1",
            b"{}",
            b'{"type": []}',
            b'{"type": "payment.captured"}',
            b'{"type": "payment.captured", "id": "evt", "data": {"object": []}}',
            b'{"type": "payment.captured", "id": "evt", "data": {"object": {"metadata": {"order": "x"}, "id": "y"}}}',
            b"\xff",
        ],
    )
    def test_what_cannot_be_read_is_refused_though_it_is_signed(self, body: bytes) -> None:
        with pytest.raises(BadNotice):
            DEMO.read_notice(*signed(body))

    def test_what_is_not_signed_is_not_read(self) -> None:
        body, headers = signed({"id": "evt_9", "type": "payout.paid"})
        with pytest.raises(BadNotice):
            DEMO.read_notice(body, {})
        with pytest.raises(BadNotice):
            DEMO.read_notice(body + b" ", headers)
