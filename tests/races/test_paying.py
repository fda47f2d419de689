"""Paying, and all that may happen to the same seats meanwhile: each pair of operations, both ways round.

As in `test_pairs`, rivals are lined up behind a row lock, or placed at a named point; nothing depends on speed.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from bookings.models import Booking, BookingStatus, DemoPayment, PaymentEvent, PaymentStatus
from bookings.services import (
    cancel_booking,
    cancel_bookings_of_showtime,
    settle_overdue_payments,
)
from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder, Seat, SeatHold, SeatStatus, Showtime
from seating.services import HoldAnswer, expire_holds, sale_changes
from tests.support.asking import extend, hold, refused, release, seat
from tests.support.buying import (
    CONFIRMED,
    EXPIRED,
    REFUNDED,
    FlakyDemo,
    assert_bought_right,
    assert_money_adds_up,
    assert_provider_agrees,
    buy,
    capture_silently,
    close_window,
    confirm,
    decide,
    notify,
    now,
)
from tests.support.passing_time import run_out
from tests.support.rivals import DEADLINE, Work, in_background, in_line, race, rows_locked, wait_for_waiters

pytestmark = pytest.mark.django_db(transaction=True)


class TestPayAndExpire:
    """The hold runs out at the moment in which it is bought."""

    def test_who_comes_after_the_clock_is_told(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        run_out(held.hold_id)
        _freed, bought = race(lambda: expire_holds(showtime_id=showtime.pk), lambda: buy(held))
        assert bought.code is ErrorCode.HOLD_EXPIRED
        # If the buyer had the hold's lock just then, the clock has left it for its next round.
        expire_holds(showtime_id=showtime.pk)
        assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
        assert_bought_right(showtime)

    @pytest.mark.usefixtures("without_redis")
    def test_half_of_a_hold_is_never_bought(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        """It was good when it was looked at; while its seats are waited for it runs out, and a rival takes one."""
        held = hold(showtime, ada, "A1", "A2").hold
        with in_background() as start:
            with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1'", [showtime.pk]) as door:
                taking = start(lambda: hold(showtime, ben, "A1"))
                wait_for_waiters(1)
                buying = start(lambda: buy(held))
                wait_for_waiters(2)
                with door.cursor() as cursor:
                    cursor.execute(
                        "UPDATE seating_seat SET reserved_until = clock_timestamp() WHERE hold_id = %s", [held.hold_id]
                    )
                door.commit()
            assert taking.result(DEADLINE).taken == ("A1",)
            assert buying.result(DEADLINE).code is ErrorCode.HOLD_EXPIRED
        assert not Booking.objects.exists()


class TestWindowAndMoney:
    """The window closes while the money comes."""

    @pytest.fixture
    def over(self, pending: Booking) -> Booking:
        close_window(pending)
        return pending

    def test_the_notice_is_first(self, showtime: Showtime, over: Booking) -> None:
        told, expired = in_line(showtime, lambda: decide(over), settle_overdue_payments)
        # The provider had the money already, so it could not be cancelled: it was told again, and that changed nothing.
        assert (told, expired) == (None, 1)
        assert now(over) == CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_the_clock_is_first(self, showtime: Showtime, over: Booking, provider: FlakyDemo) -> None:
        """The provider could not be told, so the money comes: the seats are still free, and taken again."""
        provider.away = {"cancel"}
        close_window(over, grace=True)
        expired, told = in_line(showtime, settle_overdue_payments, lambda: decide(over))
        assert (expired, told) == (1, None)
        assert now(over) == CONFIRMED
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_both_at_once(self, showtime: Showtime, over: Booking) -> None:
        race(lambda: decide(over), settle_overdue_payments, settle_overdue_payments)
        assert now(over) in {CONFIRMED, EXPIRED}
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_money_that_the_provider_took_after_it_was_given_up(
        self, showtime: Showtime, over: Booking, ben: Holder, provider: FlakyDemo
    ) -> None:
        """Nobody could reach the provider. The seats went to somebody else; the money goes back, exactly once."""
        provider.away = {"cancel"}
        close_window(over, grace=True)
        settle_overdue_payments()
        theirs = buy(hold(showtime, ben, "A1", "A2").hold).booking
        race(*[lambda: decide(over)] * 3, settle_overdue_payments)
        settle_overdue_payments()

        assert (now(over), now(theirs)) == (REFUNDED, CONFIRMED)
        assert provider.calls.count("refund") == 1
        assert_bought_right(showtime)
        assert_provider_agrees()

    @pytest.mark.usefixtures("either_way")
    def test_money_that_comes_while_somebody_else_takes_the_seats(
        self, showtime: Showtime, over: Booking, ben: Holder, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(over, grace=True)
        settle_overdue_payments()
        _told, taken = race(lambda: decide(over), lambda: hold(showtime, ben, "A1", "A2"))
        assert now(over) == (REFUNDED if isinstance(taken, HoldAnswer) else CONFIRMED)
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_late_money_that_is_first_leaves_nothing_to_the_rival(
        self, showtime: Showtime, over: Booking, ben: Holder, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(over, grace=True)
        settle_overdue_payments()
        _told, taken = in_line(showtime, lambda: decide(over), lambda: hold(showtime, ben, "A1"))
        assert taken.data["seats"] == {"A1": ErrorCode.SEAT_BOOKED}
        assert now(over) == CONFIRMED
        assert_bought_right(showtime)

    def test_late_money_that_waits_behind_a_rival_sees_the_rival(
        self, showtime: Showtime, over: Booking, ben: Holder, provider: FlakyDemo
    ) -> None:
        provider.away = {"cancel"}
        close_window(over, grace=True)
        settle_overdue_payments()
        theirs, _told = in_line(showtime, lambda: hold(showtime, ben, "A1"), lambda: decide(over))
        assert theirs.taken == ("A1",)
        assert now(over) == REFUNDED
        assert_bought_right(showtime)


class TestNoticesAtOnce:
    def test_the_same_notice_many_times(self, showtime: Showtime, pending: Booking) -> None:
        capture_silently(pending)
        race(*[lambda: notify(pending)] * 4)
        assert now(pending) == CONFIRMED
        assert PaymentEvent.objects.filter(event_id__startswith="evt_").count() == 1
        assert_bought_right(showtime)

    def test_a_notice_and_the_answer_to_the_request(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = provider.create

        def notify_meanwhile(order: Any) -> Any:
            state = create(order)
            booking = Booking.objects.get(reference=order.reference)
            notify(booking)
            return state

        monkeypatch.setattr(provider, "create", notify_meanwhile)
        held = hold(showtime, ada, "A1").hold
        answer = buy(held)
        assert now(answer.booking) == CONFIRMED
        assert_bought_right(showtime)


class TestTwoRequests:
    @pytest.mark.usefixtures("either_way")
    def test_one_hold_is_bought_once(self, showtime: Showtime, ada: Holder) -> None:
        for code in ("A1", "A2", "A3"):
            held = hold(showtime, ada, code).hold
            answers = race(*[lambda held=held: buy(held)] * 3)
            assert sum(answer.is_new for answer in answers) == 1
            assert len({answer.booking for answer in answers}) == 1
            assert Booking.objects.filter(hold=held.hold_id).count() == 1
            assert_bought_right(showtime)
        assert DemoPayment.objects.count() == 3

    def test_in_both_ways(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        first, second = race(lambda: buy(held), lambda: confirm(showtime, ada, "A1", "A2"))
        assert first.booking == second.booking
        assert {first.is_new, second.is_new} == {True, False}
        assert_bought_right(showtime)

    def test_all_against_all(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        """Whatever wins: nothing is lost, doubled or half done."""
        for row in "ABC":
            held = hold(showtime, ada, f"{row}4", f"{row}5").hold
            race(
                lambda held=held: buy(held),
                lambda: release(showtime, ada),
                lambda: extend(showtime, ada),
                lambda row=row: hold(showtime, ben, f"{row}5", f"{row}6"),
            )
            release(showtime, ben)
            assert_bought_right(showtime)


class TestCancelAndNotice:
    def test_at_once(self, showtime: Showtime, pending: Booking) -> None:
        cancelled, _told = race(
            lambda: cancel_booking(holder_id=pending.holder_id, reference=pending.reference),
            lambda: decide(pending),
        )
        if isinstance(cancelled, Refusal):
            assert cancelled.code is ErrorCode.SEAT_LOCKED
            assert now(pending) == CONFIRMED
        else:
            assert now(pending) in {REFUNDED, (BookingStatus.CANCELLED, PaymentStatus.CANCELLED)}
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_cancelled_first(self, showtime: Showtime, pending: Booking, provider: FlakyDemo) -> None:
        """The provider took the money after all: its notice finds the purchase given up."""
        cancel_booking(holder_id=pending.holder_id, reference=pending.reference)
        capture_silently(pending)
        race(*[lambda: notify(pending)] * 3)
        assert now(pending) == REFUNDED
        assert provider.calls.count("refund") == 1
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_twice_at_once(self, showtime: Showtime, ada: Holder, provider: FlakyDemo) -> None:
        booking = buy(hold(showtime, ada, "A1", "A2").hold).booking
        race(*[lambda: cancel_booking(holder_id=ada.pk, reference=booking.reference)] * 3)
        assert now(booking) == REFUNDED
        assert provider.calls.count("refund") == 1
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_the_house_and_the_money_at_once(self, showtime: Showtime, pending: Booking) -> None:
        race(lambda: cancel_bookings_of_showtime(showtime_id=showtime.pk), lambda: decide(pending))
        # What came in between is come back to.
        cancel_bookings_of_showtime(showtime_id=showtime.pk)
        settle_overdue_payments()
        assert now(pending) in {REFUNDED, (BookingStatus.CANCELLED, PaymentStatus.CANCELLED)}
        assert_bought_right(showtime)
        assert_provider_agrees()


class TestTheControl:
    """Somebody else's reservation is not mine to buy: with the guard the sale sees it, without it a seat is stolen."""

    @pytest.fixture
    def stolen(self, showtime: Showtime, ada: Holder, ben: Holder) -> tuple[Booking, Any]:
        """Ada pays for A1 and A2; in the rows, Ben has A2: what any mistake before the sale could have done."""
        booking = buy(hold(showtime, ada, "A1", "A2").hold, "stall").booking
        theirs = hold(showtime, ben, "C1").hold
        SeatHold.objects.filter(hold=booking.hold_id, seat__code="A2").update(
            ended_at=theirs.locked_at, end_reason="overtaken"
        )
        a2 = seat(showtime, "A2")
        SeatHold.objects.create(hold_id=theirs.hold_id, seat=a2, price_amount=1200)
        Seat.objects.filter(pk=a2.pk).update(
            hold=theirs.hold_id, paying=False, reserved_until=theirs.expires_at, reserved_at=theirs.locked_at
        )
        return booking, theirs

    def test_with_the_guard_ben_keeps_his_seat(self, showtime: Showtime, stolen: tuple[Booking, Any]) -> None:
        booking, theirs = stolen
        decide(booking)
        assert now(booking) == REFUNDED
        assert (seat(showtime, "A2").status, seat(showtime, "A2").hold_id) == (SeatStatus.RESERVED, theirs.hold_id)
        assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
        assert_money_adds_up()
        assert_provider_agrees()

    def test_without_it_ada_buys_ben_s_seat(
        self, showtime: Showtime, stolen: tuple[Booking, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        booking, _theirs = stolen
        unguarded = sale_changes.SELL.replace("AND hold_id = %(hold)s", "")
        assert unguarded != sale_changes.SELL
        monkeypatch.setattr(sale_changes, "SELL", unguarded)
        decide(booking)

        assert now(booking) == CONFIRMED
        assert (seat(showtime, "A2").status, seat(showtime, "A2").hold_id) == (SeatStatus.SOLD, booking.hold_id)
        # By the audit it was sold out of Ben's hold, and he has bought nothing.
        with pytest.raises(AssertionError, match="sold out of a hold that bought nothing"):
            assert_bought_right(showtime)

    def test_the_late_sale_has_a_guard_of_its_own(
        self, showtime: Showtime, ada: Holder, ben: Holder, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unguarded = sale_changes.TAKE_AGAIN.replace("AND NOT paying AND (hold_id", "AND (true OR hold_id")
        assert unguarded != sale_changes.TAKE_AGAIN
        provider.away = {"cancel"}
        late = buy(hold(showtime, ada, "A1").hold, "stall").booking
        close_window(late, grace=True)
        settle_overdue_payments()
        theirs = buy(hold(showtime, ben, "A1").hold, "stall").booking
        monkeypatch.setattr(sale_changes, "TAKE_AGAIN", unguarded)
        # Even so the index on tickets refuses the second sale: the other guard, which knows nothing of the first.
        with pytest.raises(IntegrityError, match="seat_has_one_ticket"):
            decide(late)
        monkeypatch.undo()
        assert now(theirs)[0] == BookingStatus.PENDING


class TestOrder:
    """Payment, booking, holder, hold, seats by id, counter: nobody locks them another way round."""

    LOCKS = (
        re.compile(r'FROM "bookings_payment".*FOR NO KEY UPDATE OF "bookings_payment"', re.DOTALL),
        re.compile(r'FROM "bookings_booking".*FOR NO KEY UPDATE OF "bookings_booking"', re.DOTALL),
        re.compile(r"FROM seating_holder AS holder.*FOR NO KEY UPDATE OF holder", re.DOTALL),
        re.compile(r"FROM seating_hold\s+WHERE.*FOR NO KEY UPDATE\s*$", re.DOTALL),
        re.compile(r"FROM seating_seat\s+WHERE.*ORDER BY id\s+FOR NO KEY UPDATE\s*$", re.DOTALL),
        re.compile(r"UPDATE seating_showtimesales"),
    )

    def transactions(self, work: Work) -> list[list[int]]:
        """Return the places in the order of what each transaction locks; those that lock nothing are left out."""
        found: list[list[int]] = [[]]
        with CaptureQueriesContext(connection) as queries:
            work()
        for query in queries:
            sql = query["sql"]
            places = [place for place, pattern in enumerate(self.LOCKS) if pattern.search(sql)]
            assert len(places) == 1 or "FOR NO KEY UPDATE" not in sql, f"a lock outside the order: {sql}"
            found[-1] += places
            if sql == "COMMIT":
                found.append([])
        return [places for places in found if places]

    def test_every_way_to_change_a_purchase_keeps_to_it(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo
    ) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        pending: list[Booking] = []
        # Buying: the payment begins; its answer, PENDING, is written down.
        assert self.transactions(lambda: pending.append(buy(held, "stall").booking)) == [[2, 3, 4], [0, 1]]
        assert self.transactions(lambda: decide(pending[0])) == [[0, 1, 2, 3, 4, 5]]
        # Cancelling: the seats come back; the money has gone back.
        cancel = self.transactions(lambda: cancel_booking(holder_id=ada.pk, reference=pending[0].reference))
        assert cancel == [[0, 1, 4, 5], [0, 1]]
        hold(showtime, ada, "B1", "B2")
        assert self.transactions(lambda: confirm(showtime, ada, "B1")) == [[2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]

        late = buy(hold(showtime, ada, "A1", "A2").hold, "stall").booking
        provider.away = {"cancel"}
        close_window(late, grace=True)
        assert self.transactions(settle_overdue_payments) == [[0, 1, 2, 3, 4, 5]]
        hold(showtime, ada, "A1", "A3")
        # Taken again, then sold: each has a version of its own.
        assert self.transactions(lambda: decide(late)) == [[0, 1, 2, 3, 4, 5, 5]]
        assert now(late) == CONFIRMED
        assert_bought_right(showtime)

    def test_a_purchase_that_is_busy_is_not_waited_for(self, pending: Booking, showtime: Showtime) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        with (
            rows_locked("SELECT FROM bookings_payment WHERE booking_id = %s", [pending.pk]),
            refused(ErrorCode.SEAT_LOCKED),
        ):
            decide(pending)
        connection.close()
        notify(pending)
        assert now(pending) == CONFIRMED
        assert_bought_right(showtime)
