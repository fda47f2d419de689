"""Holds for tests: taken through the services, then made older than they are."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

from django.db import connection

from seating.models import Holder, Showtime
from seating.selectors.holds import HeldSeats
from seating.services import hold_seats
from tests.factories import HolderFactory


def hold(showtime: Showtime, *codes: str, holder: Holder | None = None) -> HeldSeats:
    """Return a new hold of these seats."""
    holder = holder or HolderFactory()
    return hold_seats(holder_id=holder.pk, user_id=holder.user_id, showtime_id=showtime.pk, codes=codes).hold


def let_pass(seconds: float, *hold_ids: uuid.UUID) -> None:
    """Let the holds be as if they had been taken and renewed so much earlier."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_hold SET locked_at = locked_at - make_interval(secs => %(by)s),
                expires_at = expires_at - make_interval(secs => %(by)s),
                max_expires_at = max_expires_at - make_interval(secs => %(by)s)
            WHERE id = ANY(%(holds)s)
            """,
            {"by": seconds, "holds": list(hold_ids)},
        )
        cursor.execute(
            """
            UPDATE seating_seat SET reserved_at = reserved_at - make_interval(secs => %(by)s),
                reserved_until = reserved_until - make_interval(secs => %(by)s)
            WHERE hold_id = ANY(%(holds)s)
            """,
            {"by": seconds, "holds": list(hold_ids)},
        )


def until(true: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def somebody_waits_for_a_lock() -> bool:
    """Return whether another connection of this database waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction the same would be seen for ever
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


class Aside(threading.Thread):
    """Runs something in a thread with connections of its own; `result` waits for what it returned or raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._returned: object = None
        self._raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._returned = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            self._raised = error
        finally:
            connection.close()

    def result(self, within: float = 10.0) -> object:
        """Return what the work returned, or raise what it raised."""
        self.join(within)
        assert not self.is_alive(), "it is not done in time"
        if self._raised:
            raise self._raised
        return self._returned
