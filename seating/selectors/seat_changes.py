"""What the ledger and the counters say to whoever has missed something."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.db import connection

from seating.events import SeatsChanged
from seating.models import SeatStatus
from seating.selectors.seat_map import SALE_STATE, SEEN_BY_OTHERS, SaleState


def changes_since(*, showtime_id: int, version: int, at_most: int = 500) -> list[SeatsChanged]:
    """Return the changes of a showtime's seats after a version, in order and without a gap.

    Args:
        showtime_id: whose seats.
        version: the last one that is known already.
        at_most: how many versions; if as many are returned, there may be more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT event.seq, array_agg(seat.code ORDER BY seat.position),
                   array_agg(event.to_status ORDER BY seat.position)
            FROM seating_seatevent AS event
            JOIN seating_seat AS seat ON seat.id = event.seat_id
            WHERE event.showtime_id = %(showtime)s AND event.seq > %(known)s AND event.seq <= %(known)s + %(at_most)s
            GROUP BY event.seq
            ORDER BY event.seq
            """,
            {"showtime": showtime_id, "known": version, "at_most": at_most},
        )
        return [
            SeatsChanged(
                showtime_id,
                seq,
                {code: SEEN_BY_OTHERS[SeatStatus(status)].value for code, status in zip(codes, statuses, strict=True)},
            )
            for seq, codes, statuses in cursor.fetchall()
        ]


def current_versions(*, showtime_ids: Sequence[int]) -> tuple[dt.datetime | None, dict[int, tuple[int, SaleState]]]:
    """Return PostgreSQL's time, and the version and the sale of some showtimes; those never used are left out.

    The time is None if none was ever used.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT clock_timestamp(), sales.showtime_id, sales.seq, {SALE_STATE}
            FROM seating_showtimesales AS sales JOIN seating_showtime AS showtime ON showtime.id = sales.showtime_id
            WHERE sales.showtime_id = ANY(%s)
            """,  # noqa: S608 - our own words
            [list(showtime_ids)],
        )
        rows = cursor.fetchall()
    return (rows[0][0] if rows else None), {row[1]: (row[2], SaleState(row[3])) for row in rows}


def holders_at(*, showtime_id: int) -> set[int]:
    """Return who holds seats of a showtime."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT holder_id FROM seating_hold WHERE showtime_id = %s AND ended_at IS NULL", [showtime_id])
        return {row[0] for row in cursor.fetchall()}
