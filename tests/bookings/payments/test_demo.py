"""The provider `demo` keeps the promises that CineBook needs of a provider: each thing once, per order."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from bookings.models import Booking, BookingStatus, DemoPayment, PaymentEvent, PaymentStatus
from bookings.payments import BadNotice, Order, demo, provider_named
from bookings.payments.demo import SIGNATURE_HEADER, DemoProvider, decide, demo_notice
from bookings.payments.signatures import signature
from bookings.services import cancel_booking, expire_payment, tell_demo_notices
from cinebook.core.errors import ErrorCode
from seating.models import Holder, Showtime
from seating.selectors.holds import HeldSeats
from tests.support.asking import hold, refused
from tests.support.buying import assert_bought_right, assert_provider_agrees, buy, close_window, now
from tests.support.buying import decide as decide_as_person
from tests.support.rivals import DEADLINE, in_background, race, rows_locked

pytestmark = pytest.mark.django_db(transaction=True)

DEMO = DemoProvider()


def order(token: str = "", reference: str = "BK-1") -> Order:
    return Order(reference=reference, amount=2400, currency="EUR", pay_by=timezone.now(), token=token)


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


class TestScripts:
    """Each ends in exactly one of tickets and a refund, whatever is told on the way."""

    @pytest.fixture
    def held(self, showtime: Showtime, ada: Holder) -> HeldSeats:
        return hold(showtime, ada, "A1", "A2").hold

    @staticmethod
    def tell() -> int:
        """Let the next notice be due, and be told."""
        DemoPayment.objects.filter(tells_at__isnull=False).update(tells_at=timezone.now() - dt.timedelta(seconds=1))
        return tell_demo_notices()

    @pytest.mark.parametrize("token", ["late", "twice", "forged", "overdue", "stall"])
    def test_answer_that_it_is_pending(self, held: HeldSeats, token: str) -> None:
        assert now(buy(held, token).booking) == (BookingStatus.PENDING, PaymentStatus.PENDING)
        assert tell_demo_notices() == 0, "nothing is told before its time"

    @pytest.mark.parametrize(("token", "notices"), [("late", 1), ("twice", 2), ("forged", 2)])
    def test_end_in_tickets(self, showtime: Showtime, held: HeldSeats, token: str, notices: int) -> None:
        booking = buy(held, token).booking
        for _ in range(notices):
            assert self.tell() == 1
        assert self.tell() == 0
        assert now(booking) == (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED)
        assert PaymentEvent.objects.filter(event_id__startswith="evt_").count() == 1
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_a_forged_notice_changes_nothing(self, held: HeldSeats) -> None:
        booking = buy(held, "forged").booking
        assert self.tell() == 1
        assert now(booking) == (BookingStatus.PENDING, PaymentStatus.PENDING)
        assert DemoPayment.objects.get().status == PaymentStatus.PENDING

    def test_an_early_notice_is_there_before_the_answer(self, showtime: Showtime, held: HeldSeats) -> None:
        seen: list[BookingStatus] = []

        def tell_while_it_is_begun() -> None:
            while not tell_demo_notices():
                pass
            seen.append(BookingStatus(Booking.objects.get().status))

        with in_background() as start:
            told = start(tell_while_it_is_begun)
            booking = buy(held, "early").booking
            told.result(DEADLINE)
        assert seen == [BookingStatus.CONFIRMED]
        assert list(PaymentEvent.objects.order_by("id").values_list("event_id", flat=True)) == [
            f"evt_{DemoPayment.objects.get().reference}_captured",
            f"answer:{booking.reference}:CAPTURED",
        ]
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_nor_does_it_wait_for_ever(
        self, showtime: Showtime, held: HeldSeats, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(demo, "EARLY_PATIENCE", 0)
        assert now(buy(held, "early").booking)[0] == BookingStatus.CONFIRMED
        self.tell()
        assert_bought_right(showtime)

    def test_what_was_cancelled_is_not_told(self, showtime: Showtime, ada: Holder, held: HeldSeats) -> None:
        booking = buy(held, "late").booking
        cancel_booking(holder_id=ada.pk, reference=booking.reference)
        assert self.tell() == 1
        assert now(booking) == (BookingStatus.CANCELLED, PaymentStatus.CANCELLED)
        assert_provider_agrees()

    def test_overdue_money_for_what_was_given_up_goes_back(
        self, showtime: Showtime, ada: Holder, held: HeldSeats
    ) -> None:
        booking = buy(held, "overdue").booking
        cancel_booking(holder_id=ada.pk, reference=booking.reference)
        assert self.tell() == 1
        assert self.tell() == 0
        assert now(booking) == (BookingStatus.REFUNDED, PaymentStatus.REFUNDED)
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_overdue_money_for_what_has_expired_buys_the_seats_if_they_are_free(
        self, showtime: Showtime, held: HeldSeats
    ) -> None:
        booking = buy(held, "overdue").booking
        close_window(booking)
        assert expire_payment(reference=booking.reference)
        assert now(booking)[0] == BookingStatus.EXPIRED
        self.tell()
        assert now(booking) == (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED)
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_a_notice_that_met_a_busy_purchase_is_told_again(self, showtime: Showtime, held: HeldSeats) -> None:
        booking = buy(held, "late").booking
        with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s", [showtime.pk]):
            assert self.tell() == 0
        assert self.tell() == 1
        assert now(booking)[0] == BookingStatus.CONFIRMED

    def test_a_person_on_its_page_is_quicker(self, held: HeldSeats) -> None:
        booking = buy(held, "late").booking
        decide_as_person(booking, PaymentStatus.DECLINED)
        self.tell()
        assert now(booking) == (BookingStatus.CANCELLED, PaymentStatus.DECLINED)
        assert_provider_agrees()

    def test_two_processes_tell_each_notice_once(self, held: HeldSeats) -> None:
        buy(held, "late")
        DemoPayment.objects.update(tells_at=timezone.now() - dt.timedelta(seconds=1))
        assert sorted(race(tell_demo_notices, tell_demo_notices)) == [0, 1]
