"""What must always be true of the ledger: it has no gaps, its lines make sense, and its replay gives the seats (I7)."""

from __future__ import annotations

from seating.selectors.invariants.asking import Invariant

# The ledger is the past, which nobody changes: which side is wrong, a person has to find out.
_COUNTER = (
    "Nothing repairs this by itself. While the counter is behind the ledger the showtime sells nothing: stop its "
    "sales, and find out who wrote the counter or the ledger past the services."
)

LEDGER_INVARIANTS = (
    Invariant(
        "I7",
        "a showtime's versions have a gap, or its counter is another",
        """
        SELECT showtime.id, 'versions',
               'the counter says ' || coalesce(sales.seq, 0) || ', the ledger has ' || ledger.versions
                   || ' and its newest is ' || coalesce(ledger.newest, 0)
        FROM seating_showtime AS showtime
        LEFT JOIN seating_showtimesales AS sales ON sales.showtime_id = showtime.id
        LEFT JOIN LATERAL (
            SELECT count(DISTINCT event.seq) AS versions, max(event.seq) AS newest
            FROM seating_seatevent AS event WHERE event.showtime_id = showtime.id
        ) AS ledger ON true
        WHERE showtime.id = ANY(%(showtimes)s::bigint[])
          AND (ledger.versions <> coalesce(sales.seq, 0) OR coalesce(ledger.newest, 0) <> coalesce(sales.seq, 0))
        """,
        advice=_COUNTER,
        quick=True,
    ),
    Invariant(
        "I7",
        "replaying the ledger does not give the seat",
        """
        SELECT coalesce(seat.showtime_id, last.showtime_id), 'seat ' || coalesce(seat.code, last.seat_id::text),
               'the ledger says ' || coalesce(last.to_status, 'AVAILABLE') || coalesce(' by hold ' || last.hold_id, '')
                   || ', the seat ' || coalesce(seat.status, 'that it is at another showtime')
                   || coalesce(' by hold ' || seat.hold_id, '')
        FROM (
            SELECT id, showtime_id, code, status, hold_id FROM seating_seat
            WHERE showtime_id = ANY(%(showtimes)s::bigint[])
        ) AS seat
        FULL JOIN (
            SELECT DISTINCT ON (showtime_id, seat_id) showtime_id, seat_id, to_status, hold_id
            FROM seating_seatevent WHERE showtime_id = ANY(%(showtimes)s::bigint[])
            ORDER BY showtime_id, seat_id, seq DESC
        ) AS last ON last.seat_id = seat.id AND last.showtime_id = seat.showtime_id
        WHERE seat.id IS NULL OR seat.status <> coalesce(last.to_status, 'AVAILABLE')
           OR seat.hold_id IS DISTINCT FROM last.hold_id
        """,
        quick=True,
    ),
    Invariant(
        "I7",
        "a line of the ledger does not follow from the one before",
        """
        SELECT line.showtime_id, 'seat ' || seat.code || ', version ' || line.seq,
               'the line says from ' || line.from_status || ', the one before to ' || line.status_before
        FROM (
            SELECT showtime_id, seat_id, seq, from_status,
                   lag(to_status, 1, 'AVAILABLE') OVER (PARTITION BY showtime_id, seat_id ORDER BY seq) AS status_before
            FROM seating_seatevent WHERE showtime_id = ANY(%(showtimes)s::bigint[])
        ) AS line
        JOIN seating_seat AS seat ON seat.id = line.seat_id
        WHERE line.from_status <> line.status_before
        """,
        quick=True,
    ),
    Invariant(
        "I7",
        "a line of the ledger has a cause that does not do what it says",
        """
        SELECT line.showtime_id, 'seat ' || seat.code || ', version ' || line.seq,
               'the line says ' || line.cause || ' from ' || line.from_status || ' to ' || line.to_status
                   || coalesce(' by hold ' || line.hold_id, '') || coalesce(', before of hold ' || hold_before, '')
        FROM (
            SELECT showtime_id, seat_id, seq, from_status, to_status, cause, hold_id,
                   lag(hold_id) OVER (PARTITION BY showtime_id, seat_id ORDER BY seq) AS hold_before
            FROM seating_seatevent WHERE showtime_id = ANY(%(showtimes)s::bigint[])
        ) AS line
        JOIN seating_seat AS seat ON seat.id = line.seat_id
        WHERE NOT CASE line.cause
               -- A late payment takes seats from another hold of the same holder: then they were reserved.
               WHEN 'held' THEN line.from_status IN ('AVAILABLE', 'RESERVED') AND line.to_status = 'RESERVED'
               WHEN 'overtaken' THEN line.from_status = 'RESERVED' AND line.to_status = 'RESERVED'
               WHEN 'released' THEN line.from_status = 'RESERVED' AND line.to_status = 'AVAILABLE'
               WHEN 'expired' THEN line.from_status = 'RESERVED' AND line.to_status = 'AVAILABLE'
               WHEN 'withdrawn' THEN line.from_status = 'RESERVED' AND line.to_status = 'AVAILABLE'
               WHEN 'sold' THEN line.from_status = 'RESERVED' AND line.to_status = 'SOLD'
               WHEN 'cancelled' THEN line.from_status = 'SOLD' AND line.to_status = 'AVAILABLE'
               WHEN 'blocked' THEN line.from_status = 'AVAILABLE' AND line.to_status = 'BLOCKED'
               WHEN 'unblocked' THEN line.from_status = 'BLOCKED' AND line.to_status = 'AVAILABLE'
               ELSE false
           END
           OR (line.to_status IN ('RESERVED', 'SOLD')) <> (line.hold_id IS NOT NULL)
           -- Only whoever has reserved a seat buys it; and nobody takes over what is theirs.
           OR line.to_status = 'SOLD' AND line.hold_id IS DISTINCT FROM line.hold_before
           OR line.from_status = 'RESERVED' AND line.to_status = 'RESERVED' AND line.hold_id = line.hold_before
        """,
    ),
    Invariant(
        "I7",
        "the lines of one version tell of more than one change",
        """
        SELECT event.showtime_id, 'version ' || event.seq,
               count(*) || ' lines of causes ' || string_agg(DISTINCT event.cause, ' and ') || ', of '
                   || count(DISTINCT event.hold_id) || ' holds, from ' || min(event.happened_at) || ' to '
                   || max(event.happened_at)
        FROM seating_seatevent AS event
        WHERE event.showtime_id = ANY(%(showtimes)s::bigint[])
        GROUP BY event.showtime_id, event.seq
        HAVING min(event.happened_at) <> max(event.happened_at)
            OR min(event.hold_id::text) <> max(event.hold_id::text)
            -- Of seats that are held together some may be free, and others taken over.
            OR min(CASE event.cause WHEN 'overtaken' THEN 'held' ELSE event.cause END)
                <> max(CASE event.cause WHEN 'overtaken' THEN 'held' ELSE event.cause END)
        """,
    ),
    Invariant(
        "I2",
        "the audit does not say what the ledger says",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code || ', hold ' || told.hold_id,
               'that it ' || CASE told.ended WHEN '' THEN 'is still held' ELSE 'was ' || told.ended END
                   || ' stands ' || told.in_ledger || ' times in the ledger, ' || told.in_audit || ' times in the audit'
        FROM (
            SELECT seat_id, hold_id, ended, sum(in_ledger) AS in_ledger, sum(in_audit) AS in_audit
            FROM (
                -- To another hold of the same holder a seat goes as one that the first hold has released.
                SELECT seat_id, hold_id, CASE next_cause WHEN 'held' THEN 'released' ELSE next_cause END AS ended,
                       1 AS in_ledger, 0 AS in_audit
                FROM (
                    SELECT seat_id, hold_id, to_status,
                           lead(cause, 1, '') OVER (PARTITION BY showtime_id, seat_id ORDER BY seq) AS next_cause
                    FROM seating_seatevent WHERE showtime_id = ANY(%(showtimes)s::bigint[])
                ) AS line
                WHERE to_status = 'RESERVED'
                UNION ALL
                SELECT audit.seat_id, audit.hold_id, audit.end_reason, 0, 1
                FROM seating_hold AS hold JOIN seat_holds AS audit ON audit.hold_id = hold.id
                WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[])
            ) AS entry
            GROUP BY seat_id, hold_id, ended
            HAVING sum(in_ledger) <> sum(in_audit)
        ) AS told
        JOIN seating_seat AS seat ON seat.id = told.seat_id
        """,
    ),
)
