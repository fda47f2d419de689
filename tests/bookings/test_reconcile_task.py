"""The reconciler runs by beat and by hand, leaves a record of each run, and says what is broken."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError, connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from redis import Redis
from structlog.testing import capture_logs

from bookings.models import ReconcilerRun
from bookings.selectors.invariants import BOOKING_INVARIANTS
from bookings.services import reconcile, reconciling
from bookings.tasks import reconcile as task
from cinebook.celery import app
from seating.models import Seat, SeatEvent, SeatStatus, ShowtimeSales
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from seating.services import extend_hold, release_seats
from tests.factories import BookingFactory, HoldFactory, TicketFactory, UserFactory, make_showtime
from tests.support.asking import somebody_holds
from tests.support.locks import assert_redis_says_what_postgresql_says
from tests.support.passing_time import let_pass
from tests.support.rivals import race

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "unix:///nonexistent/redis.sock?db=0"


def findings() -> dict[str, str]:
    return {found.violation: found.number for found in broken_invariants([*SEAT_INVARIANTS, *BOOKING_INVARIANTS])}


def test_the_task_frees_what_is_over_and_leaves_a_record(redis: Redis) -> None:
    over, _live = somebody_holds(make_showtime(), "A1", "A2"), somebody_holds(make_showtime(), "A1")
    let_pass(1000, over.hold_id)
    redis.flushdb()

    task()

    run = ReconcilerRun.objects.get()
    assert (run.outcome, run.expired_seats, run.locks_written, run.redis_up, run.error) == ("ok", 2, 1, True, "")
    assert run.finished_at is not None
    assert run.took_ms is not None
    assert run.finished_at >= run.started_at
    assert_redis_says_what_postgresql_says(redis)


def test_beat_starts_it_every_five_minutes_and_what_is_missed_does_not_pile_up(settings: Settings) -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["reconcile"]

    assert entry["task"] == task.name == "bookings.tasks.reconcile"
    assert entry["schedule"] == dt.timedelta(minutes=5)
    assert entry["options"]["expires"] <= 300
    assert app.tasks[task.name].time_limit <= 300


def test_whoever_sends_a_task_sends_it_to_the_broker_of_the_settings(settings: Settings) -> None:
    """A web process has no reason of its own to know Celery's application."""
    ask = "import django; django.setup(); from bookings.tasks import reconcile; print(reconcile.app.conf.broker_url)"

    asked = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True, timeout=60)

    assert asked.stdout.strip() == settings.CELERY_BROKER_URL


def test_without_redis_the_record_says_so(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE

    assert reconcile().outcome == "redis_away"
    assert ReconcilerRun.objects.get().redis_up is False


def test_two_at_once_leave_two_good_records() -> None:
    over = somebody_holds(make_showtime(), "A1", "A2")
    let_pass(1000, over.hold_id)

    race(task, task)

    assert sorted(ReconcilerRun.objects.values_list("expired_seats", "error")) == [(0, ""), (2, "")]


def test_a_run_that_breaks_off_is_recorded_and_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off() -> Any:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(reconciling, "reconcile_seats", break_off)

    with pytest.raises(OperationalError):
        task()

    run = ReconcilerRun.objects.get()
    assert (run.outcome, run.error) == ("failed", "OperationalError: the connection is gone")


def test_when_postgresql_itself_goes_away_its_own_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def go_away() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(reconciling, "reconcile_seats", go_away)

    with capture_logs() as lines, pytest.raises(OperationalError, match="terminating connection"):
        reconcile()
    connection.close()

    assert "reconciler.record_lost" in {line["event"] for line in lines}
    assert ReconcilerRun.objects.get().outcome == "running"


def test_a_step_that_failed_makes_the_run_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)

    def fail(**given: Any) -> int:
        raise IntegrityError("a mistake of ours")

    monkeypatch.setattr("seating.services.reconciling.expire_holds", fail)

    run = reconcile()

    assert (run.outcome, run.error) == ("failed", f"showtime {held.showtime_id}: IntegrityError: a mistake of ours")


def test_runs_are_kept_for_thirty_days() -> None:
    now = timezone.now()
    for days in (31, 29):
        ReconcilerRun.objects.create(started_at=now - dt.timedelta(days=days))

    reconcile()

    assert [(now - run.started_at).days for run in ReconcilerRun.objects.all()] == [-1, 29]


# --- Invariants -------------------------------------------------------------------------------------------------------


def test_all_invariants_hold_through_the_life_of_holds(redis: Redis) -> None:
    showtime = make_showtime()
    kept, over = somebody_holds(showtime, "A1", "A2"), somebody_holds(showtime, "B3")
    let_pass(1000, over.hold_id)
    redis.delete(f"seat_lock:{{{showtime.pk}}}:B3")  # its time is over there too
    overtaking = somebody_holds(showtime, "B3")
    extend_hold(holder_id=kept.holder_id, showtime_id=showtime.pk)
    release_seats(holder_id=overtaking.holder_id, showtime_id=showtime.pk)

    assert reconcile().findings == []
    assert findings() == {}


def test_a_counter_that_is_ahead_of_the_ledger_is_found_told_and_recorded() -> None:
    held = somebody_holds(make_showtime(), "A1")
    ShowtimeSales.objects.filter(showtime=held.showtime_id).update(seq=7)

    with capture_logs() as lines:
        run = reconcile()

    violation = "a showtime's versions have a gap, or its counter is another"
    example = f"showtime {held.showtime_id}, versions: the counter says 7, the ledger has 1 and its newest is 1"
    found = {"number": "I7", "violation": violation, "count": 1, "examples": [example]}
    assert (run.outcome, run.findings) == ("findings", [found])
    told = [line for line in lines if line["event"] == "invariant.broken"]
    assert told == [{**found, "event": "invariant.broken", "log_level": "error"}]


def test_a_seat_that_is_not_what_the_ledger_says_is_found() -> None:
    held = somebody_holds(make_showtime(), "A1")
    Seat.objects.filter(showtime=held.showtime_id, code="B1").update(status="BLOCKED", block_reason="broken")

    assert findings() == {"replaying the ledger does not give the seat": "I7"}


def test_a_ledger_that_contradicts_itself_is_found() -> None:
    held = somebody_holds(make_showtime(), "A1")
    seat = Seat.objects.get(hold=held.hold_id)
    SeatEvent.objects.create(
        showtime_id=held.showtime_id,
        seq=2,
        seat=seat,
        from_status="SOLD",
        to_status="RESERVED",
        cause="held",
        hold_id=held.hold_id,
    )
    ShowtimeSales.objects.filter(showtime=held.showtime_id).update(seq=2)

    assert findings() == {"a line of the ledger does not follow from the one before": "I7"}


def test_a_seat_that_ends_at_another_time_than_its_hold_is_found() -> None:
    held = somebody_holds(make_showtime(), "A1")
    Seat.objects.filter(hold=held.hold_id).update(reserved_until=timezone.now() + dt.timedelta(days=1))

    assert findings() == {"a seat does not end, or is not paid, with its live hold": "I4"}


def test_what_is_stuck_is_found() -> None:
    held, paid = somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")
    Seat.objects.filter(hold=paid.hold_id).update(paying=True)
    paid_hold = Seat.objects.get(hold=paid.hold_id).hold
    assert paid_hold is not None
    paid_hold.paying = True
    paid_hold.save()
    let_pass(3000, held.hold_id)
    let_pass(9000, paid.hold_id)

    assert findings() == {
        "a seat is still reserved though its time is over": "I9",
        "a hold has not ended though its time is over": "I9",
        "a hold is still being paid long after its time": "I9",
    }


def test_what_is_sold_without_a_ticket_and_confirmed_without_a_sale_is_found() -> None:
    hold_ = HoldFactory()
    Seat.objects.filter(showtime=hold_.showtime, code="B1").update(
        status=SeatStatus.SOLD, hold=hold_, sold_at=timezone.now()
    )
    booking = BookingFactory(hold=hold_, status="CONFIRMED", confirmed_at=timezone.now())
    TicketFactory(booking=booking)

    found = findings()

    assert found["a sold seat has no ticket"] == "I3"
    assert found["a confirmed ticket's seat is not sold"] == "I3"


def test_a_seat_in_two_live_bookings_is_found_even_without_its_unique_index() -> None:
    first, second = TicketFactory(), None
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX seat_has_one_ticket")
    try:
        hold_ = HoldFactory(showtime=first.booking.showtime)
        second = TicketFactory(booking=BookingFactory(hold=hold_))
        assert findings() == {"a seat is in two live bookings": "I1"}
    finally:
        if second:
            second.delete()
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE UNIQUE INDEX seat_has_one_ticket ON bookings_ticket (seat_id) WHERE cancelled_at IS NULL"
            )


def test_every_question_can_be_asked() -> None:
    assert {invariant.number for invariant in (*SEAT_INVARIANTS, *BOOKING_INVARIANTS) if invariant.quick} == {
        "I1",
        "I2",
        "I3",
        "I4",
        "I7",
        "I9",
    }
    assert findings() == {}


# --- By hand, and to look at ------------------------------------------------------------------------------------------


def test_by_hand_it_prints_what_it_did(redis: Redis) -> None:
    somebody_holds(make_showtime(), "A1", "A2")
    redis.flushdb()
    out = StringIO()

    call_command("reconcile", stdout=out)

    assert "PostgreSQL: 0 seats expired, 0 stuck rows put right." in out.getvalue()
    assert "Redis: 2 locks and 1 records written, 0 locks and 0 records removed, 2 lines" in out.getvalue()
    assert ReconcilerRun.objects.count() == 1


def test_by_hand_it_fails_when_an_invariant_is_broken_and_says_without_redis_what_it_left(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE
    showtime = make_showtime()
    ShowtimeSales.objects.filter(showtime=showtime).update(seq=7)
    out = StringIO()

    with pytest.raises(CommandError, match="Invariants are broken"):
        call_command("reconcile", stdout=out)

    assert "Redis is away" in out.getvalue()
    assert "I7 is broken: a showtime's versions have a gap, or its counter is another" in out.getvalue()
    assert f"(1, such as showtime {showtime.pk}, versions: the counter says 7, the ledger has 0" in out.getvalue()


def test_by_hand_it_fails_when_a_step_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)

    def fail(**given: Any) -> int:
        raise IntegrityError("a mistake of ours")

    monkeypatch.setattr("seating.services.reconciling.expire_holds", fail)

    with pytest.raises(CommandError, match="a mistake of ours"):
        call_command("reconcile", stdout=StringIO())


def test_staff_may_read_the_runs_and_change_none(client: Client) -> None:
    run = reconcile()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))

    listed = client.get("/admin/bookings/reconcilerrun/")
    shown = client.get(f"/admin/bookings/reconcilerrun/{run.pk}/change/")

    assert listed.status_code == shown.status_code == 200
    assert b"ok" in listed.content
    assert b'name="_save"' not in shown.content
    assert client.get("/admin/bookings/reconcilerrun/add/").status_code == 403
    assert client.post(f"/admin/bookings/reconcilerrun/{run.pk}/delete/", {"post": "yes"}).status_code == 403
    assert str(ReconcilerRun.objects.get()).endswith(": ok")
