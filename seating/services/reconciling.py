"""The periodic repair of what a crash, a flush or a mistake left behind. Nothing correct depends on it.

Each step works showtime by showtime, each in a short transaction of its own, so nobody waits long for it; a failure at
one showtime leaves the others alone. It is harmless when it runs twice, also at the same time: holds that somebody is
busy with are passed over (SKIP LOCKED), and so is a showtime that another reconciler is at.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from cinebook.core.errors import Refusal
from seating.locks import mending
from seating.models import SeatChange
from seating.selectors.holds import showtimes_with_unended_holds, unended_holds
from seating.selectors.strays import holds_of_strays
from seating.services.announcing import announce_freed, announce_seats, granted
from seating.services.expiry import expire_holds, showtimes_with_lapsed_holds
from seating.services.row_locks import LockedHold, LockedSeat, lock_holds, lock_seats, lock_unended_holds
from seating.services.seat_changes import free
from seating.services.transactions import run_sale

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class _RedisWentAway(Exception):  # noqa: N818 - a turn of events
    """Redis was there at the beginning."""


@dataclasses.dataclass(slots=True)
class SeatReconciliation:
    """What one run did.

    `expired_seats` were freed by the clock, `repaired_rows` were left behind by a mistake. `locks` is None when Redis
    was away. `failures` say at which showtimes a step failed.
    """

    expired_seats: int = 0
    repaired_rows: int = 0
    locks: mending.Mended | None = None
    failures: list[str] = dataclasses.field(default_factory=list)


def reconcile_seats() -> SeatReconciliation:
    """Free what has run out, put right what is stuck, and make Redis say what PostgreSQL says.

    Returns:
        What was done.

    Raises:
        OperationalError: PostgreSQL is away. What was done by then is done.
    """
    report = SeatReconciliation()
    for showtime_id, hold_ids in holds_of_strays().items():
        report.repaired_rows += _attempt(report, showtime_id, functools.partial(_repair, showtime_id, hold_ids)) or 0
    for showtime_id in showtimes_with_lapsed_holds():
        report.expired_seats += (
            _attempt(report, showtime_id, functools.partial(expire_holds, showtime_id=showtime_id)) or 0
        )
    report.locks = _mend_locks(report)
    return report


def mend_lost_locks(*, failures_mended: int) -> int:
    """Make Redis say what PostgreSQL says if it may not: it was away, was emptied, or is another server than before.

    Args:
        failures_mended: what the last call returned; 0 for the first.

    Returns:
        How many failed commands of this process have been made good.

    Raises:
        OperationalError: PostgreSQL is away.
    """
    standing = mending.standing()
    if standing is None or (standing.mended and standing.failures == failures_mended):
        return failures_mended
    return failures_mended if _mend_locks(SeatReconciliation()) is None else standing.failures


def _attempt(report: SeatReconciliation, showtime_id: int, step: Callable[[], Result]) -> Result | None:
    """Do a step at one showtime; should it fail there, say so and go on with the next showtime."""
    try:
        return step()
    except Refusal:
        return None  # somebody has kept a row locked: the next run will find it
    except (OperationalError, InterfaceError, _RedisWentAway):
        raise  # not this showtime's fault
    except Exception as error:
        log.exception("reconciler.step_failed", showtime_id=showtime_id)
        report.failures.append(f"showtime {showtime_id}: {type(error).__name__}: {error}")
        return None


# --- What is stuck in PostgreSQL --------------------------------------------------------------------------------------


def _repair(showtime_id: int, hold_ids: list[uuid.UUID]) -> int:
    """Put right what holds left behind. It comes only of a mistake, so it is logged as one."""
    repaired = run_sale(lambda: _repair_holds(showtime_id, lock_holds(hold_ids=hold_ids)))
    if repaired:
        log.error(
            "reconciler.strays_repaired",
            showtime_id=showtime_id,
            holds=[str(hold_id) for hold_id in hold_ids],
            rows=repaired,
        )
    return repaired


def _repair_holds(showtime_id: int, holds: dict[uuid.UUID, LockedHold]) -> int:
    seats = lock_seats(showtime_id=showtime_id, hold_ids=holds)
    repaired = _take_off_paying_marks(seats)
    repaired += _free_overdue(
        showtime_id, holds, [seat for seat in seats if seat.hold_id and holds[seat.hold_id].ended]
    )
    return repaired + _close_audit_without_seat(holds)


def _take_off_paying_marks(seats: Iterable[LockedSeat]) -> int:
    """Let seats run out that wait for the payment of a hold that is not being paid; its row is locked."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_seat AS seat SET paying = false, fence = fence + 1, updated_at = clock_timestamp()
            FROM seating_hold AS hold
            WHERE seat.id = ANY(%s) AND seat.status = 'RESERVED' AND seat.paying
              AND hold.id = seat.hold_id AND NOT hold.paying
            """,
            [[seat.seat_id for seat in seats]],
        )
        return int(cursor.rowcount)


def _free_overdue(showtime_id: int, holds: dict[uuid.UUID, LockedHold], seats: list[LockedSeat]) -> int:
    freed = free(showtime_id=showtime_id, seats=seats, cause=SeatChange.EXPIRED)
    if freed is None:
        return 0
    hold_of = {seat.code: seat.hold_id for seat in seats}
    for hold_id, hold in holds.items():
        fences = {code: fence for code, fence in freed.fences.items() if hold_of[code] == hold_id}
        if not fences:
            continue
        announce_freed(
            showtime_id=showtime_id,
            holder_id=hold.holder_id,
            hold_id=hold_id,
            fences=fences,
            remaining=None,
            expired=False,
        )
    announce_seats(showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(freed.fences, "available"))
    return len(freed.fences)


def _close_audit_without_seat(holds: Iterable[uuid.UUID]) -> int:
    """Close the audit of seats that the holds do not have: an open row would refuse every later hold of the seat."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seat_holds AS audit
            SET ended_at = clock_timestamp(),
                end_reason = CASE WHEN seat.hold_id = audit.hold_id THEN 'sold' ELSE 'expired' END
            FROM seating_seat AS seat
            WHERE audit.hold_id = ANY(%s) AND audit.ended_at IS NULL AND seat.id = audit.seat_id
              AND (seat.status <> 'RESERVED' OR seat.hold_id IS DISTINCT FROM audit.hold_id)
            """,
            [list(holds)],
        )
        return int(cursor.rowcount)


# --- Redis ------------------------------------------------------------------------------------------------------------


def _mend_locks(report: SeatReconciliation) -> mending.Mended | None:
    """Make Redis say what PostgreSQL says. It is done whole every time: that a Redis is another one does not show."""
    standing = mending.standing()
    found = mending.everything() if standing else None
    if standing is None or found is None:
        log.warning("reconciler.redis_away")
        return None
    total = mending.Mended()
    for showtime_id in sorted(found.keys() | showtimes_with_unended_holds()):
        at_showtime = found.get(showtime_id, mending.Found())
        try:
            mended = _attempt(report, showtime_id, functools.partial(_mend_showtime, showtime_id, at_showtime))
        except _RedisWentAway:
            log.warning("reconciler.redis_away", showtime_id=showtime_id)
            return None
        if mended:
            total += mended
    if total != mending.Mended():
        log.warning("reconciler.locks_mended", **dataclasses.asdict(total))
    mending.mark_mended(standing.run_id)
    return total


def _mend_showtime(showtime_id: int, found: mending.Found) -> mending.Mended | None:
    # What is in Redis is read before PostgreSQL is asked: `mend` says why.
    seen = mending.look(showtime_id=showtime_id, found=found)
    if seen is None:
        raise _RedisWentAway
    with transaction.atomic(durable=True):
        if not _alone_at(showtime_id):
            return None
        # While their rows are locked nobody extends, releases or sells these holds, so what is written to Redis
        # meanwhile is true. That costs whoever wants to a few milliseconds.
        locked = lock_unended_holds(showtime_id=showtime_id)
        holds = unended_holds(showtime_id=showtime_id)
        # A hold that is still being paid after its time has no end that could be told.
        busy = [granted(hold) for hold in holds if hold.hold_id not in locked or (hold.paying and not hold.lives_for)]
        mine = [granted(hold) for hold in holds if hold.hold_id in locked and hold.lives_for]
        mended = mending.mend(showtime_id=showtime_id, seen=seen, holds=mine, busy=busy)
    if mended is None:
        raise _RedisWentAway
    return mended


def _alone_at(showtime_id: int) -> bool:
    """Claim a showtime for this reconciler until the transaction ends; return False if another one is there.

    The claim stands in PostgreSQL and not in Redis, which is what may be broken, and belongs to the transaction: one of
    the session would stay behind on a pooled connection.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('reconcile showtime', %s))", [showtime_id])
        row = cursor.fetchone()
    return bool(row and row[0])
