"""Rivals in a race: threads with connections of their own, placed by barriers and by the row locks of PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cinebook.core.errors import Refusal
from seating.models import Showtime

Work = Callable[[], Any]
# Nothing here takes a tenth of it; without it a mistake would hang the whole run.
DEADLINE = 20


class _Kept:
    """Threads that wait for the next race, each with its open connection; there are none unless somebody keeps them."""

    threads: ThreadPoolExecutor | None = None


@contextmanager
def kept_threads() -> Iterator[None]:
    """Let rivals keep their threads and connections until the end: for many small races, one after the other."""
    most = 8
    _Kept.threads = ThreadPoolExecutor(most)
    try:
        yield
    finally:
        threads, _Kept.threads = _Kept.threads, None
        all_there = threading.Barrier(most)

        def close() -> None:
            # Nobody takes two.
            all_there.wait(DEADLINE)
            connections.close_all()

        for _ in range(most):
            threads.submit(close)
        threads.shutdown()


@contextmanager
def _threads(count: int | None = None) -> Iterator[ThreadPoolExecutor]:
    if _Kept.threads:
        yield _Kept.threads
        return
    with ThreadPoolExecutor(count) as threads:
        yield threads


def outcome_of(work: Work) -> Any:
    """Do it in this thread, with a connection of its own that is closed afterwards; a refusal is an outcome."""
    try:
        return work()
    except Refusal as refusal:
        return refusal
    finally:
        if not _Kept.threads:
            connections.close_all()


def race(*works: Work) -> list[Any]:
    """Do all of this at the same moment, each in a thread of its own; return the outcomes in the same order."""
    start = threading.Barrier(len(works))

    def run(work: Work) -> Any:
        connection.ensure_connection()
        start.wait(DEADLINE)
        return work()

    with _threads(len(works)) as threads:
        futures = [threads.submit(outcome_of, lambda work=work: run(work)) for work in works]
        return [future.result(DEADLINE) for future in futures]


@contextmanager
def in_background() -> Iterator[Callable[[Work], Future[Any]]]:
    """Yield what starts work in a thread of its own; its future has the outcome."""
    with _threads() as threads:
        yield lambda work: threads.submit(outcome_of, work)


@contextmanager
def rival_transaction() -> Iterator[BaseDatabaseWrapper]:
    """Yield a second connection with an open transaction; at the end it is rolled back, unless it was committed."""
    rival = connection.copy()
    rival.set_autocommit(False)
    try:
        yield rival
    finally:
        rival.close()


@contextmanager
def rows_locked(statement: str, parameters: Sequence[Any]) -> Iterator[BaseDatabaseWrapper]:
    """Let somebody else keep rows locked: those of a SELECT, without its last words."""
    with rival_transaction() as rival, rival.cursor() as cursor:
        cursor.execute(f"{statement} FOR NO KEY UPDATE", parameters)
        yield rival


def until(true: Callable[[], object], *, within: float = DEADLINE) -> None:
    """Return as soon as something is true; fail when it is not within so many seconds."""
    ends_at = time.monotonic() + within
    pause = 0.002
    while not true():
        assert time.monotonic() < ends_at, "it did not come true in time"
        threading.Event().wait(pause)
        # On a busy machine it takes its time, and more so if the asking never stops.
        pause = min(1.5 * pause, 0.03)


def waiters() -> int:
    """Return how many connections of the test's database wait for a lock."""
    with connection.cursor() as cursor:
        # Within a transaction the same would be seen for ever.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def wait_for_waiters(count: int) -> None:
    """Return when this many connections of the test's database wait for a lock."""
    until(lambda: waiters() >= count)


def in_line(showtime: Showtime, *works: Work, code: str = "A1") -> list[Any]:
    """Let all come to a seat, one after the other, while somebody has locked it; then let them go, in this order.

    All changes of this seat meet at its row; those of one purchase meet before, at its payment.

    Returns:
        Their outcomes.
    """
    return in_line_at("SELECT FROM seating_seat WHERE showtime_id = %s AND code = %s", [showtime.pk, code], *works)


def in_line_at(statement: str, parameters: Sequence[Any], *works: Work) -> list[Any]:
    """Let all come, one after the other, while somebody has locked these rows; then let them go, in this order.

    Who finds nothing to wait for there is done before the next one comes.

    Args:
        statement: a SELECT of the rows, without its last words.
        parameters: of the statement.
        works: what is done; at least the first of it waits for the rows.

    Returns:
        Their outcomes.
    """
    with in_background() as start:
        with rows_locked(statement, parameters):
            futures: list[Future[Any]] = []
            for work in works:
                futures.append(start(work))
                until(lambda: futures[-1].done() or waiters() >= sum(not future.done() for future in futures))
            if not waiters():
                raise RuntimeError("Nobody has waited for these rows: the rivals have not met.")
        return [future.result(DEADLINE) for future in futures]


def before_the_commit_of(first: Work, *others: Work) -> list[Any]:
    """Let the first do everything but commit what it writes first; then let the others come; then let it commit.

    Each of the others comes until it waits for a lock, or to its end if it need not wait.

    Returns:
        Their outcomes, that of the first one first.
    """
    there, go_on = threading.Event(), threading.Event()

    def hesitant() -> Any:
        connection.ensure_connection()
        commit = connection._commit

        def hesitate() -> None:
            if not there.is_set() and _has_written():
                there.set()
                assert go_on.wait(DEADLINE)
            commit()

        connection._commit = hesitate
        try:
            return first()
        finally:
            # The thread may have more to do.
            connection._commit = commit

    with in_background() as start:
        futures = [start(hesitant)]
        until(lambda: there.is_set() or futures[0].done())
        try:
            for work in others:
                futures.append(start(work))
                until(lambda: futures[-1].done() or waiters() >= sum(not future.done() for future in futures[1:]))
        finally:
            go_on.set()
        return [future.result(DEADLINE) for future in futures]


def _has_written() -> bool:
    """Return whether this transaction has changed or locked a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        return bool(cursor.fetchone()[0])
