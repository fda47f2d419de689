"""What must always be true of seats, as questions to PostgreSQL that must find nothing (docs/architecture.md).

Each is one statement, so it sees one moment and cannot be misled by a sale that is under way. Those about bookings
stand in `bookings`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from django.db import connection, transaction

# So many examples are enough to begin looking.
EXAMPLES = 5
# A question that takes longer is given up: the sales go first.
LONGEST_MS = 30_000


@dataclasses.dataclass(frozen=True, slots=True)
class Invariant:
    """One of the numbered invariants, or a part of it. `sql` returns one text per violation."""

    number: str
    violation: str
    sql: str


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold: what is wrong, how often, and some examples."""

    number: str
    violation: str
    count: int
    examples: list[str]


# Whatever runs out is ended within seconds, by several processes: after a minute it is stuck. A hold that is being paid
# ends with the window of its payment, or the grace after it: an hour is too long. And the ledger is read for showtimes
# that may still change: of all that ever were it would be read for ever longer.
SEAT_INVARIANTS = (
    Invariant(
        "I2",
        "a seat is in two live holds",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM seat_holds AS audit JOIN seating_seat AS seat ON seat.id = audit.seat_id
        WHERE audit.ended_at IS NULL
        GROUP BY seat.id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I2",
        "a reserved seat and the audit of its hold do not agree",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM (SELECT id, showtime_id, code, hold_id FROM seating_seat WHERE status = 'RESERVED') AS reserved
        FULL JOIN (SELECT seat_id, hold_id FROM seat_holds WHERE ended_at IS NULL) AS audit
            ON audit.seat_id = reserved.id AND audit.hold_id = reserved.hold_id
        JOIN seating_seat AS seat ON seat.id = coalesce(reserved.id, audit.seat_id)
        WHERE reserved.id IS NULL OR audit.seat_id IS NULL
        """,
    ),
    Invariant(
        "I2",
        "a seat is reserved by a hold that has ended",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM seating_seat AS seat JOIN seating_hold AS hold ON hold.id = seat.hold_id
        WHERE seat.status = 'RESERVED' AND hold.ended_at IS NOT NULL
        """,
    ),
    Invariant(
        "I4",
        "a seat does not end, or is not paid, with its live hold",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM seating_seat AS seat JOIN seating_hold AS hold ON hold.id = seat.hold_id
        WHERE seat.status = 'RESERVED' AND hold.ended_at IS NULL
          AND (seat.paying <> hold.paying OR seat.reserved_until <> hold.expires_at)
        """,
    ),
    Invariant(
        "I7",
        "a showtime's versions have a gap, or its counter is another",
        """
        SELECT 'showtime ' || showtime.id
        FROM seating_showtime AS showtime
        LEFT JOIN seating_showtimesales AS sales ON sales.showtime_id = showtime.id
        LEFT JOIN LATERAL (
            SELECT count(DISTINCT event.seq) AS versions, max(event.seq) AS newest
            FROM seating_seatevent AS event WHERE event.showtime_id = showtime.id
        ) AS ledger ON true
        WHERE showtime.ends_at > statement_timestamp() - interval '1 day'
          AND (ledger.versions <> coalesce(sales.seq, 0) OR coalesce(ledger.newest, 0) <> coalesce(sales.seq, 0))
        """,
    ),
    Invariant(
        "I7",
        "replaying the ledger does not give the seat",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM seating_showtime AS showtime
        JOIN seating_seat AS seat ON seat.showtime_id = showtime.id
        LEFT JOIN (
            SELECT DISTINCT ON (event.showtime_id, event.seat_id) event.seat_id, event.to_status, event.hold_id
            FROM seating_seatevent AS event JOIN seating_showtime AS showtime ON showtime.id = event.showtime_id
            WHERE showtime.ends_at > statement_timestamp() - interval '1 day'
            ORDER BY event.showtime_id, event.seat_id, event.seq DESC
        ) AS last ON last.seat_id = seat.id
        WHERE showtime.ends_at > statement_timestamp() - interval '1 day'
          AND (seat.status <> coalesce(last.to_status, 'AVAILABLE') OR seat.hold_id IS DISTINCT FROM last.hold_id)
        """,
    ),
    Invariant(
        "I7",
        "a line of the ledger does not follow from the one before",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code || ', version ' || line.seq
        FROM (
            SELECT event.seat_id, event.seq, event.from_status,
                   lag(event.to_status, 1, 'AVAILABLE')
                       OVER (PARTITION BY event.showtime_id, event.seat_id ORDER BY event.seq) AS status_before
            FROM seating_seatevent AS event JOIN seating_showtime AS showtime ON showtime.id = event.showtime_id
            WHERE showtime.ends_at > statement_timestamp() - interval '1 day'
        ) AS line
        JOIN seating_seat AS seat ON seat.id = line.seat_id
        WHERE line.from_status <> line.status_before
        """,
    ),
    Invariant(
        "I9",
        "a seat is still reserved though its time is over",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM seating_seat AS seat
        WHERE seat.status = 'RESERVED' AND NOT seat.paying
          AND seat.reserved_until <= statement_timestamp() - interval '1 minute'
        """,
    ),
    Invariant(
        "I9",
        "a hold has not ended though its time is over",
        """
        SELECT 'hold ' || hold.id FROM seating_hold AS hold
        WHERE hold.ended_at IS NULL AND NOT hold.paying
          AND hold.expires_at <= statement_timestamp() - interval '1 minute'
        """,
    ),
    Invariant(
        "I9",
        "a hold is still being paid long after its time",
        """
        SELECT 'hold ' || hold.id FROM seating_hold AS hold
        WHERE hold.ended_at IS NULL AND hold.paying
          AND hold.expires_at <= statement_timestamp() - interval '1 hour'
        """,
    ),
)


def broken_invariants(invariants: Iterable[Invariant]) -> list[Finding]:
    """Return the invariants that do not hold; none, if all is well.

    Raises:
        OperationalError: PostgreSQL is away, or a question took longer than `LONGEST_MS`.
    """
    return [finding for invariant in invariants if (finding := _ask(invariant))]


def _ask(invariant: Invariant) -> Finding | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(LONGEST_MS)])
        cursor.execute(
            f"SELECT count(*), (array_agg(violation))[1:{EXAMPLES}] FROM ({invariant.sql}) AS found (violation)"  # noqa: S608
        )
        row = cursor.fetchone()
    count, examples = row or (0, None)
    return Finding(invariant.number, invariant.violation, count, list(examples or ())) if count else None
