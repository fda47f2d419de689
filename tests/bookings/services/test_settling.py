"""What a payment came to, in whatever order, how often and how late that is told."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from bookings.models import Booking, BookingStatus, DemoPayment, Payment, PaymentEvent, PaymentStatus
from bookings.payments import Notice, PaymentState
from bookings.services import cancel_booking, demo_payment, settle_overdue_payments, settle_payment
from bookings.services.cancelling import cancel_bookings_of_showtime
from cinebook.core.errors import ErrorCode
from seating.events import SeatsChanged
from seating.models import Hold, HoldEnd, Holder, Seat, SeatHold, SeatStatus, Showtime, ShowtimeSales
from seating.selectors.holds import live_hold, own_hold
from tests import factories
from tests.support.asking import hold, refused, release, seat
from tests.support.buying import (
    CONFIRMED,
    DECLINED,
    EXPIRED,
    PENDING,
    REFUNDED,
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    books,
    buy,
    capture_silently,
    close_window,
    decide,
    notify,
    now,
)
from tests.support.passing_time import run_out

pytestmark = pytest.mark.django_db(transaction=True)


def notice_of(booking: Booking, status: PaymentStatus, event_id: str = "evt_1", **other: Any) -> Notice:
    there = books(booking)
    return Notice(
        **{
            "event_id": event_id,
            "order": booking.reference,
            "state": PaymentState(reference=there.reference, status=status),
            "amount": there.amount,
            "currency": there.currency,
            **other,
        }
    )


def tell(booking: Booking, status: PaymentStatus, event_id: str = "evt_1", **other: Any) -> None:
    settle_payment(provider="demo", notice=notice_of(booking, status, event_id, **other))


class TestThePageOfTheProvider:
    def test_it_confirms(self, showtime: Showtime, pending: Booking) -> None:
        decide(pending)
        assert now(pending) == CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_it_declines_and_the_hold_is_as_before(self, showtime: Showtime, ada: Holder, pending: Booking) -> None:
        decide(pending, PaymentStatus.DECLINED)
        assert now(pending) == DECLINED
        assert own_hold(holder_id=ada.pk, hold_id=pending.hold_id).expires_at == pending.hold_expires_at
        assert_bought_right(showtime)

    def test_the_first_decision_stays(self, showtime: Showtime, pending: Booking) -> None:
        decide(pending, PaymentStatus.DECLINED)
        decide(pending, PaymentStatus.CAPTURED)
        assert now(pending) == DECLINED
        assert books(pending).status == PaymentStatus.DECLINED

    def test_a_cancelled_payment_can_be_looked_at_and_not_decided(self, showtime: Showtime, pending: Booking) -> None:
        close_window(pending)
        settle_overdue_payments()
        decide(pending)
        assert demo_payment(books(pending).reference).status == PaymentStatus.CANCELLED
        assert now(pending) == EXPIRED

    def test_there_is_no_page_for_a_payment_that_does_not_exist(self) -> None:
        with refused(ErrorCode.NOT_FOUND):
            demo_payment("demo_none")


class TestNotices:
    def test_one_that_comes_again_changes_nothing(
        self, showtime: Showtime, pending: Booking, events: list[Any]
    ) -> None:
        decide(pending)
        events.clear()
        notify(pending, times=3)
        assert events == []
        # The answer to the request, and the notice.
        assert PaymentEvent.objects.count() == 2
        assert_bought_right(showtime)

    def test_a_late_decline_changes_nothing(self, showtime: Showtime, pending: Booking) -> None:
        tell(pending, PaymentStatus.CAPTURED, "evt_2")
        tell(pending, PaymentStatus.DECLINED, "evt_1")
        tell(pending, PaymentStatus.CAPTURED, "evt_3")
        assert now(pending) == CONFIRMED
        assert_bought_right(showtime)

    def test_a_capture_that_follows_a_decline_is_honoured(self, showtime: Showtime, pending: Booking) -> None:
        """Another card, on the same page of the provider."""
        tell(pending, PaymentStatus.DECLINED, "evt_1")
        tell(pending, PaymentStatus.CAPTURED, "evt_2")
        assert now(pending) == CONFIRMED
        assert_bought_right(showtime)

    def test_what_is_still_under_way_changes_nothing(self, pending: Booking) -> None:
        tell(pending, PaymentStatus.PENDING)
        assert now(pending) == PENDING

    @pytest.mark.parametrize(
        "wrong",
        [
            {"order": "BK-0000000000"},
            {"amount": 1},
            {"currency": "USD"},
            {"state": PaymentState(reference="demo_other", status=PaymentStatus.CAPTURED)},
        ],
    )
    def test_one_that_is_not_about_this_payment_changes_nothing(self, pending: Booking, wrong: dict[str, Any]) -> None:
        tell(pending, PaymentStatus.CAPTURED, **wrong)
        assert now(pending) == PENDING

    def test_another_provider_cannot_settle_it(self, pending: Booking) -> None:
        settle_payment(provider="other", notice=notice_of(pending, PaymentStatus.CAPTURED))
        assert now(pending) == PENDING

    def test_it_may_arrive_before_the_answer_to_the_request(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = provider.create

        def tell_first(order: Any) -> PaymentState:
            state = create(dataclasses.replace(order, token="succeed"))
            tell(Booking.objects.get(), PaymentStatus.CAPTURED)
            return state

        monkeypatch.setattr(provider, "create", tell_first)
        booking = buy(hold(showtime, ada, "A1").hold).booking

        assert booking.status == BookingStatus.CONFIRMED
        assert booking.payment.provider_reference == books(booking).reference
        assert_bought_right(showtime)


class TestLateSuccess:
    """The money comes when the window is over, because the provider could not be told not to take it."""

    @pytest.fixture
    def late(self, showtime: Showtime, pending: Booking, provider: FlakyDemo) -> Booking:
        provider.away = {"cancel"}
        close_window(pending, grace=True)
        assert settle_overdue_payments() == 1
        assert now(pending) == EXPIRED
        return pending

    def test_while_it_is_still_waited_for_it_is_confirmed(
        self, showtime: Showtime, pending: Booking, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(pending)
        assert settle_overdue_payments() == 0
        decide(pending)
        assert now(pending) == CONFIRMED
        assert_bought_right(showtime)

    def test_free_seats_are_taken_again(self, showtime: Showtime, late: Booking, events: list[Any]) -> None:
        events.clear()
        decide(late)

        assert now(late) == CONFIRMED
        assert [event.changes for event in events if isinstance(event, SeatsChanged)] == [
            {"A1": "locked", "A2": "locked"},
            {"A1": "occupied", "A2": "occupied"},
        ]
        assert Hold.objects.get(pk=late.hold_id).end_reason == HoldEnd.SOLD
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_seats_that_the_buyer_holds_anew_are_theirs(
        self, showtime: Showtime, ada: Holder, late: Booking, redis: Any
    ) -> None:
        anew = hold(showtime, ada, "A1", "C1").hold
        decide(late)

        assert now(late) == CONFIRMED
        rest = live_hold(holder_id=ada.pk, showtime_id=showtime.pk)
        assert rest is not None
        assert (rest.hold_id, rest.seats) == (anew.hold_id, ("C1",))
        assert redis.keys("seat_lock:*") == [f"seat_lock:{{{showtime.pk}}}:C1"]
        assert_bought_right(showtime)

    def test_a_hold_that_loses_all_its_seats_to_it_is_over(
        self, showtime: Showtime, ada: Holder, late: Booking, redis: Any
    ) -> None:
        anew = hold(showtime, ada, "A1").hold
        decide(late)

        assert Hold.objects.get(pk=anew.hold_id).end_reason == HoldEnd.RELEASED
        assert SeatHold.objects.get(hold=anew.hold_id).end_reason == "released"
        assert redis.keys("seat_*") == []
        assert_bought_right(showtime)

    def test_an_unrelated_hold_of_the_buyer_stays(self, showtime: Showtime, ada: Holder, late: Booking) -> None:
        anew = hold(showtime, ada, "C1").hold
        decide(late)
        assert live_hold(holder_id=ada.pk, showtime_id=showtime.pk).hold_id == anew.hold_id  # type: ignore[union-attr]
        assert_bought_right(showtime)

    def test_a_hold_that_has_run_out_is_overtaken(self, showtime: Showtime, ben: Holder, late: Booking) -> None:
        theirs = hold(showtime, ben, "A2").hold
        run_out(theirs.hold_id)
        decide(late)

        assert now(late) == CONFIRMED
        assert SeatHold.objects.get(hold=theirs.hold_id).end_reason == "overtaken"
        assert_bought_right(showtime)

    def test_if_somebody_else_has_one_seat_the_money_goes_back_once(
        self, showtime: Showtime, ben: Holder, late: Booking, provider: FlakyDemo
    ) -> None:
        theirs = hold(showtime, ben, "A2").hold
        capture_silently(late)
        notify(late, times=3)
        settle_overdue_payments()

        assert now(late) == REFUNDED
        assert provider.calls.count("refund") == 1
        # Never a part of it.
        assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
        assert seat(showtime, "A2").hold_id == theirs.hold_id
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_so_it_does_while_the_buyer_pays_for_one_of_them_again(
        self, showtime: Showtime, ada: Holder, late: Booking
    ) -> None:
        again = buy(hold(showtime, ada, "A1").hold, "stall").booking
        decide(late)
        assert (now(late), now(again)) == (REFUNDED, PENDING)
        decide(again)
        assert now(again) == CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_so_it_does_when_seats_are_not_sold_any_more(self, showtime: Showtime, late: Booking) -> None:
        ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        decide(late)
        assert now(late) == REFUNDED
        assert_bought_right(showtime)

    def test_when_the_hold_becomes_somebody_else_s_this_moment_it_is_to_be_told_again(
        self, showtime: Showtime, late: Booking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the reading of the booking and the lock of the hold, its guest has signed in."""
        with monkeypatch.context() as patch:
            patch.setattr("seating.services.selling.lock_paid_hold", lambda **_given: [])
            with refused(ErrorCode.SEAT_LOCKED):
                decide(late)
        assert now(late) == EXPIRED
        # The provider tells it again, and by then it is known whose the hold is.
        decide(late)
        assert now(late) == CONFIRMED
        assert_bought_right(showtime)

    def test_a_refund_that_fails_is_owed_until_it_works(
        self, showtime: Showtime, ben: Holder, late: Booking, provider: FlakyDemo
    ) -> None:
        hold(showtime, ben, "A2")
        provider.away = {"refund"}
        decide(late)
        assert now(late) == (BookingStatus.REFUND_DUE, PaymentStatus.REFUND_DUE)
        assert_bought_right(showtime)
        provider.away.clear()
        # Not at once: the provider was asked a moment ago.
        assert settle_overdue_payments() == 0
        Payment.objects.update(next_attempt_at=dt.datetime.now(dt.UTC))
        assert settle_overdue_payments() == 1
        assert now(late) == REFUNDED
        assert_provider_agrees()


class TestAfterADecline:
    """A decline gave the hold back to its buyer; then the money comes all the same."""

    @pytest.fixture
    def declined(self, pending: Booking) -> Booking:
        tell(pending, PaymentStatus.DECLINED, "evt_declined")
        return pending

    def test_the_hold_as_it_is_is_sold(self, showtime: Showtime, declined: Booking) -> None:
        tell(declined, PaymentStatus.CAPTURED)
        assert now(declined) == CONFIRMED
        assert_bought_right(showtime)

    def test_seats_that_were_added_since_are_released(self, showtime: Showtime, ada: Holder, declined: Booking) -> None:
        hold(showtime, ada, "A3")
        tell(declined, PaymentStatus.CAPTURED)
        assert now(declined) == CONFIRMED
        assert seat(showtime, "A3").status == SeatStatus.AVAILABLE
        assert_bought_right(showtime)

    def test_seats_that_were_let_go_since_are_taken_again(
        self, showtime: Showtime, ada: Holder, declined: Booking
    ) -> None:
        release(showtime, ada, "A2")
        tell(declined, PaymentStatus.CAPTURED)
        assert now(declined) == CONFIRMED
        assert_bought_right(showtime)

    def test_while_the_hold_is_paid_in_another_way_the_money_goes_back(
        self, showtime: Showtime, ada: Holder, declined: Booking
    ) -> None:
        second = buy(own_hold(holder_id=ada.pk, hold_id=declined.hold_id), "stall").booking
        DemoPayment.objects.filter(order=declined.reference).update(status="CAPTURED")
        tell(declined, PaymentStatus.CAPTURED)
        assert (now(declined), now(second)) == (REFUNDED, PENDING)
        decide(second)
        assert now(second) == CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    @pytest.mark.parametrize("token", ["stall", "succeed"])
    def test_so_it_does_while_other_seats_of_the_hold_are_paid_or_bought(
        self, showtime: Showtime, ada: Holder, declined: Booking, token: str
    ) -> None:
        """The declined seats are free again, but the hold is another booking's now."""
        hold(showtime, ada, "C1")
        release(showtime, ada, "A1", "A2")
        again = buy(own_hold(holder_id=ada.pk, hold_id=declined.hold_id), token).booking
        stands = now(again)
        capture_silently(declined)
        tell(declined, PaymentStatus.CAPTURED, "evt_late")

        assert (now(declined), now(again)) == (REFUNDED, stands)
        assert seat(showtime, "C1").hold_id == again.hold_id
        assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
        assert_bought_right(showtime)


class TestAfterGivingUp:
    def test_who_has_given_it_up_gets_the_money_and_not_the_seats(
        self, showtime: Showtime, ada: Holder, pending: Booking
    ) -> None:
        cancel_booking(holder_id=ada.pk, reference=pending.reference)
        DemoPayment.objects.update(status="CAPTURED")
        tell(pending, PaymentStatus.CAPTURED)
        assert now(pending) == REFUNDED
        assert seat(showtime, "A1").status == SeatStatus.RESERVED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_so_does_who_paid_for_what_the_house_has_cancelled(self, showtime: Showtime, pending: Booking) -> None:
        assert cancel_bookings_of_showtime(showtime_id=showtime.pk) == 1
        DemoPayment.objects.update(status="CAPTURED")
        tell(pending, PaymentStatus.CAPTURED)
        assert now(pending) == REFUNDED
        assert_bought_right(showtime)


def test_a_seat_that_was_lost_is_never_sold_twice_and_nothing_stays_stuck(showtime: Showtime, ada: Holder) -> None:
    """What must not happen: a seat of a hold that is being paid is another's. The buyer has the money back."""
    booking = buy(hold(showtime, ada, "A1", "A2").hold, "stall").booking
    thief = factories.HoldFactory(showtime=showtime)
    SeatHold.objects.filter(seat__code="A2").update(ended_at=thief.locked_at, end_reason="overtaken")
    Seat.objects.filter(showtime=showtime, code="A2").update(hold=thief)
    decide(booking)

    assert now(booking) == REFUNDED
    assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
    assert seat(showtime, "A2").hold_id == thief.pk
    assert not Hold.objects.get(pk=booking.hold_id).paying


@pytest.mark.parametrize("outcome", [PaymentStatus.CAPTURED, PaymentStatus.DECLINED])
def test_a_purchase_that_has_lost_every_seat_comes_to_its_end(
    showtime: Showtime, ada: Holder, outcome: PaymentStatus
) -> None:
    """Whatever mistake took them: the money must not be stuck as well."""
    booking = buy(hold(showtime, ada, "A1").hold, "stall").booking
    Seat.objects.filter(showtime=showtime, code="A1").update(
        status=SeatStatus.AVAILABLE, hold=None, reserved_at=None, reserved_until=None, paying=False
    )
    SeatHold.objects.update(ended_at=booking.created_at, end_reason="overtaken")
    decide(booking, outcome)

    ended = {PaymentStatus.CAPTURED: REFUNDED, PaymentStatus.DECLINED: DECLINED}
    assert now(booking) == ended[outcome]
    assert not Hold.objects.filter(ended_at=None).exists()
    assert hold(showtime, ada, "A1").taken == ("A1",)
