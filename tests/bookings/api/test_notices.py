"""The webhook: a signed notice settles a payment, anything else changes nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from bookings.models import Booking, BookingStatus, DemoPayment, PaymentEvent, PaymentStatus
from bookings.payments.demo import SIGNATURE_HEADER, decide, demo_notice
from bookings.payments.signatures import signature
from bookings.services import cancel_booking
from cinebook.core.rest import MAX_BODY
from seating.models import Holder, Showtime
from tests.support.asking import hold
from tests.support.buying import PENDING, assert_bought_right, books, buy, now
from tests.support.rivals import rows_locked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pending(showtime: Showtime, ada: Holder) -> Booking:
    return buy(hold(showtime, ada, "A1").hold, "stall").booking


def decided(booking: Booking, outcome: PaymentStatus = PaymentStatus.CAPTURED) -> bytes:
    """Return the body of the notice that tells the provider's decision."""
    payment = books(booking)
    decide(payment, outcome)
    notice = demo_notice(payment)
    assert notice is not None
    return notice.body


def written_by_hand(booking: Booking) -> bytes:
    """Return the body of a notice that the provider's own books know nothing of."""
    payment = books(booking)
    payment.status = PaymentStatus.CAPTURED
    notice = demo_notice(payment)
    assert notice is not None
    return notice.body


def send(client: Client, body: bytes, *, provider: str = "demo", sign: bool = True, age: int = 0) -> Any:
    header = signature(secret=settings.DEMO_WEBHOOK_SECRET, body=body, at=int(time.time()) - age)
    headers = {SIGNATURE_HEADER: header} if sign else {}
    return client.post(f"/api/v1/payments/{provider}/webhook", body, content_type="application/json", headers=headers)


def test_it_confirms_and_again_is_harmless(client: Client, showtime: Showtime, pending: Booking) -> None:
    body = decided(pending)
    for _ in range(3):
        answer = send(client, body)
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert now(pending) == (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED)
    assert PaymentEvent.objects.filter(event_id__startswith="evt_").count() == 1
    assert_bought_right(showtime)


def test_it_declines(client: Client, showtime: Showtime, pending: Booking) -> None:
    assert send(client, decided(pending, PaymentStatus.DECLINED)).status_code == 200
    assert now(pending) == (BookingStatus.CANCELLED, PaymentStatus.DECLINED)
    assert_bought_right(showtime)


@pytest.mark.parametrize("how", [{"sign": False}, {"age": 301}, {"age": -302}])
def test_a_bad_signature_changes_nothing(client: Client, pending: Booking, how: dict[str, Any]) -> None:
    answer = send(client, decided(pending), **how)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_data")
    assert now(pending) == PENDING


def test_nor_does_a_body_that_was_changed(client: Client, pending: Booking) -> None:
    body = decided(pending, PaymentStatus.DECLINED)
    header = signature(secret=settings.DEMO_WEBHOOK_SECRET, body=body, at=int(time.time()))
    forged = body.replace(b"declined", b"captured")
    answer = client.post(
        "/api/v1/payments/demo/webhook", forged, content_type="application/json", headers={SIGNATURE_HEADER: header}
    )
    assert answer.status_code == 400
    assert now(pending) == PENDING


def test_one_that_was_written_by_hand_can_be_refunded(
    client: Client, showtime: Showtime, ada: Holder, pending: Booking
) -> None:
    assert send(client, written_by_hand(pending)).status_code == 200
    assert now(pending) == (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED)
    assert cancel_booking(holder_id=ada.pk, reference=pending.reference).status == BookingStatus.REFUNDED
    assert_bought_right(showtime)


def test_and_so_can_one_of_what_was_given_up(client: Client, showtime: Showtime, ada: Holder, pending: Booking) -> None:
    cancel_booking(holder_id=ada.pk, reference=pending.reference)
    assert send(client, written_by_hand(pending)).status_code == 200
    assert now(pending) == (BookingStatus.REFUNDED, PaymentStatus.REFUNDED)
    assert_bought_right(showtime)


def test_what_is_unknown_is_taken_and_changes_nothing(client: Client, pending: Booking) -> None:
    body = decided(pending)
    for unknown in (
        body.replace(pending.reference.encode(), b"BK-0000000000"),
        body.replace(b"payment.captured", b"payment.pondered"),
    ):
        assert send(client, unknown).status_code == 200
    assert now(pending) == PENDING
    assert send(client, body, provider="nobody").status_code == 404
    assert send(client, b"").status_code == 400


def test_a_purchase_that_is_busy_is_told_again(client: Client, showtime: Showtime, pending: Booking) -> None:
    body = decided(pending)
    with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s", [showtime.pk]):
        answer = send(client, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "seat_locked")
    assert now(pending) == PENDING
    assert send(client, body).status_code == 200
    assert now(pending)[0] == BookingStatus.CONFIRMED


def test_it_has_bounds(client: Client) -> None:
    answer = send(client, b" " * (MAX_BODY + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert client.get("/api/v1/payments/demo/webhook").status_code == 405
    assert not DemoPayment.objects.exists()
