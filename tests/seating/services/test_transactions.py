"""How a sale runs: rows locked in one order, nobody waits for ever, a deadlock is tried once more."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from redis import Redis

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder, Showtime, ShowtimeSales
from seating.services import expire_holds
from seating.services.transactions import run_sale
from tests.support.asking import extend, hold, refused, release, seat
from tests.support.ledger import assert_sound
from tests.support.passing_time import run_out
from tests.support.rivals import DEADLINE, in_background, rival_transaction, rows_locked, wait_for_waiters

pytestmark = pytest.mark.django_db(transaction=True)

# What each statement locks, in the order in which everybody must lock it.
LOCKS = (
    ("holder", re.compile(r"FROM seating_holder AS holder.*FOR NO KEY UPDATE OF holder", re.DOTALL)),
    ("hold", re.compile(r"FROM seating_hold\s+WHERE.*FOR NO KEY UPDATE( SKIP LOCKED)?\s*$", re.DOTALL)),
    ("seats", re.compile(r"FROM seating_seat\s+WHERE.*ORDER BY id\s+FOR NO KEY UPDATE\s*$", re.DOTALL)),
    ("counter", re.compile(r"UPDATE seating_showtimesales")),
)
WRITES = re.compile(r"^\s*(WITH.*)?(INSERT INTO|UPDATE|DELETE FROM) (seating_seat\b|seating_hold\b|seat_holds)", re.DOTALL)


def locked(work: Callable[[], Any]) -> list[str]:
    """Return what the statements of one transaction lock, in order; no row of a sale is written before it is locked."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        work()
    for query in queries:
        sql = query["sql"]
        names = [name for name, pattern in LOCKS if pattern.search(sql)]
        if "FOR NO KEY UPDATE" in sql:
            assert len(names) == 1, f"a lock outside the order: {sql}"
        if WRITES.search(sql) and "UPDATE seating_seat" in sql:
            assert found[-1] == "seats", f"seats are changed that were not locked: {sql}"
        found += names
    return found


class TestOrder:
    """Holder, hold, seats by id, counter."""

    def test_every_way_to_change_seats_keeps_to_it(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        assert locked(lambda: hold(showtime, ada, "A2", "A1")) == ["holder", "hold", "seats", "counter"]
        assert locked(lambda: hold(showtime, ada, "A3", "A1")) == ["holder", "hold", "seats", "counter"]
        assert locked(lambda: extend(showtime, ada)) == ["holder", "hold", "seats"]
        assert locked(lambda: release(showtime, ada, "A1")) == ["holder", "hold", "seats", "counter"]
        held = hold(showtime, ada, "C1").hold
        run_out(held.hold_id)
        assert locked(lambda: hold(showtime, ben, "C1")) == ["holder", "hold", "seats", "counter"]
        assert locked(lambda: expire_holds(showtime_id=showtime.pk)) == ["hold", "seats", "counter"]

    def test_the_test_can_fail(self, showtime: Showtime) -> None:
        def change_without_a_lock() -> None:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE seating_seat SET fence = fence + 1 WHERE showtime_id = %s", [showtime.pk])

        with pytest.raises((AssertionError, IndexError)):
            locked(change_without_a_lock)


class TestWaiting:
    @pytest.fixture(autouse=True)
    def short_patience(self, showtime: Showtime) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        yield
        connection.close()

    @pytest.mark.parametrize(
        ("table", "key"), [("seating_seat", "showtime_id"), ("seating_showtimesales", "showtime_id")]
    )
    def test_who_waits_too_long_is_told_to_try_again(
        self, showtime: Showtime, ada: Holder, redis: Redis, table: str, key: str
    ) -> None:
        with (
            rows_locked(f"SELECT FROM {table} WHERE {key} = %s", [showtime.pk]),  # noqa: S608
            refused(ErrorCode.SEAT_LOCKED) as data,
        ):
            hold(showtime, ada, "A1")

        assert data == {"retry_after": 1}
        assert redis.keys("seat_lock:*") == []
        assert hold(showtime, ada, "A1").taken == ("A1",)
        assert_sound(showtime.pk)

    def test_another_seat_is_not_waited_for(self, showtime: Showtime, ada: Holder) -> None:
        with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A2'", [showtime.pk]):
            assert hold(showtime, ada, "A1").taken == ("A1",)

    def test_what_one_person_does_happens_in_turn(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        with rows_locked("SELECT FROM seating_holder WHERE id = %s", [ada.pk]):
            for work in (lambda: hold(showtime, ada, "A2"), lambda: extend(showtime, ada)):
                with refused(ErrorCode.SEAT_LOCKED):
                    work()
            with refused(ErrorCode.SEAT_LOCKED):
                release(showtime, ada)
        assert extend(showtime, ada).hold_id == held.hold_id


class TestDeadlock:
    LOCK = "SELECT FROM seating_seat WHERE showtime_id = %s AND code = %s FOR UPDATE"

    def deadlock(self, showtime: Showtime, times: int) -> tuple[Any, int]:
        """Let a sale meet somebody who locks its seats the other way round; return its outcome, and how often it ran.

        PostgreSQL ends whoever looks for a deadlock first: the sale, because the rival is in no hurry.
        """
        runs = []

        def sale() -> str:
            runs.append(1)
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '20ms'")
                cursor.execute(self.LOCK, [showtime.pk, "A1"])
                if len(runs) <= times:
                    self.cross(showtime, cursor)
            return "done"

        try:
            return run_sale(sale), len(runs)
        except Refusal as refusal:
            return refusal.code, len(runs)

    def cross(self, showtime: Showtime, cursor: Any) -> None:
        has_the_other = threading.Event()

        def rival() -> None:
            with transaction.atomic(), connection.cursor() as own:
                own.execute("SET LOCAL deadlock_timeout = '1h'")
                own.execute(self.LOCK, [showtime.pk, "A2"])
                has_the_other.set()
                own.execute(self.LOCK, [showtime.pk, "A1"])

        with in_background() as start:
            crossing = start(rival)
            assert has_the_other.wait(DEADLINE)
            start(lambda: wait_for_waiters(1)).result(DEADLINE)
            with pytest.raises(OperationalError, match="deadlock") as deadlock:
                cursor.execute(self.LOCK, [showtime.pk, "A2"])
            # Our transaction has failed, and so has given its rows back.
            crossing.result(DEADLINE)
        raise deadlock.value

    def test_is_tried_once_more(self, showtime: Showtime) -> None:
        assert self.deadlock(showtime, 1) == ("done", 2)

    def test_and_after_the_second_the_person_is_asked(self, showtime: Showtime) -> None:
        assert self.deadlock(showtime, 2) == (ErrorCode.SEAT_LOCKED, 2)


class TestWhatGoesWrong:
    def test_another_failure_of_the_database_is_not_called_a_locked_seat(self) -> None:
        def end_our_own_connection() -> None:
            with rival_transaction() as rival, rival.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        with pytest.raises(OperationalError):
            run_sale(end_our_own_connection)
        connection.close()

    def test_a_sale_is_never_part_of_another_transaction(self, showtime: Showtime, ada: Holder) -> None:
        with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
            hold(showtime, ada, "A1")

    def test_a_failure_in_the_middle_leaves_nothing(
        self, showtime: Showtime, ada: Holder, redis: Redis, events: list[Any]
    ) -> None:
        # The price that this seat has is not one that the audit takes.
        ShowtimeSales.objects.filter(showtime=showtime).delete()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE seat_holds ADD CONSTRAINT planted CHECK (price_amount < 1000) NOT VALID")
        try:
            with pytest.raises(DatabaseError, match="planted"):
                hold(showtime, ada, "A1")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE seat_holds DROP CONSTRAINT planted")
        assert seat(showtime, "A1").status == "AVAILABLE"
        assert (redis.keys("seat_*"), events) == ([], [])
