"""Expiry is an event like any other: a transaction with a version of its own, whoever comes to do it first."""

from __future__ import annotations

import functools
import uuid

import structlog
from django.db import connection

from seating.models import SeatChange
from seating.services.announcing import announce_freed, announce_seats
from seating.services.row_locks import lock_lapsed_holds, lock_seats
from seating.services.seat_changes import free
from seating.services.transactions import run_sale

log = structlog.get_logger(__name__)


def expire_holds(*, showtime_id: int) -> int:
    """End the holds of a showtime whose time is over, and make their seats available.

    A hold that somebody is busy with, or that is being paid, is left alone.

    Returns:
        How many seats became available.
    """
    seats = run_sale(functools.partial(_expire, showtime_id))
    if seats:
        log.info("hold.expired", showtime_id=showtime_id, seats=seats)
    return seats


def showtimes_with_lapsed_holds() -> list[int]:
    """Return the showtimes at which a hold has run out and waits to be ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT showtime_id FROM seating_hold
            WHERE ended_at IS NULL AND NOT paying AND expires_at <= clock_timestamp()
            """
        )
        return [row[0] for row in cursor.fetchall()]


def _expire(showtime_id: int) -> int:
    hold_ids = lock_lapsed_holds(showtime_id=showtime_id)
    if not hold_ids:
        return 0
    seats = lock_seats(showtime_id=showtime_id, hold_ids=hold_ids)
    freed = free(showtime_id=showtime_id, seats=seats, cause=SeatChange.EXPIRED)
    fences = freed.fences if freed else {}
    for hold_id, holder_id, overtaken in _end_empty_holds(hold_ids):
        announce_freed(
            showtime_id=showtime_id,
            holder_id=holder_id,
            hold_id=hold_id,
            fences={seat.code: fences[seat.code] for seat in seats if seat.hold_id == hold_id},
            remaining=None,
            expired=True,
            overtaken=overtaken,
        )
    if freed is None:
        return 0
    announce_seats(showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(freed.fences, "available"))
    return len(freed.fences)


def _end_empty_holds(hold_ids: list[uuid.UUID]) -> list[tuple[uuid.UUID, int, list[str]]]:
    """End those of the locked holds that have no seat any more.

    Returns:
        Each with its holder, and its seats that others took over.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_hold AS hold SET ended_at = clock_timestamp(), end_reason = 'expired'
            WHERE hold.id = ANY(%s)
              AND NOT EXISTS (SELECT FROM seat_holds WHERE hold_id = hold.id AND ended_at IS NULL)
            RETURNING hold.id, hold.holder_id, ARRAY(
                SELECT seat.code FROM seat_holds AS audit JOIN seating_seat AS seat ON seat.id = audit.seat_id
                WHERE audit.hold_id = hold.id AND audit.end_reason = 'overtaken' ORDER BY seat.position
            )
            """,
            [hold_ids],
        )
        return cursor.fetchall()
