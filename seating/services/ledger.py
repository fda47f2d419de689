"""The counter and the ledger: every change of seats at a showtime gets the next version, in the same transaction."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Sequence

from django.db import connection

from seating.models import SeatChange, SeatStatus


@dataclasses.dataclass(frozen=True, slots=True)
class ChangedSeat:
    """A seat that a transaction has changed."""

    seat_id: int
    from_status: SeatStatus
    to_status: SeatStatus
    cause: SeatChange
    hold_id: uuid.UUID | None


def record_changes(
    *, showtime_id: int, changed: Sequence[ChangedSeat], happened_at: dt.datetime, only_while_on_sale: bool = False
) -> int | None:
    """Give the changes of this transaction the showtime's next version, and write them into the ledger.

    The counter's row is the last lock that a transaction takes: whoever changes seats of the same showtime now waits
    for this one to end, so versions are gapless and in the order of the commits.

    Args:
        changed: at least one seat; the seats' rows are locked.
        happened_at: by PostgreSQL's clock.
        only_while_on_sale: write nothing if the showtime's sales are closed.

    Returns:
        The new version, or None if sales are closed.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH counter AS (
                UPDATE seating_showtimesales SET seq = seq + 1
                WHERE showtime_id = %(showtime)s AND (sales_open OR NOT %(only_while_on_sale)s)
                RETURNING seq
            ), ledger AS (
                INSERT INTO seating_seatevent
                    (showtime_id, seq, seat_id, from_status, to_status, cause, hold_id, happened_at)
                SELECT %(showtime)s, counter.seq, line.seat_id, line.from_status, line.to_status, line.cause,
                       line.hold_id, %(happened_at)s
                FROM counter, unnest(
                    %(seats)s::bigint[], %(from)s::text[], %(to)s::text[], %(causes)s::text[], %(holds)s::uuid[]
                ) AS line (seat_id, from_status, to_status, cause, hold_id)
            )
            SELECT seq FROM counter
            """,
            {
                "showtime": showtime_id,
                "only_while_on_sale": only_while_on_sale,
                "happened_at": happened_at,
                "seats": [seat.seat_id for seat in changed],
                "from": [seat.from_status.value for seat in changed],
                "to": [seat.to_status.value for seat in changed],
                "causes": [seat.cause.value for seat in changed],
                "holds": [seat.hold_id for seat in changed],
            },
        )
        row = cursor.fetchone()
    return row[0] if row else None
