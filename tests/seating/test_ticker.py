"""The ticker ends holds within about a second of their time, in web processes alone, whatever happens to PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from redis import Redis
from structlog.testing import capture_logs

from seating import ticker
from seating.models import Hold, Seat, SeatStatus
from seating.services import expire_holds, showtimes_with_lapsed_holds
from tests.factories import make_showtime
from tests.support.asking import somebody_holds
from tests.support.locks import assert_redis_says_what_postgresql_says
from tests.support.passing_time import let_pass
from tests.support.rivals import until

pytestmark = pytest.mark.django_db(transaction=True)

APPLICATION_NAME = "the ticker of a test"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "TICK_SECONDS", 0.05)


@pytest.fixture
def ticking(quick: None) -> Iterator[ticker.Ticker]:
    clock = ticker.HoldTicker()
    clock.start()
    yield clock
    clock.stop()


def test_holds_that_run_out_are_ended_by_themselves(redis: Redis, ticking: ticker.Ticker) -> None:
    over, live = somebody_holds(make_showtime(), "A1", "A2"), somebody_holds(make_showtime(), "A1")

    let_pass(1000, over.hold_id)
    until(lambda: Hold.objects.get(pk=over.hold_id).ended_at)

    assert Seat.objects.filter(status=SeatStatus.RESERVED).count() == 1
    assert Hold.objects.get(pk=live.hold_id).ended_at is None
    until(lambda: not redis.exists(f"seat_lock:{{{over.showtime_id}}}:A1"))
    assert_redis_says_what_postgresql_says(redis)


def test_it_ticks_once_a_second() -> None:
    assert ticker.TICK_SECONDS == 1.0


def test_it_ends_when_it_is_told_and_gives_its_connection_back(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "application_name", APPLICATION_NAME)
    ticked = threading.Event()

    def tick() -> list[int]:
        found = showtimes_with_lapsed_holds()
        ticked.set()
        return found

    monkeypatch.setattr(ticker, "showtimes_with_lapsed_holds", tick)
    clock = ticker.HoldTicker()
    clock.start()
    assert ticked.wait(5)

    clock.stop()

    assert "ticker" not in {thread.name for thread in threading.enumerate()}

    def connections() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()",
                [APPLICATION_NAME],
            )
            return int(cursor.fetchone()[0])

    until(lambda: connections() == 0)


def test_an_outage_of_postgresql_is_told_once_and_survived(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)
    tries = []

    def count_and_ask() -> list[int]:
        tries.append(1)
        return showtimes_with_lapsed_holds()

    monkeypatch.setattr(ticker, "showtimes_with_lapsed_holds", count_and_ask)
    clock = ticker.HoldTicker()
    with capture_logs() as lines, monkeypatch.context() as outage:
        outage.setitem(connection.settings_dict, "HOST", "/nonexistent")
        clock.start()
        until(lambda: len(tries) >= 3)
        outage.undo()
        until(lambda: Hold.objects.get(pk=held.hold_id).ended_at)
        clock.stop()

    told = [(line["event"], line["trouble"]) for line in lines if line["event"].startswith("ticker.")]
    assert told == [("ticker.trouble", "database"), ("ticker.well_again", "database")]


def test_a_showtime_that_fails_is_told_once_and_stops_no_other(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = sorted(
        (somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")),
        key=lambda held: held.showtime_id,
    )
    failed = []

    def fail_at_one(*, showtime_id: int) -> int:
        if showtime_id == bad.showtime_id:
            failed.append(1)
            raise IntegrityError("a mistake of ours")
        return expire_holds(showtime_id=showtime_id)

    monkeypatch.setattr(ticker, "expire_holds", fail_at_one)
    let_pass(1000, bad.hold_id, good.hold_id)
    clock = ticker.HoldTicker()
    with capture_logs() as lines:
        clock.start()
        until(lambda: Hold.objects.get(pk=good.hold_id).ended_at and len(failed) >= 3)
        clock.stop()

    told = [line["trouble"] for line in lines if line["event"] == "ticker.trouble"]
    assert told == [f"showtime {bad.showtime_id}"]


def test_a_mistake_of_ours_does_not_stop_the_clock(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)
    tries = []

    def fail_three_times() -> list[int]:
        tries.append(1)
        if len(tries) <= 3:
            raise ValueError("a mistake of ours")
        return showtimes_with_lapsed_holds()

    monkeypatch.setattr(ticker, "showtimes_with_lapsed_holds", fail_three_times)
    clock = ticker.HoldTicker()
    with capture_logs() as lines:
        clock.start()
        until(lambda: Hold.objects.get(pk=held.hold_id).ended_at)
        clock.stop()

    told = [(line["event"], line["trouble"]) for line in lines if line["event"].startswith("ticker.")]
    assert told == [("ticker.trouble", "tick"), ("ticker.well_again", "tick")]


def test_a_seat_that_stays_locked_is_tried_again(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c lock_timeout=50")
    tries = []

    def count_and_expire(*, showtime_id: int) -> int:
        tries.append(1)
        return expire_holds(showtime_id=showtime_id)

    monkeypatch.setattr(ticker, "expire_holds", count_and_expire)
    clock = ticker.HoldTicker()
    with capture_logs() as lines:
        with transaction.atomic():
            Seat.objects.select_for_update(no_key=True).get(hold=held.hold_id)
            clock.start()
            until(lambda: len(tries) >= 2)
        until(lambda: Hold.objects.get(pk=held.hold_id).ended_at)
        clock.stop()

    assert not [line for line in lines if line["event"].startswith("ticker.")]


def test_it_can_be_told_to_end_in_the_middle_of_a_tick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    holds = [somebody_holds(make_showtime(), "A1").hold_id for _showtime in range(2)]
    let_pass(1000, *holds)
    clock = ticker.HoldTicker()
    in_the_middle, may_go_on = threading.Event(), threading.Event()

    def wait_and_expire(*, showtime_id: int) -> int:
        in_the_middle.set()
        assert may_go_on.wait(5)
        return expire_holds(showtime_id=showtime_id)

    monkeypatch.setattr(ticker, "expire_holds", wait_and_expire)
    clock.start()
    assert in_the_middle.wait(5)
    stopping = threading.Thread(target=clock.stop)
    stopping.start()
    until(clock._stopped.is_set)
    may_go_on.set()
    stopping.join(5)

    assert not stopping.is_alive()
    assert Hold.objects.filter(pk__in=holds, ended_at=None).count() == 1


def test_a_hold_that_somebody_is_busy_with_is_left_for_a_later_second(quick: None) -> None:
    busy, other = somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")
    let_pass(1000, busy.hold_id, other.hold_id)
    clock = ticker.HoldTicker()
    try:
        with transaction.atomic():
            Hold.objects.select_for_update(no_key=True).get(pk=busy.hold_id)
            clock.start()
            until(lambda: Hold.objects.get(pk=other.hold_id).ended_at)
            assert Hold.objects.get(pk=busy.hold_id).ended_at is None
        until(lambda: Hold.objects.get(pk=busy.hold_id).ended_at)
    finally:
        clock.stop()


def test_the_question_of_every_second_is_answered_from_an_index() -> None:
    showtime = make_showtime()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH holder AS (
                INSERT INTO seating_holder (guest_key) SELECT gen_random_uuid() FROM generate_series(1, 5000)
                RETURNING id
            )
            INSERT INTO seating_hold (id, holder_id, showtime_id, token_hash, locked_at, expires_at, max_expires_at)
            SELECT gen_random_uuid(), id, %s, md5(id::text), now(), now() + interval '15 min', now() + interval '45 min'
            FROM holder
            """,
            [showtime.pk],
        )
        cursor.execute("ANALYZE seating_hold")
    with CaptureQueriesContext(connection) as asked:
        assert showtimes_with_lapsed_holds() == []
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {asked[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "live_hold_by_expiry" in plan
    assert "Index Cond: (expires_at <= statement_timestamp())" in plan


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("import cinebook.asgi", id="web"),
        pytest.param("django.setup(); from django.core.management import *; call_command('check')", id="manage.py"),
        pytest.param("from cinebook.celery import app; app.loader.import_default_modules()", id="celery"),
    ],
)
def test_nothing_ticks_but_a_web_process_that_serves(command: str) -> None:
    look = f"import threading, django; {command}; print([thread.name for thread in threading.enumerate()])"

    looked = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True, timeout=60)

    assert "MainThread" in looked.stdout
    assert "Ticker" not in looked.stdout
