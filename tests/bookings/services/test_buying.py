"""Buying a hold: the booking, its seats for as long as the payment takes, and what the provider says at once."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import transaction
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from bookings.models import Booking, BookingStatus, DemoPayment, Payment, PaymentStatus, Ticket
from bookings.services import Attendee, buying, settle_overdue_payments, start_booking
from cinebook.core.errors import ErrorCode
from seating.events import HoldChanged, SeatsChanged
from seating.models import Hold, HoldEnd, Holder, Seat, SeatStatus, Showtime, ShowtimeSales
from seating.selectors.holds import own_hold
from seating.services import begin_payment, selling
from tests.factories import BookingFactory, PaymentFactory
from tests.support.asking import extend, held_codes, hold, refused, release, seat
from tests.support.buying import (
    CONFIRMED,
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    buy,
    close_window,
    confirm,
    decide,
    now,
    purchase,
)
from tests.support.ledger import assert_sound
from tests.support.passing_time import let_pass, run_out

pytestmark = pytest.mark.django_db(transaction=True)


class TestSuccess:
    def test_the_seats_are_sold_and_the_tickets_issued(self, showtime: Showtime, ada: Holder, redis: Redis) -> None:
        held = hold(showtime, ada, "A1", "C1").hold
        answer = buy(held, attendees=[Attendee(seat="C1", first_name="Ben", last_name="B", id_number="77")])

        booking = answer.booking
        assert answer.is_new
        assert (booking.status, booking.payment.status) == CONFIRMED
        assert (booking.total_amount, booking.currency, booking.holder_id) == (2700, "EUR", ada.pk)
        tickets = list(booking.tickets.all())
        assert [(ticket.seat.code, ticket.price_amount, ticket.first_name) for ticket in tickets] == [
            ("A1", 1200, ""),
            ("C1", 1500, "Ben"),
        ]
        assert all(ticket.issued_at and len(ticket.code) == 16 for ticket in tickets)
        assert {seat(showtime, code).status for code in ("A1", "C1")} == {SeatStatus.SOLD}
        sold = Hold.objects.get(pk=held.hold_id)
        assert (sold.end_reason, sold.paying) == (HoldEnd.SOLD, False)
        assert redis.keys("seat_*") == []
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_everybody_is_told_once(self, showtime: Showtime, ada: Holder, events: list[Any]) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        events.clear()
        buy(held)

        assert [event for event in events if isinstance(event, SeatsChanged)] == [
            SeatsChanged(showtime.pk, 2, {"A1": "occupied", "A2": "occupied"})
        ]
        # The hold is being paid; the hold is over.
        assert [event for event in events if isinstance(event, HoldChanged)] == [HoldChanged(ada.pk, showtime.pk)] * 2

    def test_the_price_is_that_of_the_hold(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        showtime.prices.update(amount=9900)

        assert buy(held).booking.total_amount == 1200

    def test_what_costs_nothing_can_be_bought(self, showtime: Showtime, ada: Holder) -> None:
        showtime.prices.update(amount=0)

        assert buy(hold(showtime, ada, "A1").hold).booking.status == BookingStatus.CONFIRMED
        assert_bought_right(showtime)

    def test_a_user_s_contact_is_known(self, showtime: Showtime, ben: Holder) -> None:
        assert ben.user is not None
        booking = buy(hold(showtime, ben, "A1").hold, contact=None).booking
        assert (booking.contact_name, booking.contact_email) == (ben.user.username, ben.user.email)

    def test_statements(
        self, showtime: Showtime, ada: Holder, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        """As many for ten seats as for one: each step changes all of them at once."""
        for codes in (["A1"], ["A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "B4", "B5"]):
            held = hold(showtime, ada, *codes).hold
            with django_assert_num_queries(42):
                buy(held)


class TestAgain:
    def test_the_same_hold_is_the_same_booking(self, showtime: Showtime, ada: Holder, provider: FlakyDemo) -> None:
        held = hold(showtime, ada, "A1").hold
        first, second = buy(held), buy(held)

        assert (first.is_new, second.is_new) == (True, False)
        assert first.booking == second.booking
        assert provider.calls == ["create"]

    def test_also_while_it_is_pending_or_refunded(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        first = buy(held, "stall").booking
        assert buy(held).booking == first
        decide(first)
        Booking.objects.filter(pk=first.pk).update(status="REFUNDED", ended_at=dt.datetime.now(dt.UTC))
        assert buy(held).booking == first

    def test_a_guest_who_signed_in_meets_their_pending_booking(
        self, showtime: Showtime, ada: Holder, ben: Holder
    ) -> None:
        held = hold(showtime, ada, "A1").hold
        booking = buy(held, "stall").booking
        Booking.objects.filter(pk=booking.pk).update(holder=ben)

        again = start_booking(holder_id=ben.pk, user_id=ben.user_id, hold_id=held.hold_id, purchase=purchase())
        assert (again.booking, again.is_new) == (booking, False)

    def test_after_the_window_the_hold_is_gone(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        close_window(buy(held, "stall").booking)
        settle_overdue_payments()
        with refused(ErrorCode.HOLD_EXPIRED):
            buy(held)


class TestRefusals:
    def refused(self, held: Any, code: ErrorCode, token: str = "", **given: Any) -> dict[str, Any]:
        with refused(code) as data:
            buy(held, token, **given)
        assert not Booking.objects.exists()
        assert not DemoPayment.objects.exists()
        return data

    def test_somebody_else_s_hold_is_not_found(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        for hold_id in (held.hold_id, uuid.uuid4()):
            with refused(ErrorCode.NOT_FOUND):
                start_booking(holder_id=ben.pk, user_id=None, hold_id=hold_id, purchase=purchase())
        assert not own_hold(holder_id=ada.pk, hold_id=held.hold_id).paying

    def test_a_hold_that_was_released_is_gone(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        release(showtime, ada)
        self.refused(held, ErrorCode.HOLD_EXPIRED)

    def test_so_is_one_that_has_run_out(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        run_out(held.hold_id)
        self.refused(held, ErrorCode.HOLD_EXPIRED)

    def test_a_hold_whose_seats_run_out_while_they_are_waited_for_is_gone(
        self, showtime: Showtime, ada: Holder
    ) -> None:
        held = hold(showtime, ada, "A1").hold
        Seat.objects.filter(hold=held.hold_id).update(reserved_until=dt.datetime.now(dt.UTC))
        self.refused(held, ErrorCode.HOLD_EXPIRED)

    def test_nobody_pays_for_what_will_not_be_shown(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        type(showtime).objects.filter(pk=showtime.pk).update(cancelled_at=dt.datetime.now(dt.UTC))
        self.refused(held, ErrorCode.NOT_ON_SALE)

    def test_a_hold_may_be_bought_when_sales_have_closed(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        assert buy(held).booking.status == BookingStatus.CONFIRMED

    @pytest.mark.parametrize("given", [{"provider": "none"}, {"token": "please"}, {"contact": None}])
    def test_what_cannot_be_understood_begins_nothing(
        self, showtime: Showtime, ada: Holder, given: dict[str, Any]
    ) -> None:
        held = hold(showtime, ada, "A1").hold
        assert self.refused(held, ErrorCode.INVALID_DATA, **given)["errors"]
        assert not own_hold(holder_id=ada.pk, hold_id=held.hold_id).paying

    def test_a_user_without_an_address_must_give_one(self, showtime: Showtime, ben: Holder) -> None:
        assert ben.user is not None
        ben.user.email = ""
        ben.user.save()
        self.refused(hold(showtime, ben, "A1").hold, ErrorCode.INVALID_DATA, contact=None)

    def test_an_attendee_sits_on_a_seat_of_the_hold(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        self.refused(held, ErrorCode.INVALID_DATA, attendees=[Attendee(seat="A2", first_name="B", last_name="B")])
        assert not own_hold(holder_id=ada.pk, hold_id=held.hold_id).paying

    def test_a_step_is_never_a_transaction_of_its_own(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        with pytest.raises(transaction.TransactionManagementError, match="within run_sale"):
            begin_payment(holder_id=ada.pk, showtime_id=showtime.pk)


class TestPaying:
    def test_nobody_changes_it_its_holder_neither(
        self, showtime: Showtime, ada: Holder, ben: Holder, settings: Settings, redis: Redis
    ) -> None:
        settings.PAYMENT_SECONDS = 1200
        held = hold(showtime, ada, "A1").hold
        let_pass(600, held.hold_id)
        booking = buy(held, "stall").booking

        assert now(booking) == (BookingStatus.PENDING, PaymentStatus.PENDING)
        assert booking.payment.redirect_url == f"/payments/demo/{booking.payment.provider_reference}/"
        paying = own_hold(holder_id=ada.pk, hold_id=held.hold_id)
        assert (paying.paying, paying.expires_at) == (True, booking.pay_by)
        assert 1198 <= paying.expires_in <= 1200
        assert 1_195_000 < redis.pttl(f"seat_lock:{{{showtime.pk}}}:A1") <= 1_200_000
        for change in (
            lambda: hold(showtime, ada, "A2"),
            lambda: extend(showtime, ada),
            lambda: release(showtime, ada),
        ):
            with refused(ErrorCode.HOLD_PAYING):
                change()
        with refused(ErrorCode.SEAT_HELD):
            hold(showtime, ben, "A1")
        assert_bought_right(showtime)

    def test_the_window_may_go_beyond_the_cap(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        Hold.objects.filter(pk=held.hold_id).update(max_expires_at=held.expires_at)

        assert buy(held, "stall").booking.pay_by > held.server_time + dt.timedelta(seconds=590)


class TestDecline:
    def test_the_hold_is_as_before(self, showtime: Showtime, ada: Holder, redis: Redis) -> None:
        before = hold(showtime, ada, "A1", "A2").hold
        with refused(ErrorCode.PAYMENT_DECLINED):
            buy(before, "decline")

        after = own_hold(holder_id=ada.pk, hold_id=before.hold_id)
        assert (after.seats, after.expires_at, after.max_expires_at, after.paying) == (
            before.seats,
            before.expires_at,
            before.max_expires_at,
            False,
        )
        assert now(Booking.objects.get()) == (BookingStatus.CANCELLED, PaymentStatus.DECLINED)
        assert 890_000 < redis.pttl(f"seat_lock:{{{showtime.pk}}}:A1") <= 900_000
        assert_bought_right(showtime)

    def test_it_has_two_minutes_at_the_least(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        let_pass(890, held.hold_id)
        Hold.objects.filter(pk=held.hold_id).update(max_expires_at=held.locked_at)
        with refused(ErrorCode.PAYMENT_DECLINED):
            buy(held, "decline")

        # Whoever reads it a moment later still finds two whole minutes.
        assert 120 <= own_hold(holder_id=ada.pk, hold_id=held.hold_id).expires_in <= 125
        # Past its cap it is not extended any more; nor is it cut.
        assert 120 <= extend(showtime, ada).expires_in <= 125
        assert_bought_right(showtime)

    def test_it_may_be_paid_again_by_another_booking(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        with refused(ErrorCode.PAYMENT_DECLINED):
            buy(held, "decline")
        second = buy(held)

        assert second.is_new
        assert second.booking.status == BookingStatus.CONFIRMED
        assert Booking.objects.filter(hold=held.hold_id).count() == 2
        assert_bought_right(showtime)
        assert_provider_agrees()


class TestProviderAway:
    def test_the_same_hold_again_asks_once_more(self, showtime: Showtime, ada: Holder, provider: FlakyDemo) -> None:
        held = hold(showtime, ada, "A1").hold
        provider.away = {"create"}
        with refused(ErrorCode.UNAVAILABLE) as data:
            buy(held)
        assert data["retry_after"]
        assert now(Booking.objects.get()) == (BookingStatus.PENDING, PaymentStatus.PENDING)
        provider.away.clear()

        again = buy(held)
        assert (again.is_new, again.booking.status) == (False, BookingStatus.CONFIRMED)
        assert_bought_right(showtime)

    def test_an_answer_that_was_lost_is_asked_for_and_costs_nothing_more(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo
    ) -> None:
        held = hold(showtime, ada, "A1").hold
        provider.lost = {"create"}
        with refused(ErrorCode.UNAVAILABLE):
            buy(held)
        provider.lost.clear()

        assert buy(held).booking.status == BookingStatus.CONFIRMED
        assert DemoPayment.objects.count() == 1
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_a_window_that_closed_meanwhile_is_told(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The provider is slow: when it is reached at last, the payment has been cancelled and the seats are free."""
        held = hold(showtime, ada, "A1").hold
        create = provider.create

        def slowly(order: Any) -> Any:
            close_window(Booking.objects.get())
            assert settle_overdue_payments() == 1
            return create(order)

        monkeypatch.setattr(provider, "create", slowly)
        with refused(ErrorCode.HOLD_EXPIRED):
            buy(held)
        assert DemoPayment.objects.get().status == PaymentStatus.CANCELLED
        assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
        assert_bought_right(showtime)


class TestConfirmSeats:
    def test_the_other_seats_of_the_hold_are_released(
        self, showtime: Showtime, ada: Holder, ben: Holder, redis: Redis, events: list[Any]
    ) -> None:
        hold(showtime, ada, "A1", "A2", "A3")
        events.clear()
        booking = confirm(showtime, ada, "A2").booking

        assert booking.status == BookingStatus.CONFIRMED
        assert booking.total_amount == 1200
        assert redis.keys("seat_lock*") == []
        changes = [event.changes for event in events if isinstance(event, SeatsChanged)]
        assert changes == [{"A1": "available", "A3": "available"}, {"A2": "occupied"}]
        assert hold(showtime, ben, "A1", "A3").taken == ("A1", "A3")
        assert_bought_right(showtime)

    def test_a_decline_leaves_the_seats_that_were_wanted(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        with refused(ErrorCode.PAYMENT_DECLINED):
            confirm(showtime, ada, "A1", token="decline")
        assert own_hold(holder_id=ada.pk, hold_id=held.hold_id).seats == ("A1",)

    def test_the_same_seats_again_are_the_same_booking(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1", "A2")
        first = confirm(showtime, ada, "A1", "A2", token="stall")
        second = confirm(showtime, ada, "A2", "A1")
        assert (first.booking, first.is_new, second.is_new) == (second.booking, True, False)
        decide(first.booking)
        hold(showtime, ada, "C1")
        assert confirm(showtime, ada, "A1", "A2").booking == first.booking
        with refused(ErrorCode.SEAT_BOOKED):
            confirm(showtime, ada, "A1")

    def test_seats_of_others_are_named(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1")
        hold(showtime, ben, "A2")
        with refused(ErrorCode.SEAT_HELD) as data:
            confirm(showtime, ada, "A1", "A2")
        assert data["seats"] == {"A2": ErrorCode.SEAT_HELD}
        assert not Booking.objects.exists()

    def test_seats_that_nobody_holds_are_not_held(self, showtime: Showtime, ada: Holder) -> None:
        with refused(ErrorCode.HOLD_EXPIRED):
            confirm(showtime, ada, "A1")
        hold(showtime, ada, "A1")
        with refused(ErrorCode.HOLD_EXPIRED):
            confirm(showtime, ada, "A1", "A2")
        Seat.objects.filter(showtime=showtime, code="C6").delete()
        with refused(ErrorCode.HOLD_EXPIRED):
            confirm(showtime, ada, "A1", "C6")

    def test_a_code_that_is_none(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        with refused(ErrorCode.UNKNOWN_SEAT):
            confirm(showtime, ada, "Z9")


def test_half_of_a_hold_is_never_paid(showtime: Showtime, ada: Holder) -> None:
    """Should the seats of a hold ever have two ends, by mistake: all of them can be paid, or none."""
    held = hold(showtime, ada, "A1", "A2").hold
    Seat.objects.filter(showtime=showtime, code="A1").update(reserved_until=held.locked_at)
    with refused(ErrorCode.HOLD_EXPIRED):
        buy(held)
    assert not Seat.objects.filter(paying=True).exists()


def test_what_is_refused_halfway_leaves_nothing_behind(
    showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The purchase goes on with the booking that there is; the seats that were let go for it are held as before."""
    monkeypatch.setattr(selling, "begin_paying", lambda **_: None)
    monkeypatch.setattr(buying, "_bought_seats", lambda **_: earlier)
    earlier = BookingFactory(holder=ada)
    PaymentFactory(booking=earlier, provider_reference="demo_1")
    hold(showtime, ada, "A1", "A2")
    assert confirm(showtime, ada, "A1").booking == earlier
    assert held_codes(showtime) == ["A1", "A2"]
    assert_sound(showtime.pk)


def test_the_second_guard_is_the_ticket(showtime: Showtime, ada: Holder) -> None:
    """What the seat's row would let pass by mistake, the index on tickets refuses: see ADR 0001."""
    booking = buy(hold(showtime, ada, "A1").hold).booking
    with pytest.raises(Exception, match="seat_has_one_ticket"):
        Ticket.objects.create(booking=booking, seat=seat(showtime, "A1"), price_amount=1)


def test_no_name_and_no_address_is_ever_logged(
    showtime: Showtime, ada: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = Attendee(seat="A1", first_name="Zaphod", last_name="Beeblebrox", id_number="X42")
    buy(hold(showtime, ada, "A1").hold, attendees=[secret])

    assert "booking.begun" in caplog.text
    assert "booking.settled" in caplog.text
    for private in ("Zaphod", "Beeblebrox", "X42", "Ada Example", "ada@example.org"):
        assert private not in caplog.text
    assert Payment.objects.get().status == PaymentStatus.CAPTURED
