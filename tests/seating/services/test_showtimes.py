"""What may change of a showtime, and what it takes to stop one, to cancel it, or to take it off the programme."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import DjangoAssertNumQueries

from cinebook.core.errors import ErrorCode
from seating.models import BlockReason, Hold, Holder, Price, Seat, SeatHold, Showtime, ShowtimeSales
from seating.services import (
    block_seats,
    cancel_showtime,
    change_showtime,
    remove_showtime,
    resume_sales,
    stop_sales,
)
from tests import factories
from tests.support.asking import extend, held_codes, hold, refused
from tests.support.ledger import assert_sound
from tests.support.passing_time import start_paying

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = dt.timedelta(hours=1)


def change(showtime: Showtime, **changes: Any) -> Showtime:
    return change_showtime(
        showtime_id=showtime.pk,
        **{
            "movie": showtime.movie,
            "starts_at": showtime.starts_at,
            "prices": factories.PRICES,
            "sales_open_at": showtime.sales_open_at,
            "sales_close_at": showtime.sales_close_at,
            "hold_seconds": showtime.hold_seconds,
            **changes,
        },
    )


class TestChange:
    def test_times_move_though_seats_are_held(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1")
        length = showtime.ends_at - showtime.starts_at
        changed = change(showtime, starts_at=showtime.starts_at + HOUR, sales_close_at=None, hold_seconds=60)

        changed.refresh_from_db()
        assert changed.starts_at == showtime.starts_at + HOUR
        assert changed.ends_at - changed.starts_at == length
        assert changed.sales_close_at == changed.starts_at + dt.timedelta(minutes=15)
        assert hold(showtime, ben, "A2").hold.expires_in in (59, 60)

    def test_a_price_is_for_seats_that_are_held_from_now_on(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        change(showtime, prices={"standard": 900, "premium": 2000})

        assert hold(showtime, ada, "A2").hold.amount == 1200 + 900
        assert sorted(SeatHold.objects.values_list("price_amount", flat=True)) == [900, 1200]

    def test_a_category_that_the_room_has_keeps_a_price(self, showtime: Showtime) -> None:
        with pytest.raises(ValueError, match="no price: premium"):
            change(showtime, prices={"standard": 1})
        assert dict(Price.objects.values_list("category_id", "amount")) == factories.PRICES

    def test_another_film_takes_its_own_time_while_nobody_has_held_a_seat(
        self, showtime: Showtime, ada: Holder
    ) -> None:
        longer = factories.MovieFactory(runtime_minutes=170)
        block_seats(showtime_id=showtime.pk, codes=["A1"], reason=BlockReason.BROKEN)
        assert change(showtime, movie=longer).ends_at == showtime.starts_at + dt.timedelta(minutes=200)

        hold(showtime, ada, "A2")
        with refused(ErrorCode.INVALID_DATA):
            change(showtime)
        assert Showtime.objects.get(pk=showtime.pk).movie == longer

    def test_a_room_that_is_taken_is_refused_by_the_database(self, showtime: Showtime) -> None:
        later = factories.make_showtime(auditorium=showtime.auditorium, starts_at=showtime.ends_at)
        with pytest.raises(IntegrityError, match="auditorium_shows_one_film_at_a_time"):
            change(later, starts_at=later.starts_at - dt.timedelta(minutes=1))

    def test_what_is_cancelled_or_gone_stays_so(self, showtime: Showtime) -> None:
        cancel_showtime(showtime_id=showtime.pk)
        with refused(ErrorCode.INVALID_DATA):
            change(showtime)
        showtime.pk = 0
        with refused(ErrorCode.NOT_FOUND):
            change(showtime)


class TestSales:
    def test_stopped_sales_refuse_new_seats_and_leave_the_held_ones(
        self, showtime: Showtime, ada: Holder, ben: Holder
    ) -> None:
        hold(showtime, ada, "A1")
        stop_sales(showtime_id=showtime.pk)
        with refused(ErrorCode.NOT_ON_SALE):
            hold(showtime, ben, "A2")
        assert extend(showtime, ada).seats == ("A1",)

        resume_sales(showtime_id=showtime.pk)
        assert hold(showtime, ben, "A2").taken == ("A2",)

    def test_a_showtime_without_a_counter_gets_one(self, showtime: Showtime, ada: Holder) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()
        stop_sales(showtime_id=showtime.pk)

        with refused(ErrorCode.NOT_ON_SALE):
            hold(showtime, ada, "A1")

    def test_there_must_be_one(self) -> None:
        for service in (stop_sales, resume_sales, cancel_showtime, remove_showtime):
            with refused(ErrorCode.NOT_FOUND):
                service(showtime_id=0)


class TestCancel:
    def test_its_holds_end_and_no_new_ones_come(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1", "A2")
        withdrawn = cancel_showtime(showtime_id=showtime.pk)

        assert (withdrawn.holds, withdrawn.seats) == (1, ("A1", "A2"))
        showtime.refresh_from_db()
        assert showtime.cancelled_at is not None
        assert not showtime.sales.sales_open
        assert Hold.objects.get().end_reason == "withdrawn"
        for holder in (ada, ben):
            with refused(ErrorCode.NOT_ON_SALE):
                hold(showtime, holder, "A1")
        assert_sound(showtime.pk)

    def test_a_hold_that_is_being_paid_is_left_to_its_booking(self, showtime: Showtime, ada: Holder) -> None:
        start_paying(hold(showtime, ada, "A1").hold.hold_id)

        assert cancel_showtime(showtime_id=showtime.pk).holds == 0
        assert held_codes(showtime) == ["A1"]

    def test_again_ends_what_was_left_and_keeps_the_hour(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        start_paying(held.hold_id)
        cancel_showtime(showtime_id=showtime.pk)
        cancelled_at = Showtime.objects.get(pk=showtime.pk).cancelled_at
        Hold.objects.update(paying=False)
        Seat.objects.update(paying=False)

        assert cancel_showtime(showtime_id=showtime.pk).seats == ("A1",)
        assert Showtime.objects.get(pk=showtime.pk).cancelled_at == cancelled_at

    def test_it_is_for_good(self, showtime: Showtime) -> None:
        cancel_showtime(showtime_id=showtime.pk)
        with refused(ErrorCode.INVALID_DATA):
            resume_sales(showtime_id=showtime.pk)
        stop_sales(showtime_id=showtime.pk)
        assert not ShowtimeSales.objects.get(showtime=showtime).sales_open

    def test_its_seats_need_not_be_made(self, showtime: Showtime, ada: Holder) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()

        assert cancel_showtime(showtime_id=showtime.pk).holds == 0
        with refused(ErrorCode.NOT_ON_SALE):
            hold(showtime, ada, "A1")

    def test_statements(self, showtime: Showtime, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        for code in ("A1", "A2", "A3"):
            hold(showtime, factories.HolderFactory(), code)
        # The showtime's lock, its hour and its switch; then as for taking holds back. BEGIN and COMMIT twice.
        with django_assert_num_queries(5 + 8):
            cancel_showtime(showtime_id=showtime.pk)


class TestRemove:
    def test_what_nothing_has_happened_to_leaves_nothing(self, showtime: Showtime) -> None:
        other = factories.make_showtime()
        remove_showtime(showtime_id=showtime.pk)

        assert list(Showtime.objects.all()) == [other]
        assert set(Seat.objects.values_list("showtime", flat=True)) == {other.pk}
        assert set(Price.objects.values_list("showtime", flat=True)) == {other.pk}

    def test_what_was_held_or_blocked_stays_in_the_books(self, showtime: Showtime, ada: Holder) -> None:
        blocked = factories.make_showtime()
        block_seats(showtime_id=blocked.pk, codes=["A1"], reason=BlockReason.HOUSE_SEAT)
        hold(showtime, ada, "A1")
        for touched in (showtime, blocked):
            with refused(ErrorCode.INVALID_DATA):
                remove_showtime(showtime_id=touched.pk)
            assert touched.seats.count() == 18

    def test_who_still_has_its_page_open_is_told_that_it_is_gone(self, showtime: Showtime, ada: Holder) -> None:
        with refused(ErrorCode.HOLD_EXPIRED):
            # Now this process knows the showtime's layout.
            extend(showtime, ada)
        remove_showtime(showtime_id=showtime.pk)
        with refused(ErrorCode.NOT_FOUND):
            hold(showtime, ada, "A1")
