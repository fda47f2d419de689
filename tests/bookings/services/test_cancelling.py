"""Undoing a purchase, by its holder in time, and by the house."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from bookings.models import Booking, BookingStatus, Payment, PaymentStatus
from bookings.services import (
    cancel_booking,
    cancel_bookings_of_cancelled_showtimes,
    cancel_bookings_of_showtime,
    cancelling,
    carry_out_refund,
    settle_overdue_payments,
)
from cinebook.core.errors import ErrorCode
from seating.events import SeatsChanged
from seating.models import Hold, HoldEnd, Holder, SeatEvent, SeatStatus, Showtime
from seating.selectors.holds import own_hold
from tests.support.asking import hold, refused, seat
from tests.support.buying import (
    CONFIRMED,
    GIVEN_UP,
    REFUND_DUE,
    REFUNDED,
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    buy,
    capture_silently,
    close_window,
    confirm,
    decide,
    let_try_again,
    now,
)

pytestmark = pytest.mark.django_db(transaction=True)


def cancel(booking: Booking) -> Booking:
    return cancel_booking(holder_id=booking.holder_id, reference=booking.reference)


def starts_in(showtime: Showtime, minutes: float) -> None:
    starts_at = timezone.now() + dt.timedelta(minutes=minutes)
    Showtime.objects.filter(pk=showtime.pk).update(starts_at=starts_at, ends_at=starts_at + dt.timedelta(hours=2))


class TestConfirmed:
    def test_the_seats_are_on_sale_again_and_the_money_is_back(
        self, showtime: Showtime, ben: Holder, bought: Booking, provider: FlakyDemo, events: list[Any]
    ) -> None:
        events.clear()
        cancelled = cancel(bought)

        assert (cancelled.status, cancelled.payment.status) == REFUNDED
        assert all(ticket.cancelled_at for ticket in cancelled.tickets.all())
        assert events == [SeatsChanged(showtime.pk, 3, {"A1": "available", "A2": "available"})]
        assert set(SeatEvent.objects.filter(seq=3).values_list("cause", flat=True)) == {"cancelled"}
        assert provider.calls == ["create", "refund"]
        assert_bought_right(showtime)
        assert_provider_agrees()
        again = confirm_anew(showtime, ben)
        assert again.status == BookingStatus.CONFIRMED
        assert_bought_right(showtime)

    def test_again_is_the_same(self, showtime: Showtime, bought: Booking, provider: FlakyDemo) -> None:
        cancel(bought)
        assert cancel(bought).status == BookingStatus.REFUNDED
        assert provider.calls.count("refund") == 1

    def test_a_refund_that_takes_its_time_is_due(
        self, showtime: Showtime, bought: Booking, provider: FlakyDemo
    ) -> None:
        provider.away = {"refund"}
        assert cancel(bought).status == BookingStatus.REFUND_DUE
        assert now(bought) == REFUND_DUE
        assert_bought_right(showtime)
        assert cancel(bought).status == BookingStatus.REFUND_DUE
        provider.away.clear()
        let_try_again(bought)
        assert settle_overdue_payments() == 1
        assert now(bought) == REFUNDED
        assert_provider_agrees()

    def test_a_refund_whose_answer_was_lost_is_carried_out_once(self, bought: Booking, provider: FlakyDemo) -> None:
        provider.lost = {"refund"}
        assert cancel(bought).status == BookingStatus.REFUND_DUE
        provider.lost.clear()
        let_try_again(bought)
        assert settle_overdue_payments() == 1
        assert now(bought) == REFUNDED
        assert_provider_agrees()

    def test_two_who_ask_for_it_write_it_once(
        self, showtime: Showtime, bought: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The provider is so slow that somebody else has asked it meanwhile."""
        refund = provider.refund

        def slowly(order: Any) -> Any:
            monkeypatch.setattr(provider, "refund", refund)
            let_try_again(bought)
            assert carry_out_refund(reference=bought.reference) is True
            return refund(order)

        monkeypatch.setattr(provider, "refund", slowly)
        assert cancel(bought).status == BookingStatus.REFUNDED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_no_ticker_comes_between_the_cancelling_and_its_refund(
        self, bought: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else the buyer would be told that the money is still to come, for no reason."""
        carry_out = cancelling.carry_out_claimed_refund

        def after_a_ticker(*, reference: str) -> bool:
            assert settle_overdue_payments() == 0
            return carry_out(reference=reference)

        monkeypatch.setattr(cancelling, "carry_out_claimed_refund", after_a_ticker)
        assert cancel(bought).status == BookingStatus.REFUNDED
        assert provider.calls == ["create", "refund"]

    def test_one_that_the_provider_is_still_at_is_asked_for_again(
        self, bought: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider, "refund", provider.create)
        cancel(bought)
        assert now(bought) == REFUND_DUE

    def test_there_is_nothing_to_refund_unless_it_is_due(self, bought: Booking, provider: FlakyDemo) -> None:
        assert carry_out_refund(reference=bought.reference) is False
        assert provider.calls == ["create"]

    @pytest.mark.parametrize(("minutes", "cutoff", "possible"), [(61, 60, True), (59, 60, False), (1, 0, True)])
    def test_until_the_cutoff(
        self, showtime: Showtime, bought: Booking, settings: Settings, minutes: int, cutoff: int, *, possible: bool
    ) -> None:
        settings.CANCELLATION_CUTOFF_MINUTES = cutoff
        starts_in(showtime, minutes)
        if possible:
            assert cancel(bought).status == BookingStatus.REFUNDED
        else:
            with refused(ErrorCode.NOT_CANCELLABLE):
                cancel(bought)
            assert now(bought) == CONFIRMED
        assert_bought_right(showtime)

    def test_only_its_holder_may(self, ben: Holder, bought: Booking) -> None:
        with refused(ErrorCode.NOT_FOUND):
            cancel_booking(holder_id=ben.pk, reference=bought.reference)
        with refused(ErrorCode.NOT_FOUND):
            cancel_booking(holder_id=ben.pk, reference="BK-0000000000")
        assert now(bought) == CONFIRMED


class TestPending:
    def test_nothing_was_captured_and_the_hold_is_as_before(
        self, showtime: Showtime, ada: Holder, pending: Booking, provider: FlakyDemo
    ) -> None:
        starts_in(showtime, 5)
        assert cancel(pending).status == BookingStatus.CANCELLED
        assert now(pending) == GIVEN_UP
        assert provider.calls == ["create", "cancel"]
        after = own_hold(holder_id=ada.pk, hold_id=pending.hold_id)
        assert (after.paying, after.expires_at) == (False, pending.hold_expires_at)
        assert cancel(pending).status == BookingStatus.CANCELLED
        assert_bought_right(showtime)

    def test_what_was_captured_meanwhile_is_refunded(
        self, showtime: Showtime, pending: Booking, provider: FlakyDemo
    ) -> None:
        capture_silently(pending)
        assert cancel(pending).status == BookingStatus.REFUNDED
        assert provider.calls == ["create", "cancel", "refund"]
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_while_the_provider_is_away_nothing_changes(
        self, showtime: Showtime, pending: Booking, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        with refused(ErrorCode.UNAVAILABLE):
            cancel(pending)
        assert now(pending) == (BookingStatus.PENDING, PaymentStatus.PENDING)
        decide(pending)
        assert now(pending) == CONFIRMED

    def test_one_that_has_expired_stays_so(self, pending: Booking) -> None:
        close_window(pending)
        settle_overdue_payments()
        assert cancel(pending).status == BookingStatus.EXPIRED

    def test_one_that_begins_to_be_paid_meanwhile_is_asked_for_again(
        self, pending: Booking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Over when it was looked at first, and pending under the lock: then nobody has asked the provider."""
        look = Payment.objects.select_related

        def look_at_another_time(*given: str) -> Any:
            Booking.objects.update(status=BookingStatus.EXPIRED, ended_at=timezone.now())
            seen = look(*given).get()
            Booking.objects.update(status=BookingStatus.PENDING, ended_at=None)
            return SimpleNamespace(get=lambda **_wanted: seen)

        look_alike = SimpleNamespace(objects=SimpleNamespace(select_related=look_at_another_time))
        monkeypatch.setattr(cancelling, "Payment", look_alike)
        with refused(ErrorCode.SEAT_LOCKED):
            cancel(pending)
        assert now(pending) == (BookingStatus.PENDING, PaymentStatus.PENDING)


class TestByTheHouse:
    def test_every_booking_is_cancelled_and_refunded(
        self, showtime: Showtime, ben: Holder, bought: Booking, provider: FlakyDemo
    ) -> None:
        starts_in(showtime, 5)
        waiting = buy(hold(showtime, ben, "C1").hold, "stall").booking

        assert cancel_bookings_of_showtime(showtime_id=showtime.pk) == 2
        # Hundreds of refunds would keep whoever cancels waiting.
        assert now(bought) == REFUND_DUE
        assert provider.calls[-1] == "cancel"
        assert settle_overdue_payments() == 1
        assert now(bought) == REFUNDED
        assert now(waiting) == GIVEN_UP
        assert Hold.objects.get(pk=waiting.hold_id).end_reason == HoldEnd.WITHDRAWN
        assert seat(showtime, "C1").status == SeatStatus.AVAILABLE
        assert cancel_bookings_of_showtime(showtime_id=showtime.pk) == 0
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_what_could_not_be_cancelled_is_come_back_to(
        self, showtime: Showtime, ben: Holder, bought: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting = buy(hold(showtime, ben, "C1").hold, "stall").booking
        provider.away = {"cancel"}
        assert cancel_bookings_of_showtime(showtime_id=showtime.pk) == 1
        assert (now(bought), now(waiting)[0]) == (REFUND_DUE, BookingStatus.PENDING)
        # It takes place, as far as the reconciler knows.
        assert cancel_bookings_of_cancelled_showtimes() == 0
        Showtime.objects.filter(pk=showtime.pk).update(cancelled_at=timezone.now())
        provider.away.clear()
        assert cancel_bookings_of_cancelled_showtimes() == 1
        assert now(waiting) == GIVEN_UP
        assert cancel_bookings_of_cancelled_showtimes() == 0

    def test_one_that_fails_does_not_keep_the_others_waiting(
        self, showtime: Showtime, ben: Holder, bought: Booking, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = confirm_anew(showtime, ben, "C1")
        refund = provider.refund

        def fail(order: Any) -> Any:
            if order.reference == bought.reference:
                raise ValueError("what nobody foresaw")
            return refund(order)

        monkeypatch.setattr(provider, "refund", fail)
        assert cancel_bookings_of_showtime(showtime_id=showtime.pk) == 2
        assert settle_overdue_payments() == 1
        assert (now(bought), now(other)) == (REFUND_DUE, REFUNDED)


def confirm_anew(showtime: Showtime, holder: Holder, *codes: str) -> Booking:
    codes = codes or ("A1", "A2")
    hold(showtime, holder, *codes)
    return confirm(showtime, holder, *codes).booking
