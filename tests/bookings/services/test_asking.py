"""A notice that is lost, and an answer that is lost, are made up for by asking; and who comes back unpaid may go on."""

from __future__ import annotations

import pytest

from bookings.models import Booking, BookingStatus, DemoPayment, Payment, PaymentStatus
from bookings.payments import Order, PaymentState
from bookings.selectors.asking import payments_to_ask_about
from bookings.services import ask_about_payment, ask_about_pending_payments, give_up_payment
from cinebook.core.errors import ErrorCode
from seating.models import Hold, Holder, Showtime
from tests.support.asking import hold, refused
from tests.support.buying import (
    CONFIRMED,
    GIVEN_UP,
    PENDING,
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    books,
    buy,
    capture_silently,
    close_window,
    decide,
    now,
)
from tests.support.rivals import rows_locked

pytestmark = pytest.mark.django_db(transaction=True)


def let_ask_again(booking: Booking) -> None:
    """Let nobody have asked for an hour."""
    long_ago = booking.created_at.replace(year=2020)
    Payment.objects.filter(booking=booking).update(asked_at=long_ago)


class TestAsking:
    def test_makes_up_for_a_lost_notice(self, showtime: Showtime, pending: Booking) -> None:
        capture_silently(pending)
        assert ask_about_payment(reference=pending.reference)
        assert now(pending) == CONFIRMED
        assert_bought_right(showtime)

    def test_makes_up_for_the_lost_notice_of_a_decline(self, showtime: Showtime, pending: Booking) -> None:
        DemoPayment.objects.update(status=PaymentStatus.DECLINED)
        ask_about_payment(reference=pending.reference)
        assert now(pending) == (BookingStatus.CANCELLED, PaymentStatus.DECLINED)
        assert_bought_right(showtime)

    def test_tells_where_to_pay_when_the_first_answer_was_lost(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo
    ) -> None:
        provider.lost = {"create"}
        with refused(ErrorCode.UNAVAILABLE):
            buy(hold(showtime, ada, "A1").hold, "stall")
        ask_about_payment(reference=Booking.objects.get().reference)
        payment = Payment.objects.get()
        assert payment.redirect_url == f"/payments/demo/{payment.provider_reference}/"
        assert payment.provider_reference == DemoPayment.objects.get().reference

    def test_asked_before_it_has_begun_the_buyer_is_still_told_where_to_pay(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo
    ) -> None:
        provider.away = {"create"}
        held = hold(showtime, ada, "A1").hold
        with refused(ErrorCode.UNAVAILABLE):
            buy(held, "stall")
        ask_about_payment(reference=Booking.objects.get().reference)
        provider.away = set()
        there = books(again := buy(held, "stall").booking)
        assert again.payment.redirect_url == f"/payments/demo/{there.reference}/"
        assert again.payment.provider_reference == there.reference

    def test_changes_nothing_while_there_is_nothing_new(self, pending: Booking) -> None:
        ask_about_payment(reference=pending.reference)
        assert now(pending) == PENDING

    def test_is_done_once_in_a_while(self, pending: Booking, provider: FlakyDemo) -> None:
        for _ in range(3):
            ask_about_payment(reference=pending.reference)
        assert provider.calls == ["create", "ask"]
        let_ask_again(pending)
        ask_about_payment(reference=pending.reference)
        assert provider.calls == ["create", "ask", "ask"]

    def test_says_whether_the_provider_answers(self, pending: Booking, provider: FlakyDemo) -> None:
        provider.away = {"ask"}
        assert not ask_about_payment(reference=pending.reference)
        assert ask_about_payment(reference=pending.reference)
        assert now(pending) == PENDING

    def test_is_not_done_for_what_has_ended_or_is_the_clock_s(self, pending: Booking, provider: FlakyDemo) -> None:
        close_window(pending)
        ask_about_payment(reference=pending.reference)
        ask_about_payment(reference="BK-0000000000")
        assert provider.calls == ["create"]

    def test_leaves_a_busy_purchase_for_later(self, showtime: Showtime, pending: Booking) -> None:
        capture_silently(pending)
        with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s", [showtime.pk]):
            assert ask_about_payment(reference=pending.reference)
        assert now(pending) == PENDING
        let_ask_again(pending)
        ask_about_payment(reference=pending.reference)
        assert now(pending) == CONFIRMED


class TestTheTicker:
    def test_asks_about_what_has_waited(self, pending: Booking) -> None:
        assert payments_to_ask_about() == []
        let_ask_again(pending)
        assert payments_to_ask_about() == [pending.reference]
        capture_silently(pending)
        ask_about_pending_payments()
        assert now(pending) == CONFIRMED
        assert payments_to_ask_about() == []

    def test_goes_on_though_one_fails(
        self, showtime: Showtime, ben: Holder, pending: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = buy(hold(showtime, ben, "B1").hold, "stall").booking
        for booking in (pending, other):
            let_ask_again(booking)
            capture_silently(booking)

        def broken(order: Order) -> PaymentState:
            if order.reference == pending.reference:
                raise RuntimeError("a mistake of ours")
            return FlakyDemo.ask(provider, order)

        monkeypatch.setattr(provider, "ask", broken)
        ask_about_pending_payments()
        assert (now(pending), now(other)) == (PENDING, CONFIRMED)


class TestGivingUp:
    def test_leaves_the_hold_to_be_paid_in_another_way(self, showtime: Showtime, ada: Holder, pending: Booking) -> None:
        given_up = give_up_payment(holder_id=ada.pk, reference=pending.reference)
        assert (given_up.status, now(pending)) == (BookingStatus.CANCELLED, GIVEN_UP)
        held = Hold.objects.get()
        assert not held.paying
        again = buy(hold(showtime, ada, "A1").hold).booking
        assert again.reference != pending.reference
        assert now(again) == CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_never_undoes_what_was_paid(self, showtime: Showtime, ada: Holder, pending: Booking) -> None:
        decide(pending)
        assert give_up_payment(holder_id=ada.pk, reference=pending.reference).status == BookingStatus.CONFIRMED
        assert now(pending) == CONFIRMED

    def test_nor_what_was_paid_without_a_word(self, showtime: Showtime, ada: Holder, pending: Booking) -> None:
        capture_silently(pending)
        assert give_up_payment(holder_id=ada.pk, reference=pending.reference).status == BookingStatus.CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_waits_for_a_provider_that_is_away(self, ada: Holder, pending: Booking, provider: FlakyDemo) -> None:
        provider.away = {"cancel"}
        with refused(ErrorCode.UNAVAILABLE) as said:
            give_up_payment(holder_id=ada.pk, reference=pending.reference)
        assert said == {"retry_after": 5}
        assert now(pending) == PENDING

    def test_is_for_its_holder(self, ben: Holder, pending: Booking) -> None:
        with refused(ErrorCode.NOT_FOUND):
            give_up_payment(holder_id=ben.pk, reference=pending.reference)
