"""When the time for a payment is over: the provider first, then the seats, and never later than the grace."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from bookings import payments
from bookings.models import Booking, BookingStatus, Payment, PaymentStatus
from bookings.selectors.purchases import payments_due
from bookings.services import cancel_booking, expire_payment, settle_overdue_payments
from cinebook.core.errors import ErrorCode
from cinebook.core.models import Effect, EffectStatus
from cinebook.core.outbox import deliver_effects
from seating.events import HoldExpired, SeatsChanged
from seating.models import Hold, HoldEnd, Holder, SeatStatus, Showtime
from seating.services import expire_holds
from tests.support.asking import hold, refused, seat
from tests.support.buying import (
    EXPIRED,
    PENDING,
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    books,
    buy,
    capture_silently,
    close_window,
    let_try_again,
    now,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_happens_before_the_window_is_over(
    pending: Booking, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        assert settle_overdue_payments() == 0
    assert expire_payment(reference=pending.reference, grace_is_over=True) is False
    assert now(pending) == PENDING
    assert books(pending).status == PaymentStatus.PENDING


def test_the_booking_expires_and_its_seats_are_free(
    showtime: Showtime, ben: Holder, pending: Booking, events: list[Any], redis: Any
) -> None:
    close_window(pending)
    events.clear()
    assert settle_overdue_payments() == 1

    assert now(pending) == EXPIRED
    assert books(pending).status == PaymentStatus.CANCELLED
    assert Hold.objects.get(pk=pending.hold_id).end_reason == HoldEnd.EXPIRED
    assert events == [
        HoldExpired(pending.holder_id, showtime.pk, pending.hold_id, ("A1", "A2")),
        SeatsChanged(showtime.pk, 2, {"A1": "available", "A2": "available"}),
    ]
    assert redis.keys("seat_*") == []
    assert hold(showtime, ben, "A1", "A2").taken == ("A1", "A2")
    assert payments_due() == []
    assert_bought_right(showtime)


def test_the_clock_of_the_hold_alone_does_not_free_what_is_being_paid(
    showtime: Showtime, ben: Holder, pending: Booking
) -> None:
    close_window(pending)
    assert expire_holds(showtime_id=showtime.pk) == 0
    with refused(ErrorCode.SEAT_HELD):
        hold(showtime, ben, "A1")


def test_what_was_paid_at_the_last_moment_is_confirmed(showtime: Showtime, pending: Booking) -> None:
    """Its notice was lost; the provider says so when it is told to cancel."""
    capture_silently(pending)
    close_window(pending)
    assert settle_overdue_payments() == 1

    assert now(pending) == (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED)
    assert_bought_right(showtime)
    assert_provider_agrees()


def test_a_payment_that_was_never_begun_cannot_begin_any_more(
    showtime: Showtime, ada: Holder, provider: FlakyDemo
) -> None:
    provider.away = {"create"}
    with refused(ErrorCode.UNAVAILABLE):
        buy(hold(showtime, ada, "A1").hold)
    booking = Booking.objects.get()
    close_window(booking)
    assert settle_overdue_payments() == 1

    assert now(booking) == EXPIRED
    assert books(booking).status == PaymentStatus.CANCELLED
    assert_bought_right(showtime)


def test_what_ended_while_the_provider_was_asked_stays_as_it_is(
    showtime: Showtime, pending: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = provider.cancel

    def slowly(order: Any) -> Any:
        monkeypatch.setattr(provider, "cancel", cancel)
        cancel_booking(holder_id=pending.holder_id, reference=pending.reference)
        return cancel(order)

    monkeypatch.setattr(provider, "cancel", slowly)
    close_window(pending)
    assert settle_overdue_payments() == 0
    assert now(pending) == (BookingStatus.CANCELLED, PaymentStatus.CANCELLED)
    assert_bought_right(showtime)


class TestProviderAway:
    def test_it_is_told_after_the_grace_as_soon_as_it_is_back(
        self, showtime: Showtime, pending: Booking, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(pending, grace=True)
        settle_overdue_payments()
        deliver_effects()
        assert (now(pending), books(pending).status) == (EXPIRED, PaymentStatus.PENDING)

        provider.away = set()
        Effect.objects.filter(status=EffectStatus.WAITING).update(next_attempt_at=timezone.now())
        deliver_effects()
        assert (now(pending), books(pending).status) == (EXPIRED, PaymentStatus.CANCELLED)
        assert not Effect.objects.filter(status=EffectStatus.WAITING).exists()
        assert_bought_right(showtime)

    def test_money_that_it_took_unheard_after_the_grace_is_given_back(
        self, showtime: Showtime, ben: Holder, pending: Booking, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(pending, grace=True)
        settle_overdue_payments()
        hold(showtime, ben, "A1")
        capture_silently(pending)

        provider.away = set()
        Effect.objects.filter(status=EffectStatus.WAITING).update(next_attempt_at=timezone.now())
        deliver_effects()
        assert now(pending) == (BookingStatus.REFUNDED, PaymentStatus.REFUNDED)
        assert provider.calls.count("refund") == 1
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_it_is_asked_again_after_a_while_and_released_after_the_grace(
        self, showtime: Showtime, pending: Booking, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(pending)
        assert settle_overdue_payments() == 0
        assert settle_overdue_payments() == 0
        # Once, although the ticker comes every second.
        assert provider.calls.count("cancel") == 1
        let_try_again(pending)
        assert settle_overdue_payments() == 0
        assert provider.calls.count("cancel") == 2
        assert now(pending) == PENDING
        assert seat(showtime, "A1").status == SeatStatus.RESERVED

        close_window(pending, grace=True)
        assert settle_overdue_payments() == 1
        assert now(pending) == EXPIRED
        assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
        assert_bought_right(showtime)

    def test_when_it_is_back_it_is_cancelled(self, showtime: Showtime, pending: Booking, provider: FlakyDemo) -> None:
        provider.away = {"cancel"}
        close_window(pending)
        settle_overdue_payments()
        provider.away.clear()
        let_try_again(pending)
        assert settle_overdue_payments() == 1
        assert now(pending) == EXPIRED

    def test_a_provider_that_the_house_has_given_up_is_one_that_is_away(
        self, pending: Booking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(payments.PROVIDERS, "demo")
        close_window(pending)
        assert settle_overdue_payments() == 0
        close_window(pending, grace=True)
        assert settle_overdue_payments() == 1
        assert now(pending) == EXPIRED

    def test_one_that_cannot_cancel_now_is_asked_again(
        self, pending: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider, "cancel", provider.create)
        close_window(pending)
        assert settle_overdue_payments() == 0
        assert now(pending) == PENDING


def test_one_that_fails_does_not_keep_the_others_waiting(
    showtime: Showtime, ben: Holder, pending: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = buy(hold(showtime, ben, "C1").hold, "stall").booking
    for booking in (pending, other):
        close_window(booking)
    cancel = provider.cancel

    def fail(order: Any) -> Any:
        if order.reference == pending.reference:
            raise ValueError("what nobody foresaw")
        return cancel(order)

    monkeypatch.setattr(provider, "cancel", fail)
    assert settle_overdue_payments() == 1
    assert (now(pending), now(other)) == (PENDING, EXPIRED)


def test_two_at_once_ask_the_provider_once(pending: Booking, provider: FlakyDemo) -> None:
    close_window(pending)
    due = payments_due()
    assert [one.reference for one in due] == [pending.reference]
    Payment.objects.update(next_attempt_at=pending.pay_by)
    assert settle_overdue_payments() == 0
    assert provider.calls == ["create"]
