"""What no correct transaction leaves behind: reservations and audit rows that no hold stands behind."""

from __future__ import annotations

import uuid

from django.db import connection


def holds_of_strays() -> dict[int, list[uuid.UUID]]:
    """Return the holds that left something stuck behind them, by showtime.

    Stuck is a seat that is still reserved by a hold that has ended, once its time is over; a seat that does not end, or
    is not paid, with its hold; and an open audit row of a seat that its hold does not have.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT showtime_id, array_agg(hold_id ORDER BY hold_id)
            FROM (
                SELECT hold.showtime_id, hold.id AS hold_id
                FROM seating_seat AS seat JOIN seating_hold AS hold ON hold.id = seat.hold_id
                WHERE seat.status = 'RESERVED' AND (
                    seat.paying <> hold.paying
                    OR hold.ended_at IS NULL AND seat.reserved_until <> hold.expires_at
                    OR hold.ended_at IS NOT NULL AND seat.reserved_until <= statement_timestamp()
                )
                UNION
                SELECT hold.showtime_id, hold.id
                FROM seat_holds AS audit
                JOIN seating_seat AS seat ON seat.id = audit.seat_id
                JOIN seating_hold AS hold ON hold.id = audit.hold_id
                WHERE audit.ended_at IS NULL
                  AND (seat.status <> 'RESERVED' OR seat.hold_id IS DISTINCT FROM audit.hold_id)
            ) AS stray
            GROUP BY showtime_id
            ORDER BY showtime_id
            """
        )
        return dict(cursor.fetchall())


def cancelled_showtimes_with_holds() -> list[int]:
    """Return the showtimes that were cancelled a minute ago or more, and at which something is still held."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT showtime.id
            FROM seating_hold AS hold JOIN seating_showtime AS showtime ON showtime.id = hold.showtime_id
            WHERE hold.ended_at IS NULL AND NOT hold.paying
              AND showtime.cancelled_at <= statement_timestamp() - interval '1 minute'
            ORDER BY showtime.id
            """
        )
        return [row[0] for row in cursor.fetchall()]
