"""Who finds a row locked for too long is told so, or comes again later: nobody fails, nobody keeps others waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from django.db import connection

from bookings.models import PaymentStatus
from bookings.services import ask_about_payment, cancel_booking, carry_out_refund, expire_payment
from cinebook.core.errors import ErrorCode
from seating.models import Hold, Holder, Showtime
from seating.services import (
    change_showtime,
    leaving,
    let_go_of_left_holds,
    make_missing_seats,
    release_seats,
    remove_showtime,
)
from tests.factories import PRICES, make_showtime
from tests.support.asking import hold, refused, somebody_holds
from tests.support.buying import FlakyDemo, buy, close_window, decide, let_try_again, now
from tests.support.rivals import rival_transaction, rows_locked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def little_patience() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    yield
    connection.close()


@pytest.mark.usefixtures("little_patience")
class TestTheHouse:
    SHOWTIME = "SELECT FROM seating_showtime WHERE id = %s"

    def test_changing_a_showtime(self, showtime: Showtime) -> None:
        with rows_locked(self.SHOWTIME, [showtime.pk]), refused(ErrorCode.SEAT_LOCKED):
            change_showtime(
                showtime_id=showtime.pk,
                movie=showtime.movie,
                starts_at=showtime.starts_at,
                prices=PRICES,
                sales_open_at=showtime.sales_open_at,
                sales_close_at=None,
                hold_seconds=60,
            )
        showtime.refresh_from_db()
        assert showtime.hold_seconds is None

    def test_removing_it(self, showtime: Showtime) -> None:
        with rows_locked(self.SHOWTIME, [showtime.pk]), refused(ErrorCode.SEAT_LOCKED):
            remove_showtime(showtime_id=showtime.pk)
        assert showtime.seats.count() == 18

    def test_making_its_seats(self, showtime: Showtime) -> None:
        showtime.seats.all().delete()
        # Only whoever removes it stands in the way.
        with rival_transaction() as remover, remover.cursor() as cursor:
            cursor.execute("SELECT FROM seating_showtimesales WHERE showtime_id = %s FOR UPDATE", [showtime.pk])
            with refused(ErrorCode.SEAT_LOCKED):
                make_missing_seats(showtime_id=showtime.pk)
        assert make_missing_seats(showtime_id=showtime.pk) == 18


@pytest.mark.usefixtures("little_patience")
class TestWhoSeesToPayments:
    PAYMENT = "SELECT FROM bookings_payment WHERE booking_id = %s"

    def test_leaves_a_refund_that_is_busy_for_later(self, showtime: Showtime, ada: Holder, provider: FlakyDemo) -> None:
        booking = buy(hold(showtime, ada, "A1").hold).booking
        provider.away = {"refund"}
        cancel_booking(holder_id=ada.pk, reference=booking.reference)
        provider.away.clear()
        let_try_again(booking)
        with rows_locked(self.PAYMENT, [booking.pk]):
            assert carry_out_refund(reference=booking.reference) is False
        assert carry_out_refund(reference=booking.reference) is True

    def test_leaves_a_window_that_is_busy_for_later(self, showtime: Showtime, ada: Holder, provider: FlakyDemo) -> None:
        booking = buy(hold(showtime, ada, "A1").hold, "stall").booking
        close_window(booking)
        with rows_locked(self.PAYMENT, [booking.pk]):
            assert expire_payment(reference=booking.reference) is False
        assert provider.calls == ["create"]
        assert expire_payment(reference=booking.reference) is True

    def test_asks_nobody_about_a_payment_that_is_busy(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo
    ) -> None:
        booking = buy(hold(showtime, ada, "A1").hold, "stall").booking
        with rows_locked(self.PAYMENT, [booking.pk]):
            assert ask_about_payment(reference=booking.reference) is True
        assert "ask" not in provider.calls


class TestWhoLeft:
    @staticmethod
    def left_long_ago() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE seating_hold SET left_at = clock_timestamp() - interval '12 s'")

    def test_one_hold_that_fails_does_not_keep_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        broken, other = somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")
        self.left_long_ago()

        def release(*, holder_id: int, **given: object) -> object:
            if holder_id == broken.holder_id:
                raise ZeroDivisionError
            return release_seats(holder_id=holder_id, **given)  # type: ignore[arg-type]

        monkeypatch.setattr(leaving, "release_seats", release)
        assert let_go_of_left_holds() == 1
        assert list(Hold.objects.filter(ended_at=None).values_list("pk", flat=True)) == [broken.hold_id]
        assert Hold.objects.get(pk=other.hold_id).end_reason == "released"

    def test_who_pays_is_there_and_keeps_the_two_minutes_after_a_decline(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo
    ) -> None:
        """Their map said goodbye, and another device of theirs pays."""
        held = hold(showtime, ada, "A1").hold
        self.left_long_ago()
        booking = buy(held, "stall").booking
        decide(booking, PaymentStatus.DECLINED)

        assert now(booking)[1] == PaymentStatus.DECLINED
        assert let_go_of_left_holds() == 0
        assert Hold.objects.get().expires_at - held.server_time > dt.timedelta(minutes=2)
