"""The outbox: written with a change, delivered after it, once each and in order, by whoever comes by."""

from __future__ import annotations

import datetime as dt
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from redis import Redis
from structlog.testing import capture_logs

from bookings.services import reconcile
from bookings.ticker import LEFT_TO_WORKERS, OutboxTicker
from cinebook.core import outbox
from cinebook.core.models import Effect
from cinebook.core.outbox import deliver_effects, forget_delivered, outbox_state, retry_dead, write_effect
from tests import settings as own
from tests.support.rivals import DEADLINE, in_background, race, until
from tests.support.staff import messages, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

CHECKOUT = Path(__file__).resolve().parents[2]
# The time in which a request may write an effect and commit, whatever the broker does, in seconds.
AT_ONCE = 0.05
OUTBOX = "/admin/core/effect/"


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was delivered, in order; `fails` in the arguments makes it fail."""
    told: list[Any] = []

    def note(*, what: Any, key: str, fails: bool = False) -> None:
        assert not connection.in_atomic_block
        if fails:
            raise smtplib.SMTPDataError(451, b"no room for ada@example.org")
        told.append(what)

    monkeypatch.setitem(outbox._registry, "tests.note", note)
    return told


def write(what: Any, subject: str = "booking 1", **more: Any) -> Effect:
    with transaction.atomic():
        write_effect(subject=subject, name="tests.note", arguments={"what": what, **more})
    return Effect.objects.latest("pk")


def let_pass(seconds: float) -> None:
    """Let time pass for all that waits."""
    for waiting in Effect.objects.filter(status="WAITING"):
        waiting.next_attempt_at -= dt.timedelta(seconds=seconds)
        waiting.save()


class TestWriting:
    def test_it_is_there_if_the_change_is(self, delivered: list[Any]) -> None:
        with transaction.atomic():
            write_effect(subject="booking 1", name="tests.note", arguments={"what": "undone"})
            transaction.set_rollback(True)
        write("done")
        assert deliver_effects() == 1
        assert delivered == ["done"]

    def test_it_belongs_to_a_change(self) -> None:
        with pytest.raises(transaction.TransactionManagementError):
            write_effect(subject="booking 1", name="tests.note", arguments={})

    def test_nothing_is_delivered_within_a_transaction(self) -> None:
        with transaction.atomic(), pytest.raises(transaction.TransactionManagementError):
            deliver_effects()

    def test_a_name_means_one_function(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox, "_registry", {})

        @outbox.effect("tests.twice")
        def first(*, key: str) -> None: ...

        assert outbox.effect("tests.twice")(first) is first
        with pytest.raises(AssertionError, match="two functions"):
            outbox.effect("tests.twice")(lambda **_given: None)


class TestDelivering:
    def test_once_each_and_in_order(self, delivered: list[Any]) -> None:
        for number in range(5):
            write(number)
        assert deliver_effects() == 5
        assert delivered == [0, 1, 2, 3, 4]
        assert deliver_effects() == 0
        assert set(Effect.objects.values_list("status", "attempts", "error")) == {("DELIVERED", 1, "")}

    def test_one_that_fails_holds_back_its_own_subject_alone(self, delivered: list[Any]) -> None:
        failing = write("first", fails=True)
        write("second")
        write("other", subject="booking 2")
        with capture_logs() as lines:
            assert deliver_effects() == 1
        assert delivered == ["other"]
        told = [line for line in lines if line["event"] == "outbox.not_delivered"]
        assert [(line["attempt"], line["log_level"]) for line in told] == [(1, "warning")]
        assert 5 <= told[0]["again_in"] <= 10

        Effect.objects.filter(pk=failing.pk).update(arguments={"what": "first"})
        let_pass(10)
        assert deliver_effects() == 2
        assert delivered == ["other", "first", "second"]

    def test_the_words_of_a_mail_server_are_kept_nowhere(self, delivered: list[Any]) -> None:
        failing = write("first", fails=True)
        with capture_logs() as lines:
            deliver_effects()
        failing.refresh_from_db()
        assert failing.error.startswith("SMTPDataError 451 (test_outbox.py:")
        assert "ada@" not in failing.error + str(lines)

    def test_the_pauses_grow_to_an_hour_and_are_not_all_alike(self) -> None:
        for attempt, longest in ((1, 10), (2, 20), (5, 160), (9, 2560), (10, 3600), (36, 3600)):
            pauses = {outbox._pause(attempt) for _ in range(50)}
            assert len(pauses) > 10
            assert longest / 2 <= min(pauses) <= max(pauses) <= longest

    def test_an_effect_that_nobody_knows_is_tried_again(self, delivered: list[Any]) -> None:
        """A newer version may have written it."""
        unknown = write("x")
        Effect.objects.update(name="tests.of_tomorrow")
        assert deliver_effects() == 0
        unknown.refresh_from_db()
        assert (unknown.status, unknown.error[:8]) == ("WAITING", "KeyError")

    def test_web_processes_come_for_what_nobody_else_has_taken(self, delivered: list[Any]) -> None:
        write("x")
        assert deliver_effects(due_for=3) == 0
        let_pass(3)
        assert deliver_effects(due_for=3) == 1

    def test_who_is_told_to_stop_leaves_the_rest(self, delivered: list[Any]) -> None:
        for number in range(3):
            write(number, subject=f"booking {number}")
        assert deliver_effects(until=lambda: len(delivered) == 2) == 2
        assert deliver_effects() == 1


class TestGivingUp:
    def test_it_is_told_and_staff_may_have_it_tried_again(self, delivered: list[Any]) -> None:
        failing = write("first", fails=True)
        write("second")
        Effect.objects.filter(pk=failing.pk).update(attempts=outbox.MAX_ATTEMPTS - 1)
        with capture_logs() as lines:
            # What comes after it is not held back for ever.
            assert deliver_effects() == 1
        assert [line["log_level"] for line in lines if line["event"] == "outbox.given_up"] == ["error"]
        failing.refresh_from_db()
        assert failing.status == "DEAD"
        state = outbox_state()
        assert (state.waiting, state.dead, state.overdue) == (0, 1, dt.timedelta())

        Effect.objects.filter(pk=failing.pk).update(arguments={"what": "first"})
        assert retry_dead(effect_ids=[failing.pk]) == 1
        assert retry_dead(effect_ids=[failing.pk]) == 0
        assert deliver_effects() == 1
        assert delivered == ["second", "first"]

    def test_one_that_takes_every_process_along_is_given_up_too(self, delivered: list[Any]) -> None:
        write("poison")
        Effect.objects.update(attempts=outbox.MAX_ATTEMPTS)
        assert deliver_effects() == 0
        assert Effect.objects.get().status == "DEAD"
        assert delivered == []

    def test_after_about_a_day(self) -> None:
        longest = sum(min(3600, 10 * 2**attempt) for attempt in range(outbox.MAX_ATTEMPTS - 1))
        assert 18 * 3600 < longest * 0.75 < 30 * 3600


class TestState:
    def test_what_waits_for_its_turn_is_not_overdue(self, delivered: list[Any]) -> None:
        write("first", fails=True)
        write("second")
        let_pass(1000)
        state = outbox_state()
        assert (state.waiting, round(state.overdue.total_seconds())) == (2, 1000)
        deliver_effects()
        state = outbox_state()
        assert (state.waiting, state.overdue) == (2, dt.timedelta())


class TestAdmin:
    def test_staff_see_it_and_try_again_what_was_given_up(self, staff: Client, delivered: list[Any]) -> None:
        write("waits")
        dead = write("dead")
        Effect.objects.filter(pk=dead.pk).update(status="DEAD", attempts=36, error="SMTPDataError 451")
        assert "SMTPDataError 451" in staff.get(OUTBOX).content.decode()
        assert staff.get(f"{OUTBOX}{dead.pk}/change/").status_code == 200
        form = {"action": "try_again", "_selected_action": list(Effect.objects.values_list("pk", flat=True))}
        assert "1 effect is tried again." in messages(staff.post(OUTBOX, form, follow=True))
        assert LogEntry.objects.get().object_id == str(dead.pk)
        assert deliver_effects() == 2

    def test_who_may_only_look_cannot(self) -> None:
        Effect.objects.create(subject="x", name="tests.note", status="DEAD")
        viewer = signed_in("core.view_effect")
        viewer.post(OUTBOX, {"action": "try_again", "_selected_action": [Effect.objects.get().pk]})
        assert Effect.objects.get().status == "DEAD"


class TestWhoDelivers:
    def test_a_web_process_leaves_it_to_a_worker_for_a_moment(
        self, delivered: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seating.ticker.TICK_SECONDS", 0.05)
        ticker = OutboxTicker()
        ticker.start()
        write("x")
        assert delivered == []
        let_pass(LEFT_TO_WORKERS)
        until(lambda: delivered == ["x"])
        ticker.stop()

    def test_the_reconciler_does_what_nobody_did(self, delivered: list[Any]) -> None:
        write("x")
        Effect.objects.create(subject="x", name="tests.note", status="DEAD")
        old = timezone.now() - dt.timedelta(days=15)
        Effect.objects.create(subject="y", name="tests.note", status="DELIVERED", delivered_at=old)
        with capture_logs() as lines:
            reconcile()
        assert delivered == ["x"]
        assert [line["effects"] for line in lines if line["event"] == "outbox.some_were_given_up"] == [1]
        assert sorted(Effect.objects.values_list("status", flat=True)) == ["DEAD", "DELIVERED"]


class TestForgetting:
    def test_what_was_delivered_is_kept_for_two_weeks(self, delivered: list[Any]) -> None:
        for number in range(3):
            write(number)
        deliver_effects()
        write("waits")
        old = timezone.now() - dt.timedelta(days=15)
        Effect.objects.filter(arguments__what__in=[0, "waits"]).update(created_at=old)
        Effect.objects.filter(arguments__what=0).update(delivered_at=old)
        assert forget_delivered() == 1
        assert sorted(Effect.objects.values_list("status", flat=True)) == ["DELIVERED", "DELIVERED", "WAITING"]


class TestManyAtOnce:
    """Two workers, two beats, the web processes: whoever comes."""

    def test_each_is_delivered_once_and_those_of_a_subject_in_order(self, delivered: list[Any]) -> None:
        expected = {f"booking {subject}": list(range(6)) for subject in range(10)}
        for number in range(6):
            for subject in expected:
                write([subject, number], subject=subject)

        def deliver_all() -> None:
            while Effect.objects.filter(status="WAITING").exists():
                deliver_effects()

        race(*[deliver_all] * 4)

        got: dict[str, list[int]] = {subject: [] for subject in expected}
        for subject, number in delivered:
            got[subject].append(number)
        assert got == expected

    def test_who_is_at_it_keeps_the_others_away(self, delivered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        assert self._two_deliverers(delivered, monkeypatch) == ["first", "second"]

    def test_without_the_lease_it_would_be_delivered_twice(
        self, delivered: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox, "LEASE_SECONDS", 0)
        assert self._two_deliverers(delivered, monkeypatch) == ["first", "second", "first"]

    def test_without_the_look_at_what_is_older_the_order_would_be_lost(
        self, delivered: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As if each effect were a subject of its own.
        Effect.objects.all().delete()
        monkeypatch.setattr(
            outbox, "write_effect", lambda **given: write_effect(**{**given, "subject": str(time.monotonic())})
        )
        assert self._two_deliverers(delivered, monkeypatch, writes=outbox.write_effect) == ["second", "first"]

    def _two_deliverers(
        self,
        delivered: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        writes: Callable[..., None] = write_effect,
    ) -> list[Any]:
        """Let somebody come by while somebody else delivers the first of two effects; return what was delivered."""
        there, go_on = threading.Event(), threading.Event()

        def slowly(*, what: Any, key: str) -> None:
            if what == "first" and not there.is_set():
                there.set()
                assert go_on.wait(DEADLINE)
            delivered.append(what)

        monkeypatch.setitem(outbox._registry, "tests.note", slowly)
        for what in ("first", "second"):
            with transaction.atomic():
                writes(subject="booking 1", name="tests.note", arguments={"what": what})
        with in_background() as start:
            slow = start(deliver_effects)
            assert there.wait(DEADLINE)
            deliver_effects()
            go_on.set()
            slow.result(DEADLINE)
        return delivered

    def test_who_was_too_slow_marks_nothing(self, delivered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """It is delivered again, since nobody can know; the mark is the second one's."""

        def overtaken(*, what: Any, key: str) -> None:
            delivered.append(key)
            if len(delivered) == 1:
                let_pass(outbox.LEASE_SECONDS)
                with in_background() as start:
                    assert start(deliver_effects).result(DEADLINE) == 1

        monkeypatch.setitem(outbox._registry, "tests.note", overtaken)
        effect = write("x")
        with capture_logs() as lines:
            assert deliver_effects() == 0
        assert delivered == [str(effect.key)] * 2
        assert "outbox.delivered_too_slowly" in {line["event"] for line in lines}
        effect.refresh_from_db()
        assert (effect.status, effect.attempts) == ("DELIVERED", 2)


# Delivers, and stands still in the middle of it.
KILLED = """
import sys, time
import django
from django.conf import settings
django.setup()
from django.db import connection
connection.close()
settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = sys.argv[1]
from bookings.services import reconcile
from bookings.ticker import LEFT_TO_WORKERS, OutboxTicker
from cinebook.core import outbox
def note(*, what, key):
    print(what, key, flush=True)
    time.sleep(600)
outbox._registry["tests.note"] = note
outbox.deliver_effects()
"""


def test_what_a_killed_process_was_at_is_delivered_again_under_the_same_key_and_in_order(
    delivered: list[Any],
) -> None:
    first = write("first")
    write("second")
    command = [sys.executable, "-c", KILLED, connection.settings_dict["NAME"]]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, env={**os.environ, "CINEBOOK_PROCESS": ""}
    )
    assert process.stdout
    said = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    process.stdout.close()

    assert said == ["first", str(first.key)]
    # Nobody knows that it is dead before its lease is over.
    assert deliver_effects() == 0
    let_pass(outbox.LEASE_SECONDS)
    assert deliver_effects() == 2
    assert delivered == ["first", "second"]


class TestNudge:
    """The broker is nothing that anybody waits for."""

    @pytest.fixture
    def nudger(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[outbox._Nudger]:
        fresh = outbox._Nudger()
        monkeypatch.setattr(outbox, "nudge", fresh.nudge)
        yield fresh
        # Its thread must not outlive the test's broker.
        monkeypatch.setattr(fresh, "_send", lambda: 3600)

    @pytest.fixture
    def broker(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        def use(url: str) -> None:
            celery = Celery("test", broker=url, set_as_current=False)
            options = django_settings.CELERY_BROKER_TRANSPORT_OPTIONS
            assert options["socket_timeout"] <= 5
            celery.conf.broker_transport_options = {**options, "socket_timeout": 0.2}
            monkeypatch.setattr(outbox, "current_app", celery)

        return use

    @pytest.fixture
    def hanging(self) -> Iterator[str]:
        """A server that takes every connection, and never answers."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"

    def test_a_worker_hears_of_it(self, redis: Redis, nudger: outbox._Nudger, broker: Callable[[str], None]) -> None:
        broker(own.CELERY_BROKER_URL)
        with Redis.from_url(own.BROKER_REDIS_URL) as queue:
            write("x")
            until(lambda: queue.llen("celery") == 1)
            assert outbox.NUDGE_TASK.encode() in queue.lindex("celery", 0)

    def test_not_before_the_commit(self, nudger: outbox._Nudger) -> None:
        with transaction.atomic():
            write_effect(subject="booking 1", name="tests.note", arguments={"what": "x"})
            assert not nudger._wanted.is_set()
            assert nudger._thread is None

    @pytest.mark.parametrize("trouble", ["refuses", "hangs"])
    def test_a_broker_that_is_away_costs_a_request_nothing(
        self,
        trouble: str,
        hanging: str,
        nudger: outbox._Nudger,
        broker: Callable[[str], None],
        delivered: list[Any],
    ) -> None:
        broker(hanging if trouble == "hangs" else "redis://127.0.0.1:1/0")
        before = threading.active_count()
        write("the first starts the thread")
        took = []
        for number in range(30):
            begun = time.monotonic()
            write(number)
            took.append(time.monotonic() - begun)
        assert sorted(took)[-2] < AT_ONCE, took
        assert threading.active_count() == before + 1
        # And what was written does not need it.
        assert deliver_effects() == 31

    @pytest.mark.parametrize("trouble", ["refuses", "hangs"])
    def test_it_is_told_and_left_alone_for_a_moment(
        self, trouble: str, hanging: str, broker: Callable[[str], None]
    ) -> None:
        broker(hanging if trouble == "hangs" else "redis://127.0.0.1:1/0")
        with capture_logs() as lines:
            assert outbox._Nudger()._send() == outbox.BROKER_PAUSE
        assert [line["event"] for line in lines] == ["outbox.nudge_lost"]

    def test_the_task_delivers_and_leaves_the_rest_to_another_one(
        self, delivered: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(2):
            write(number)
        nudges: list[None] = []
        monkeypatch.setattr(outbox, "nudge", lambda: nudges.append(None))
        monkeypatch.setattr(outbox, "ROUND_SECONDS", -1)
        outbox.deliver_effects_in_worker()
        assert (delivered, len(nudges)) == ([], 1)
        monkeypatch.setattr(outbox, "ROUND_SECONDS", 60)
        outbox.deliver_effects_in_worker()
        assert delivered == [0, 1]
