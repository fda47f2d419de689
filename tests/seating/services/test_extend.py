"""Keeping seats: the end moves on, as far as the cap and no further."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from cinebook.core.errors import ErrorCode
from seating.events import HoldChanged
from seating.models import Hold, Holder, Showtime, ShowtimeSales
from seating.services import extend_hold
from tests.support.asking import extend, hold, refused, release, seat
from tests.support.ledger import assert_sound
from tests.support.passing_time import let_pass, run_out, start_paying

pytestmark = pytest.mark.django_db(transaction=True)
SECOND = dt.timedelta(seconds=1)


@pytest.mark.usefixtures("either_way")
class TestExtend:
    @pytest.mark.parametrize("seconds", [300, 600, 900])
    def test_the_end_slides(self, showtime: Showtime, ada: Holder, settings: Settings, seconds: int) -> None:
        settings.SEAT_HOLD_SECONDS = seconds
        held = hold(showtime, ada, "A1", "A2").hold
        let_pass(seconds - 10, held.hold_id)
        extended = extend(showtime, ada)

        assert extended.seats == ("A1", "A2")
        assert extended.expires_in in (seconds - 1, seconds)
        assert extended.max_expires_at == held.max_expires_at - (seconds - 10) * SECOND
        assert seat(showtime, "A1").reserved_until == extended.expires_at == Hold.objects.get().expires_at
        assert_sound(showtime.pk)

    def test_a_showtime_may_have_a_length_of_its_own(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        Showtime.objects.filter(pk=showtime.pk).update(hold_seconds=1200)

        assert extend(showtime, ada).expires_in in (1199, 1200)

    def test_never_past_the_cap_and_there_it_stays(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        for _ in range(3):
            let_pass(850, held.hold_id)
            held = extend(showtime, ada)
            assert held.expires_at <= held.max_expires_at
        assert held.expires_at == held.max_expires_at

        again = extend(showtime, ada)
        assert (again.expires_at, again.max_expires_at) == (held.expires_at, held.max_expires_at)
        assert hold(showtime, ada, "A2").hold.expires_at == held.max_expires_at

    def test_never_shorter_than_it_was(self, showtime: Showtime, ada: Holder) -> None:
        """A payment that was declined leaves a hold some time, past the cap if need be."""
        held = hold(showtime, ada, "A1").hold
        let_pass(2690, held.hold_id)
        beyond = held.server_time + 120 * SECOND
        Hold.objects.update(expires_at=beyond)
        seat_row = seat(showtime, "A1")
        type(seat_row).objects.filter(pk=seat_row.pk).update(reserved_until=beyond)

        assert extend(showtime, ada).expires_at == beyond

    def test_the_version_stays(self, showtime: Showtime, ada: Holder, events: list[Any]) -> None:
        hold(showtime, ada, "A1")
        events.clear()
        extend(showtime, ada)

        assert ShowtimeSales.objects.get(showtime=showtime).seq == 1
        assert events == [HoldChanged(ada.pk, showtime.pk)]

    def test_seats_that_are_named_must_be_in_it(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        hold(showtime, ben, "A3")

        assert extend(showtime, ada, "A2").seats == ("A1", "A2")
        with refused(ErrorCode.SEAT_HELD) as data:
            extend(showtime, ada, "A1", "A3")
        assert data["seats"] == {"A3": ErrorCode.SEAT_HELD}
        with refused(ErrorCode.HOLD_EXPIRED) as data:
            extend(showtime, ada, "A1", "A4")
        assert data["seats"] == {"A4": ErrorCode.HOLD_EXPIRED}
        with refused(ErrorCode.UNKNOWN_SEAT):
            extend(showtime, ada, "Z1")
        assert held.expires_at < Hold.objects.get(pk=held.hold_id).expires_at

    def test_nothing_to_extend(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ben, "A1")
        with refused(ErrorCode.HOLD_EXPIRED):
            extend(showtime, ada)

        hold(showtime, ada, "A2")
        release(showtime, ada)
        with refused(ErrorCode.HOLD_EXPIRED):
            extend(showtime, ada)

    def test_what_has_run_out_is_ended_and_not_extended(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        run_out(held.hold_id)
        with refused(ErrorCode.HOLD_EXPIRED):
            extend(showtime, ada)

        assert Hold.objects.get().end_reason == "expired"
        assert seat(showtime, "A1").status == "AVAILABLE"
        assert_sound(showtime.pk)

    def test_a_hold_that_is_being_paid_stays_as_it_is(self, showtime: Showtime, ada: Holder) -> None:
        start_paying(hold(showtime, ada, "A1").hold.hold_id)
        with refused(ErrorCode.HOLD_PAYING):
            extend(showtime, ada)

    def test_only_the_hold_that_is_meant(self, showtime: Showtime, ada: Holder) -> None:
        first = hold(showtime, ada, "A1").hold
        release(showtime, ada)
        second = hold(showtime, ada, "A1").hold
        with refused(ErrorCode.HOLD_EXPIRED):
            extend_hold(holder_id=ada.pk, showtime_id=showtime.pk, hold_id=first.hold_id)

        assert extend_hold(holder_id=ada.pk, showtime_id=showtime.pk, hold_id=second.hold_id).hold_id == second.hold_id

    def test_a_hold_of_a_showtime_that_stopped_selling_may_still_be_kept(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        ShowtimeSales.objects.update(sales_open=False)

        assert extend(showtime, ada).seats == ("A1",)


def test_the_locks_live_as_long(showtime: Showtime, ada: Holder, redis: Redis) -> None:
    hold(showtime, ada, "A1", "A2")
    for name in redis.keys("*"):
        redis.pexpire(name, 5000)
    extend(showtime, ada)

    assert len(redis.keys("*")) == 4
    assert all(895_000 < redis.pttl(name) <= 900_000 for name in redis.keys("*"))


def test_locks_that_redis_has_lost_come_back(showtime: Showtime, ada: Holder, redis: Redis) -> None:
    hold(showtime, ada, "A1", "A2")
    before = set(redis.keys("*"))
    redis.flushdb()
    extend(showtime, ada)

    assert set(redis.keys("*")) == before


def test_statements(showtime: Showtime, ada: Holder, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    hold(showtime, ada, "A1", "A2")
    # With BEGIN and COMMIT.
    with django_assert_num_queries(8):
        extend(showtime, ada)
