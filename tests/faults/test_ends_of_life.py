"""Processes end while they have work in hand: nobody is left without an answer, and no hold is left half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.faults.people import assert_sold_once, guest, locks
from tests.support.cinema import Cinema, wait_until

CALM = {0, -signal.SIGTERM, 128 + signal.SIGTERM}
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def locked_table(cinema: Cinema, name: str) -> Iterator[psycopg.Connection]:
    """Let nobody at a table, for at most as long as others wait for a lock: 2 s."""
    with psycopg.connect(cinema.postgres.url) as somebody:
        somebody.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        yield somebody
        somebody.rollback()


def test_a_web_process_that_stops_answers_what_it_was_asked(cinema: Cinema, showtime: int) -> None:
    one, two = cinema.web
    ada = guest(one)
    with (
        psycopg.connect(cinema.postgres.url) as somebody,
        ThreadPoolExecutor(2) as threads,
        connect(f"ws://127.0.0.1:{one.port}/ws/seats/", proxy=None) as socket,
    ):
        somebody.execute(
            "SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1' FOR NO KEY UPDATE", [showtime]
        )
        asked = threads.submit(ada.lock, one, showtime, "A1")
        wait_until(lambda: cinema.sql(WAITING)[0][0], "the request to wait for the row", 10)
        stopped = threads.submit(one.stop)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
        # Whoever comes now goes to the other one.
        wait_until(lambda: not one.is_up(), "nobody to be let in", 5)
        assert two.is_up()
        somebody.rollback()
        answer = asked.result()
        assert (answer.status, answer.body["seats"]) == (201, ["A1"])
        assert stopped.result() in CALM
    # The hold is whole, and the other process has it.
    assert ada.extend(two, showtime).body["seats"] == ["A1"]
    one.start()
    assert ada.unlock(one, showtime).body["released"] == ["A1"]


def test_a_web_process_that_is_killed_leaves_the_others_to_serve(cinema: Cinema, showtime: int) -> None:
    one, two = cinema.web
    ada, ben = guest(one), guest(two)
    ada.lock(one, showtime, "A1")
    with psycopg.connect(cinema.postgres.url) as somebody, ThreadPoolExecutor(1) as threads:
        somebody.execute(
            "SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A2' FOR NO KEY UPDATE", [showtime]
        )
        asked = threads.submit(ada.lock, one, showtime, "A2")
        wait_until(lambda: cinema.sql(WAITING)[0][0], "the request to wait for the row", 10)
        one.kill()
        assert asked.exception()
        somebody.rollback()
    # PostgreSQL notices the end of a client when it has to tell it something.
    wait_until(lambda: not cinema.sql(WAITING)[0][0], "the killed request's transaction to end", 5)
    assert ada.extend(two, showtime).body["seats"] == ["A1"]
    # PostgreSQL knows nothing of the seat, and its lock in Redis is a provisional one, that soon ends.
    assert ben.ask(two, "GET", f"showtimes/{showtime}/seats/status").body["seats"]["A2"] == "available"
    with locks(cinema) as redis:
        assert redis.pttl(f"seat_lock:{{{showtime}}}:A2") <= 10_000
    one.start()


def runs(cinema: Cinema) -> list[tuple[bool, str]]:
    """Return whether each run of the reconciler has finished, and its error; the newest first."""
    return [
        (finished, error)
        for finished, error in cinema.sql(
            "SELECT finished_at IS NOT NULL, error FROM bookings_reconcilerrun ORDER BY started_at DESC, id DESC"
        )
    ]


def test_a_worker_ends_calmly_with_its_task_and_what_was_killed_is_done_by_the_next(cinema: Cinema) -> None:
    """A worker begins with a run of the reconciler, which waits for the table for up to 2 s."""

    def in_the_middle() -> bool:
        return bool(runs(cinema)) and not runs(cinema)[0][0]

    with locked_table(cinema, "seating_hold"), ThreadPoolExecutor(1) as threads:
        cinema.worker.start()
        wait_until(in_the_middle, "a run to be in the middle")
        stopped = threads.submit(cinema.worker.stop)
        assert stopped.result() in CALM
    assert [finished for finished, _ in runs(cinema)] == [True]

    with locked_table(cinema, "seating_hold"):
        cinema.worker.start()
        wait_until(in_the_middle, "a run to be in the middle")
        cinema.worker.pause()
        cinema.worker.kill()
    assert [finished for finished, _ in runs(cinema)] == [False, True]

    cinema.worker.start()
    wait_until(lambda: len(runs(cinema)) == 3 and runs(cinema)[0] == (True, ""), "the run of the worker that follows")


def test_two_beats_and_two_reconcilers_at_once_are_harmless(cinema: Cinema, showtime: int) -> None:
    web = cinema.web[0]
    ada = guest(web)
    ada.lock(web, showtime, "A1", "A2")
    for beat in cinema.beats:
        beat.start()
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(cinema.manage, "reconcile") for _ in range(2)]
        assert all(run.result() for run in both)
    assert ada.extend(web, showtime).body["seats"] == ["A1", "A2"]
    wait_until(lambda: all(beat.pid for beat in cinema.beats), "both beats")
    assert {beat.stop() for beat in cinema.beats} <= CALM
    assert_sold_once(cinema)
