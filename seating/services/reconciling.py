"""The periodic repair of what a crash, a flush or a mistake left behind. Nothing correct depends on it.

Each step works showtime by showtime, each in a short transaction of its own, so nobody waits long for it; a failure at
one showtime leaves the others alone. It is harmless when it runs twice, also at the same time: holds that somebody is
busy with are passed over (SKIP LOCKED), and so is a showtime that another reconciler is at.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from cinebook.core.errors import Refusal
from seating.locks import mending
from seating.models import SeatChange
from seating.selectors.comparison import RedisWentAway, redis_keys
from seating.selectors.holds import granted, unended_holds
from seating.selectors.strays import cancelled_showtimes_with_holds, holds_of_strays
from seating.services.announcing import announce_freed, announce_seats
from seating.services.expiry import expire_holds, showtimes_with_lapsed_holds
from seating.services.house import withdraw_holds
from seating.services.row_locks import LockedHold, LockedSeat, lock_holds, lock_seats, lock_unended_holds
from seating.services.seat_changes import free
from seating.services.transactions import run_sale

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclasses.dataclass(slots=True)
class SeatReconciliation:
    """What one run did.

    `expired_seats` were freed by the clock, `repaired_rows` were left behind by a mistake. `locks` is None when Redis
    was away. `failures` say at which showtimes a step failed, `done` tells line by line what was done.
    """

    expired_seats: int = 0
    repaired_rows: int = 0
    locks: mending.Mended | None = None
    failures: list[str] = dataclasses.field(default_factory=list)
    done: list[str] = dataclasses.field(default_factory=list)


def reconcile_seats(*, showtime_ids: Collection[int] | None = None) -> SeatReconciliation:
    """Free what has run out, put right what is stuck, and make Redis say what PostgreSQL says.

    Args:
        showtime_ids: of these showtimes; None for all.

    Returns:
        What was done.

    Raises:
        OperationalError: PostgreSQL is away. What was done by then is done.
    """
    report = SeatReconciliation()

    def chosen(ids: Iterable[int]) -> list[int]:
        return [showtime_id for showtime_id in ids if showtime_ids is None or showtime_id in showtime_ids]

    strays = holds_of_strays()
    for showtime_id in chosen(strays):
        done = _attempt(report, showtime_id, functools.partial(_repair, showtime_id, strays[showtime_id])) or []
        report.repaired_rows += len(done)
        report.done += [f"showtime {showtime_id}: {line}" for line in done]
    for showtime_id in chosen(cancelled_showtimes_with_holds()):
        withdrawn = _attempt(report, showtime_id, functools.partial(withdraw_holds, showtime_id=showtime_id))
        if withdrawn and withdrawn.holds:
            report.done.append(
                f"showtime {showtime_id}: {withdrawn.holds} holds taken back, for it is cancelled: "
                f"seats {' '.join(withdrawn.seats) or 'none'} are free"
            )
    for showtime_id in chosen(showtimes_with_lapsed_holds()):
        expired = _attempt(report, showtime_id, functools.partial(expire_holds, showtime_id=showtime_id))
        report.expired_seats += expired or 0
        if expired:
            report.done.append(f"showtime {showtime_id}: holds ended whose time was over; {expired} seats are free")
    report.locks = _mend_locks(report, showtime_ids)
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
    return failures_mended if _mend_locks(SeatReconciliation(), None) is None else standing.failures


def _attempt(report: SeatReconciliation, showtime_id: int, step: Callable[[], Result]) -> Result | None:
    """Do a step at one showtime; should it fail there, say so and go on with the next showtime."""
    try:
        return step()
    except Refusal:
        return None  # somebody has kept a row locked: the next run will find it
    except (OperationalError, InterfaceError, RedisWentAway):
        raise  # not this showtime's fault
    except Exception as error:
        log.exception("reconciler.step_failed", showtime_id=showtime_id)
        report.failures.append(f"showtime {showtime_id}: {type(error).__name__}: {error}")
        return None


# --- What is stuck in PostgreSQL --------------------------------------------------------------------------------------


def _repair(showtime_id: int, hold_ids: list[uuid.UUID]) -> list[str]:
    """Put right what holds left behind. It comes only of a mistake, so it is logged as one.

    Returns:
        What was put right, a line for each row.
    """
    repaired = run_sale(lambda: _repair_holds(showtime_id, lock_holds(hold_ids=hold_ids)))
    if repaired:
        log.error(
            "reconciler.strays_repaired",
            showtime_id=showtime_id,
            holds=[str(hold_id) for hold_id in hold_ids],
            rows=len(repaired),
        )
    return repaired


def _repair_holds(showtime_id: int, holds: dict[uuid.UUID, LockedHold]) -> list[str]:
    seats = lock_seats(showtime_id=showtime_id, hold_ids=holds)
    done = [f"seat {code} ends, and is paid, as hold {hold_id}" for code, hold_id in _end_with_their_holds(seats)]
    freed = _free_overdue(showtime_id, holds, [seat for seat in seats if seat.hold_id and holds[seat.hold_id].ended])
    done += [f"seat {code} is free: hold {hold_id} had ended" for code, hold_id in freed]
    closed = _close_audit_without_seat(holds)
    return done + [f"the audit of seat {code} in hold {hold_id} says {reason}" for code, hold_id, reason in closed]


def _end_with_their_holds(seats: Iterable[LockedSeat]) -> list[tuple[str, uuid.UUID]]:
    """Let seats end, and be paid, as their holds; both rows are locked.

    What its holder was told is the hold's end. A hold that has ended is not being paid: its seats run out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_seat AS seat
            SET paying = hold.paying, fence = fence + 1, updated_at = clock_timestamp(),
                reserved_until = CASE WHEN hold.ended_at IS NULL THEN hold.expires_at ELSE seat.reserved_until END
            FROM seating_hold AS hold
            WHERE seat.id = ANY(%s) AND seat.status = 'RESERVED' AND hold.id = seat.hold_id
              AND (seat.paying <> hold.paying OR hold.ended_at IS NULL AND seat.reserved_until <> hold.expires_at)
            RETURNING seat.code, hold.id
            """,
            [[seat.seat_id for seat in seats]],
        )
        return [(row[0], row[1]) for row in cursor.fetchall()]


def _free_overdue(
    showtime_id: int, holds: dict[uuid.UUID, LockedHold], seats: list[LockedSeat]
) -> list[tuple[str, uuid.UUID]]:
    freed = free(showtime_id=showtime_id, seats=seats, cause=SeatChange.EXPIRED)
    if freed is None:
        return []
    hold_of = {seat.code: seat.hold_id for seat in seats if seat.hold_id}
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
    return [(code, hold_of[code]) for code in freed.fences]


def _close_audit_without_seat(holds: Iterable[uuid.UUID]) -> list[tuple[str, uuid.UUID, str]]:
    """Close the audit of seats that the holds do not have: an open row would refuse every later hold of the seat.

    How the seat left its hold is what the ledger says of it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seat_holds AS audit
            SET ended_at = coalesce(stray.left_at, clock_timestamp()), end_reason = stray.reason
            FROM (
                SELECT audit.id, seat.code, line.happened_at AS left_at, CASE
                    WHEN line.cause IN ('released', 'expired', 'withdrawn', 'sold', 'overtaken') THEN line.cause
                    WHEN line.cause = 'held' THEN 'released'
                    WHEN seat.hold_id = audit.hold_id THEN 'sold'
                    ELSE 'expired'
                END AS reason
                FROM seat_holds AS audit
                JOIN seating_seat AS seat ON seat.id = audit.seat_id
                LEFT JOIN LATERAL (
                    -- The line that follows the last one by which this hold took the seat.
                    SELECT event.cause, event.happened_at
                    FROM seating_seatevent AS event
                    WHERE event.showtime_id = seat.showtime_id AND event.seat_id = seat.id AND event.seq > (
                        SELECT max(taken.seq) FROM seating_seatevent AS taken
                        WHERE taken.showtime_id = seat.showtime_id AND taken.seat_id = seat.id
                          AND taken.hold_id = audit.hold_id AND taken.to_status = 'RESERVED'
                    )
                    ORDER BY event.seq LIMIT 1
                ) AS line ON true
                WHERE audit.hold_id = ANY(%s) AND audit.ended_at IS NULL
                  AND (seat.status <> 'RESERVED' OR seat.hold_id IS DISTINCT FROM audit.hold_id)
            ) AS stray
            WHERE audit.id = stray.id AND audit.ended_at IS NULL
            RETURNING stray.code, audit.hold_id, audit.end_reason
            """,
            [list(holds)],
        )
        return [(row[0], row[1], row[2]) for row in cursor.fetchall()]


# --- Redis ------------------------------------------------------------------------------------------------------------


def _mend_locks(report: SeatReconciliation, showtime_ids: Collection[int] | None) -> mending.Mended | None:
    """Make Redis say what PostgreSQL says. It is done whole every time: that a Redis is another one does not show."""
    standing = mending.standing()
    total = _mend_showtimes(report, showtime_ids) if standing else None
    if standing is None or total is None:
        log.warning("reconciler.redis_away")
        return None
    if total != mending.Mended():
        log.warning("reconciler.locks_mended", **dataclasses.asdict(total))
    if showtime_ids is None:
        mending.mark_mended(standing.run_id)
    return total


def _mend_showtimes(report: SeatReconciliation, showtime_ids: Collection[int] | None) -> mending.Mended | None:
    """Return how much there was to mend; None if Redis has gone away."""
    total = mending.Mended()
    try:
        for showtime_id, found in redis_keys(showtime_ids).items():
            differences = _attempt(report, showtime_id, functools.partial(_mend_showtime, showtime_id, found)) or []
            total += mending.Mended.counted(differences)
            report.done += [f"showtime {showtime_id}: in Redis {difference.mended}" for difference in differences]
    except RedisWentAway:
        return None
    return total


def _mend_showtime(showtime_id: int, found: mending.Found) -> list[mending.Difference] | None:
    # What is in Redis is read before PostgreSQL is asked: `mend` says why.
    seen = mending.look(showtime_id=showtime_id, found=found)
    if seen is None:
        raise RedisWentAway
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
        raise RedisWentAway
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
