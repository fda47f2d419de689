"""Letting seats go: they are free at once, and the audit remembers."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from cinebook.core.errors import ErrorCode
from seating.events import HoldChanged, SeatsChanged
from seating.models import Hold, Holder, SeatEvent, SeatHold, Showtime, ShowtimeSales
from seating.services import announcing, release_seats
from tests.support.asking import NOWHERE, held_codes, hold, refused, release
from tests.support.ledger import assert_sound
from tests.support.passing_time import let_pass, run_out, start_paying

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("either_way")
class TestRelease:
    def test_all(self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any]) -> None:
        hold(showtime, ada, "A1", "A2")
        events.clear()
        answer = release(showtime, ada)

        assert (answer.released, answer.hold) == (("A1", "A2"), None)
        ended = Hold.objects.get()
        assert (ended.end_reason, ended.paying) == ("released", False)
        assert held_codes(showtime) == []
        assert events == [
            HoldChanged(ada.pk, showtime.pk),
            SeatsChanged(showtime.pk, 2, {"A1": "available", "A2": "available"}),
        ]
        assert hold(showtime, ben, "A1").taken == ("A1",)
        assert_sound(showtime.pk)

    def test_some_and_the_others_are_renewed(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1", "A2", "C1").hold
        let_pass(300, held.hold_id)
        answer = release(showtime, ada, "A2")

        assert answer.hold is not None
        assert (answer.released, answer.hold.seats) == (("A2",), ("A1", "C1"))
        assert answer.hold.hold_id == held.hold_id
        assert answer.hold.amount == 1200 + 1500
        assert answer.hold.expires_in in (899, 900)
        assert answer.server_time <= answer.hold.server_time
        assert_sound(showtime.pk)

    def test_what_is_not_ones_own_is_passed_over(
        self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any]
    ) -> None:
        hold(showtime, ada, "A1")
        hold(showtime, ben, "A2")
        events.clear()

        answer = release(showtime, ada, "A2", "A3")
        assert (answer.released, answer.hold and answer.hold.seats) == ((), ("A1",))
        assert events == [HoldChanged(ada.pk, showtime.pk)]
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 2
        assert release(showtime, ada, "A1", "A2").released == ("A1",)
        assert held_codes(showtime) == ["A2"]
        assert_sound(showtime.pk)

    def test_nothing_to_release(self, showtime: Showtime, ada: Holder, events: list[Any]) -> None:
        answer = release(showtime, ada)

        assert (answer.released, answer.hold, events) == ((), None, [])

    def test_the_audit_is_closed_and_kept(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        release(showtime, ada, "A1")
        hold(showtime, ada, "A1")
        release(showtime, ada)

        audit = SeatHold.objects.filter(hold=held.hold_id)
        assert sorted(audit.values_list("seat__code", "end_reason")) == [
            ("A1", "released"), ("A1", "released"), ("A2", "released"),
        ]  # fmt: skip
        assert not audit.filter(ended_at=None).exists()
        assert list(SeatEvent.objects.filter(cause="released").values_list("hold", flat=True)) == [None] * 3

    def test_only_the_hold_that_is_meant(self, showtime: Showtime, ada: Holder) -> None:
        first = hold(showtime, ada, "A1").hold
        release(showtime, ada)
        second = hold(showtime, ada, "A1").hold
        stale = release_seats(holder_id=ada.pk, showtime_id=showtime.pk, hold_id=first.hold_id)

        assert (stale.released, held_codes(showtime)) == ((), ["A1"])
        meant = release_seats(holder_id=ada.pk, showtime_id=showtime.pk, hold_id=second.hold_id)
        assert meant.released == ("A1",)

    def test_a_hold_that_is_being_paid_stays(self, showtime: Showtime, ada: Holder) -> None:
        start_paying(hold(showtime, ada, "A1").hold.hold_id)
        with refused(ErrorCode.HOLD_PAYING):
            release(showtime, ada)

    def test_what_has_run_out_has_expired_and_was_not_released(self, showtime: Showtime, ada: Holder) -> None:
        run_out(hold(showtime, ada, "A1").hold.hold_id)

        assert release(showtime, ada).released == ()
        assert Hold.objects.get().end_reason == SeatHold.objects.get().end_reason == "expired"
        assert_sound(showtime.pk)

    def test_unknown(self, showtime: Showtime, ada: Holder) -> None:
        with refused(ErrorCode.UNKNOWN_SEAT):
            release(showtime, ada, "Z1")
        with refused(ErrorCode.NOT_FOUND):
            release_seats(holder_id=ada.pk, showtime_id=987_654_321)


def test_the_locks_are_gone_with_the_seats(showtime: Showtime, ada: Holder, redis: Redis) -> None:
    held = hold(showtime, ada, "A1", "A2").hold
    tag = f"{{{showtime.pk}}}"
    record = f"seat_hold:{tag}:{held.hold_id}"

    release(showtime, ada, "A1")
    assert set(redis.keys("*")) == {f"seat_lock:{tag}:A2", record, f"locked_seats:{tag}"}
    assert redis.zrange(f"locked_seats:{tag}", 0, -1) == ["A2"]
    assert '["A2"]' in redis.get(record)
    release(showtime, ada)
    assert redis.keys("*") == []


def test_who_comes_late_writes_no_lock(
    showtime: Showtime, ada: Holder, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped before its commit: what it left in the hold may be gone since."""
    hold(showtime, ada, "A1", "A2")
    clock = iter([100.0, 100.0 + announcing.TRUE_FOR_SECONDS])
    monkeypatch.setattr(announcing, "time", type("Clock", (), {"monotonic": lambda: next(clock)}))
    redis.delete(f"seat_lock:{{{showtime.pk}}}:A2")
    release(showtime, ada, "A1")
    assert redis.keys("seat_lock:*") == []


def test_a_lock_that_outlives_an_outage_stands_in_nobodys_way(
    showtime: Showtime, ada: Holder, ben: Holder, redis: Redis, settings: Settings
) -> None:
    hold(showtime, ada, "A1")
    address = settings.REDIS_URL
    settings.REDIS_URL = NOWHERE
    release(showtime, ada)
    settings.REDIS_URL = address

    assert redis.exists(f"seat_lock:{{{showtime.pk}}}:A1")
    assert hold(showtime, ben, "A1").taken == ("A1",)


def test_statements(showtime: Showtime, ada: Holder, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    hold(showtime, ada, "A1", "A2", "A3")
    # Each with BEGIN and COMMIT.
    with django_assert_num_queries(11):
        release(showtime, ada, "A1")
    with django_assert_num_queries(9):
        release(showtime, ada)
