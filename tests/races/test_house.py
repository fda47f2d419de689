"""The house against everybody else: blocking, taking back and cancelling, while others hold and pay."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError

from bookings.models import Booking, Payment
from bookings.services import (
    Contact,
    Purchase,
    call_off_showtime,
    cancel_bookings_of_cancelled_showtimes,
    settle_overdue_payments,
    start_booking,
)
from cinebook.core.errors import ErrorCode, Refusal, SeatsRefused
from seating.models import BlockReason, Hold, Holder, Seat, Showtime
from seating.services import (
    HoldAnswer,
    Withdrawn,
    block_seats,
    cancel_showtime,
    change_showtime,
    holding,
    house,
    make_missing_seats,
    release_seats,
    remove_showtime,
    seat_changes,
    selling,
    withdraw_hold,
    withdraw_holds,
)
from tests.factories import PRICES, MovieFactory
from tests.support.asking import extend, held_codes, hold, seat
from tests.support.ledger import assert_sound
from tests.support.mutants import planted
from tests.support.rivals import (
    DEADLINE,
    Work,
    before_the_commit_of,
    in_background,
    in_line,
    race,
    rows_locked,
    wait_for_waiters,
)

pytestmark = pytest.mark.django_db(transaction=True)

PURCHASE = Purchase(provider="demo", contact=Contact(name="Ada Example", email="ada@example.org"))


def blocking(showtime: Showtime, *codes: str) -> Work:
    return functools.partial(block_seats, showtime_id=showtime.pk, codes=codes, reason=BlockReason.BROKEN)


@contextmanager
def stopped_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[threading.Event]:
    """Let whoever comes to a function wait before it, until the end; yield what tells that somebody is there."""
    there, go_on = threading.Event(), threading.Event()
    function = getattr(module, name)

    def wait(*args: Any, **kwargs: Any) -> Any:
        there.set()
        assert go_on.wait(DEADLINE)
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, wait)
    try:
        yield there
    finally:
        go_on.set()


class TestBlockAndHold:
    @pytest.mark.usefixtures("without_redis")
    def test_who_comes_first_has_the_seat(self, showtime: Showtime, ada: Holder) -> None:
        blocked, refusal = in_line(showtime, blocking(showtime, "A1"), lambda: hold(showtime, ada, "A1", "A2"))
        assert blocked == ("A1",)
        assert isinstance(refusal, SeatsRefused)
        assert refusal.data["seats"] == {"A1": ErrorCode.SEAT_BLOCKED}
        assert held_codes(showtime) == []
        assert_sound(showtime.pk)

    @pytest.mark.usefixtures("without_redis")
    def test_and_the_other_way_round(self, showtime: Showtime, ada: Holder) -> None:
        held, refusal = in_line(showtime, lambda: hold(showtime, ada, "A1"), blocking(showtime, "A1", "A2"))
        assert isinstance(held, HoldAnswer)
        assert isinstance(refusal, SeatsRefused)
        assert refusal.data["seats"] == {"A1": ErrorCode.SEAT_HELD}
        assert seat(showtime, "A2").status == "AVAILABLE"
        assert_sound(showtime.pk)

    @pytest.mark.usefixtures("either_way")
    def test_at_the_same_moment(self, showtime: Showtime, ada: Holder) -> None:
        for row in "ABC":
            codes = [f"{row}{number}" for number in range(1, 7)]
            outcomes = race(
                blocking(showtime, *reversed(codes)), lambda codes=codes: hold(showtime, ada, codes[2], codes[0])
            )
            assert sum(isinstance(outcome, Refusal) for outcome in outcomes) == 1, outcomes
            release_seats(holder_id=ada.pk, showtime_id=showtime.pk)
            assert_sound(showtime.pk)

    def test_without_the_lock_the_block_would_count_too_few_seats(
        self, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stale = [house.LockedSeat(row.pk, row.code, row.status, None) for row in Seat.objects.filter(code="A1")]
        monkeypatch.setattr(house, "lock_seats", lambda **_wanted: stale)
        hold(showtime, ada, "A1")
        with pytest.raises(AssertionError, match="the seats are locked"):
            blocking(showtime, "A1")()
        assert held_codes(showtime) == ["A1"]


class TestWithdraw:
    @pytest.mark.usefixtures("without_redis")
    def test_an_extension_that_comes_too_late_finds_no_hold(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        withdrawn, refusal = in_line(
            showtime, lambda: withdraw_hold(hold_id=held.hold_id), lambda: extend(showtime, ada)
        )
        assert withdrawn == ("A1",)
        assert isinstance(refusal, Refusal)
        assert refusal.code is ErrorCode.HOLD_EXPIRED
        assert_sound(showtime.pk)

    def test_against_everything_that_its_holder_does(self, showtime: Showtime, ada: Holder) -> None:
        for code in ("A2", "A3", "A4"):
            held = hold(showtime, ada, "A1").hold
            outcomes = race(
                lambda held=held: withdraw_hold(hold_id=held.hold_id),
                lambda code=code: hold(showtime, ada, code),
                lambda: extend(showtime, ada),
            )
            assert all(isinstance(outcome, tuple | HoldAnswer | Refusal | type(held)) for outcome in outcomes), outcomes
            assert Hold.objects.get(pk=held.hold_id).end_reason == "withdrawn"
            release_seats(holder_id=ada.pk, showtime_id=showtime.pk)
            assert_sound(showtime.pk)


class TestCancelAndHold:
    def test_who_waits_for_a_seat_when_the_showtime_is_cancelled_does_not_get_it(
        self, showtime: Showtime, ada: Holder
    ) -> None:
        with in_background() as start:
            with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1'", [showtime.pk]):
                late = start(lambda: hold(showtime, ada, "A1"))
                wait_for_waiters(1)
                cancel_showtime(showtime_id=showtime.pk)
            refusal = late.result(DEADLINE)
        assert isinstance(refusal, Refusal)
        assert refusal.code is ErrorCode.NOT_ON_SALE
        assert held_codes(showtime) == []
        assert_sound(showtime.pk)

    def test_without_the_guard_in_the_counter_it_would_be_held(
        self, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = seat_changes.record_changes

        def careless(**given: Any) -> int | None:
            return record(**{**given, "only_while_on_sale": False})

        monkeypatch.setattr(seat_changes, "record_changes", careless)
        with in_background() as start:
            with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1'", [showtime.pk]):
                late = start(lambda: hold(showtime, ada, "A1"))
                wait_for_waiters(1)
                cancel_showtime(showtime_id=showtime.pk)
            assert isinstance(late.result(DEADLINE), HoldAnswer)
        assert held_codes(showtime) == ["A1"]

    def test_a_hold_that_is_about_to_be_committed_is_waited_for_and_ended(
        self, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with in_background() as start:
            with stopped_at(monkeypatch, holding, "_write_hold") as there:
                held = start(lambda: hold(showtime, ada, "A1"))
                assert there.wait(DEADLINE)
                cancelled = start(lambda: cancel_showtime(showtime_id=showtime.pk))
                wait_for_waiters(1)
            assert isinstance(held.result(DEADLINE), HoldAnswer)
            assert cancelled.result(DEADLINE) == Withdrawn(holds=1, seats=("A1",))
        assert held_codes(showtime) == []
        assert_sound(showtime.pk)

    def test_taking_the_holds_back_first_would_leave_it(
        self, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with in_background() as start:
            with stopped_at(monkeypatch, holding, "_write_hold") as there:
                held = start(lambda: hold(showtime, ada, "A1"))
                assert there.wait(DEADLINE)
                assert withdraw_holds(showtime_id=showtime.pk).holds == 0
            held.result(DEADLINE)
        assert held_codes(showtime) == ["A1"]


class TestCancelAndPay:
    @pytest.mark.parametrize("token", ["succeed", "stall", "decline"])
    def test_who_has_begun_to_pay_is_waited_for_and_gets_the_money_back(
        self, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch, token: str
    ) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        purchase = Purchase(provider="demo", token=token, contact=PURCHASE.contact)
        with in_background() as start:
            with stopped_at(monkeypatch, selling, "_write_paying") as there:
                paid = start(
                    lambda: start_booking(holder_id=ada.pk, user_id=None, hold_id=held.hold_id, purchase=purchase)
                )
                assert there.wait(DEADLINE)
                called_off = start(lambda: call_off_showtime(showtime_id=showtime.pk))
                wait_for_waiters(1)
            paid.result(DEADLINE)
            called_off.result(DEADLINE)
        # What the two left to each other is taken up by whoever comes by.
        cancel_bookings_of_cancelled_showtimes()
        settle_overdue_payments()
        withdraw_holds(showtime_id=showtime.pk)

        booking, payment = Booking.objects.get(), Payment.objects.get()
        assert booking.status in {"CANCELLED", "REFUNDED"}
        assert payment.captured_amount == payment.refunded_amount
        assert not booking.tickets.filter(cancelled_at=None).exists()
        assert set(showtime.seats.values_list("status", flat=True)) == {"AVAILABLE"}
        assert not Hold.objects.filter(ended_at=None).exists()
        assert_sound(showtime.pk)

    def test_who_wants_to_pay_after_that_cannot(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        outcomes = race(
            lambda: call_off_showtime(showtime_id=showtime.pk),
            lambda: start_booking(holder_id=ada.pk, user_id=None, hold_id=held.hold_id, purchase=PURCHASE),
        )
        cancel_bookings_of_cancelled_showtimes()
        settle_overdue_payments()

        assert not Booking.objects.filter(status__in=["PENDING", "CONFIRMED"]).exists(), outcomes
        assert set(showtime.seats.values_list("status", flat=True)) == {"AVAILABLE"}
        assert sum(payment.captured_amount - payment.refunded_amount for payment in Payment.objects.all()) == 0
        assert_sound(showtime.pk)


class TestRemoveAndFirstUse:
    @pytest.fixture(autouse=True)
    def bare(self, showtime: Showtime) -> None:
        showtime.seats.all().delete()
        showtime.sales.delete()

    def test_seats_that_are_being_made_are_waited_for_and_go_with_the_showtime(self, showtime: Showtime) -> None:
        made, removed = before_the_commit_of(
            lambda: make_missing_seats(showtime_id=showtime.pk), lambda: remove_showtime(showtime_id=showtime.pk)
        )
        assert (made, removed) == (18, None)
        assert not Showtime.objects.exists()

    def test_a_showtime_that_goes_while_its_seats_are_wanted_is_not_found(self, showtime: Showtime) -> None:
        removed, making = before_the_commit_of(
            lambda: remove_showtime(showtime_id=showtime.pk), lambda: make_missing_seats(showtime_id=showtime.pk)
        )
        assert removed is None
        assert making.code is ErrorCode.NOT_FOUND
        assert not Showtime.objects.exists()

    @pytest.mark.usefixtures("without_redis")
    def test_a_first_hold_keeps_the_showtime(self, showtime: Showtime, ada: Holder) -> None:
        held, removing = before_the_commit_of(
            lambda: hold(showtime, ada, "A1"), lambda: remove_showtime(showtime_id=showtime.pk)
        )
        assert held.taken == ("A1",)
        assert removing.code is ErrorCode.INVALID_DATA
        assert_sound(showtime.pk)

    def test_unless_nobody_looks_again_whether_it_is_there(self, showtime: Showtime) -> None:
        """The control: the commit finds that it is gone."""
        with planted("seats_made_while_the_showtime_goes"), pytest.raises(IntegrityError):
            before_the_commit_of(
                lambda: remove_showtime(showtime_id=showtime.pk), lambda: make_missing_seats(showtime_id=showtime.pk)
            )

    @pytest.mark.usefixtures("without_redis")
    def test_a_first_hold_keeps_the_film(self, showtime: Showtime, ada: Holder) -> None:
        held, changing = before_the_commit_of(
            lambda: hold(showtime, ada, "A1"),
            lambda: change_showtime(
                showtime_id=showtime.pk,
                movie=MovieFactory(),
                starts_at=showtime.starts_at,
                prices=PRICES,
                sales_open_at=showtime.sales_open_at,
                sales_close_at=None,
                hold_seconds=None,
            ),
        )
        assert held.taken == ("A1",)
        assert changing.code is ErrorCode.INVALID_DATA
        assert Showtime.objects.get().movie == showtime.movie
