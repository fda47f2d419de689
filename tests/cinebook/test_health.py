"""Health tells a load balancer whether seats can be sold, and an operator what is away."""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.utils.dateparse import parse_datetime
from pytest_django import Settings

from bookings.models import ReconcilerRun
from bookings.services import reconcile
from cinebook import health
from cinebook.core.models import Effect
from tests.factories import UserFactory

# It is asked from a thread of its own, which sees what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "unix:///nonexistent/redis.sock?db=0"
ALL_UP = {"database": "up", "redis": "up", "channel_layer": "up"}
IDLE = {"waiting": 0, "overdue_seconds": 0, "dead": 0}


def ask(client: Client) -> Any:
    return client.get("/api/v1/health").json()


def run(*, ago: dt.timedelta, **values: Any) -> None:
    moment = Now() - ago
    ReconcilerRun.objects.create(started_at=moment, finished_at=moment, took_ms=5, redis_up=True, **values)


@pytest.fixture
def postgresql_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nonexistent")


@pytest.fixture
def postgresql_is_silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        monkeypatch.setitem(connection.settings_dict, "PORT", str(deaf.getsockname()[1]))
        yield
        connected, _address = deaf.accept()
        connected.close()


def test_all_is_well(client: Client) -> None:
    answer = client.get("/api/v1/health")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", **ALL_UP, "reconciler": None, "outbox": IDLE}
    assert "no-store" in answer["Cache-Control"]


def test_without_redis_sales_go_on(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = settings.LIVE_REDIS_URL = NOWHERE

    answer = client.get("/api/v1/health")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "degraded",
        "database": "up",
        "redis": "down",
        "channel_layer": "down",
        "reconciler": None,
        "outbox": IDLE,
    }


@pytest.mark.usefixtures("postgresql_is_away")
def test_without_postgresql_nothing_can_be_sold(client: Client) -> None:
    answer = client.get("/api/v1/health")

    assert answer.status_code == 503
    assert answer.json() == {**ALL_UP, "status": "down", "database": "down", "reconciler": None, "outbox": None}


@pytest.mark.usefixtures("postgresql_is_silent")
def test_a_postgresql_that_never_answers_is_not_waited_for(client: Client) -> None:
    begun = time.monotonic()

    answers = [client.get("/api/v1/health"), client.get("/api/v1/health")]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert time.monotonic() - begun < 2 * health.PATIENCE_SECONDS + 2


def test_a_probe_by_address_is_answered_whatever_hosts_are_allowed(client: Client) -> None:
    assert client.get("/api/v1/health", headers={"host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/api/v1/health", headers={"host": "evil.example"}).status_code == 400


def test_whoever_is_signed_in_gets_the_same_answer(client: Client, request: pytest.FixtureRequest) -> None:
    client.force_login(UserFactory())
    connection.close()
    request.getfixturevalue("postgresql_is_away")

    assert client.get("/api/v1/health").status_code == 503


def test_health_cannot_be_posted_to(client: Client) -> None:
    assert client.post("/api/v1/health").status_code == 405


# --- The reconciler ---------------------------------------------------------------------------------------------------


def test_it_tells_of_the_last_run(client: Client) -> None:
    done = reconcile()

    told = ask(client)["reconciler"]

    assert parse_datetime(told.pop("last_run")) == pytest.approx(done.finished_at, abs=dt.timedelta(milliseconds=1))
    assert told.pop("seconds_ago") in range(10)
    assert told == {"took_ms": done.took_ms, "status": "ok", "findings": 0}


def test_a_run_that_has_not_finished_is_not_told_of(client: Client) -> None:
    ReconcilerRun.objects.create()

    assert ask(client) == {"status": "ok", **ALL_UP, "reconciler": None, "outbox": IDLE}


@pytest.mark.parametrize(("minutes", "status"), [(14, "ok"), (16, "degraded")])
def test_a_reconciler_that_was_missed_three_times_degrades(client: Client, minutes: int, status: str) -> None:
    run(ago=dt.timedelta(minutes=minutes))

    assert ask(client)["status"] == status


def test_runs_that_fail_count_as_missed(client: Client) -> None:
    run(ago=dt.timedelta(minutes=16))
    run(ago=dt.timedelta(minutes=1), error="showtime 3: …")

    answer = ask(client)

    assert (answer["status"], answer["reconciler"]["status"]) == ("degraded", "failed")


def test_one_that_fails_does_not_degrade_while_the_last_good_one_is_young(client: Client) -> None:
    run(ago=dt.timedelta(minutes=6))
    run(ago=dt.timedelta(minutes=1), error="showtime 3: …")

    assert ask(client)["status"] == "ok"


def test_where_none_ever_succeeded_it_is_degraded(client: Client) -> None:
    run(ago=dt.timedelta(minutes=1), error="showtime 3: …")

    assert ask(client)["status"] == "degraded"


def test_before_the_first_run_the_age_of_the_process_counts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_began", time.monotonic() - 16 * 60)

    assert ask(client) == {"status": "degraded", **ALL_UP, "reconciler": None, "outbox": IDLE}


def test_findings_are_counted(client: Client) -> None:
    run(ago=dt.timedelta(0), findings=[{"number": "I7", "violation": "…", "count": 3, "examples": []}])

    assert ask(client)["reconciler"]["findings"] == 1
    assert ask(client)["reconciler"]["status"] == "findings"


def test_what_nobody_delivers_is_a_complaint(client: Client) -> None:
    for minutes, status in ((4, "ok"), (6, "degraded")):
        Effect.objects.all().delete()
        Effect.objects.create(subject="x", name="tests.x", next_attempt_at=Now() - dt.timedelta(minutes=minutes))
        answer = ask(client)
        assert answer["status"] == status
        assert answer["outbox"] == {"waiting": 1, "overdue_seconds": minutes * 60, "dead": 0}


def test_what_was_given_up_is_counted_and_stops_no_sale(client: Client) -> None:
    Effect.objects.create(subject="x", name="tests.x", status="DEAD")

    answer = ask(client)

    assert (answer["status"], answer["outbox"]) == ("ok", {**IDLE, "dead": 1})
