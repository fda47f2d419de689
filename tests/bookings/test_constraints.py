"""What must never happen to payments, the database refuses by name."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from bookings.models import DemoPayment, Payment, PaymentEvent
from seating.models import IdempotencyRecord
from tests import factories

pytestmark = pytest.mark.django_db


def refused(constraint: str, work: Any) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        work()


@pytest.fixture
def payment() -> Payment:
    return factories.PaymentFactory()


def test_an_event_is_heard_once(payment: Payment) -> None:
    told = {"payment": payment, "event_id": "evt_1", "told": "CAPTURED"}
    PaymentEvent.objects.create(provider="demo", **told)
    PaymentEvent.objects.create(provider="other", **told)
    refused("payment_event_is_heard_once", lambda: PaymentEvent.objects.create(provider="demo", **told))


def test_events_are_in_known_words(payment: Payment) -> None:
    told = {"payment": payment, "provider": "demo", "event_id": "evt_1", "told": "PERHAPS"}
    refused("payment_event_is_in_known_words", lambda: PaymentEvent.objects.create(**told))


def test_a_key_is_used_once_by_its_holder() -> None:
    record = {"key": "k", "request_hash": "h", "holder": factories.HolderFactory()}
    IdempotencyRecord.objects.create(**record)
    refused("idempotency_key_is_used_once_by_its_holder", lambda: IdempotencyRecord.objects.create(**record))


def test_an_answer_has_status_and_body() -> None:
    record = {"key": "k", "request_hash": "h", "holder": factories.HolderFactory(), "status": 201}
    refused("idempotency_answer_has_status_and_body", lambda: IdempotencyRecord.objects.create(**record))


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"status": "REFUND_DUE"}, "demo_payment_status_is_known"),
        ({"status": "REFUNDED", "refunded_amount": 1}, "demo_payment_refunds_what_it_captured"),
        ({"status": "CAPTURED", "refunded_amount": 100}, "demo_payment_refunds_what_it_captured"),
        ({"status": "CAPTURED"}, None),
    ],
)
def test_the_books_of_the_demo_provider(columns: dict[str, Any], constraint: str | None) -> None:
    def enter() -> DemoPayment:
        return DemoPayment.objects.create(reference="demo_1", order="BK-1", amount=100, currency="EUR", **columns)

    if constraint:
        refused(constraint, enter)
    else:
        assert enter().refunded_amount == 0
