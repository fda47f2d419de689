"""What must always be true of seats and of those who hold them."""

from __future__ import annotations

from seating.selectors.invariants.asking import REPAIR, WAIT, Invariant

# Whatever runs out is ended within seconds, by several processes: after a minute it is stuck. A hold that is being paid
# ends with the window of its payment, or the grace after it: an hour is too long.
HOLD_INVARIANTS = (
    Invariant(
        "I2",
        "a seat is in two live holds",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code,
               'the audit says holds ' || string_agg(audit.hold_id::text, ' and ' ORDER BY audit.id)
        FROM seating_seat AS seat JOIN seat_holds AS audit ON audit.seat_id = seat.id AND audit.ended_at IS NULL
        WHERE seat.showtime_id = ANY(%(showtimes)s::bigint[])
        GROUP BY seat.id HAVING count(*) > 1
        """,
        advice=REPAIR,
        quick=True,
    ),
    Invariant(
        "I2",
        "a reserved seat and the audit of its hold do not agree",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code,
               'the seat says ' || seat.status || coalesce(' by hold ' || seat.hold_id, '')
                   || ', the audit ' || coalesce('held by hold ' || audit.hold_id, 'nothing')
        FROM seating_seat AS seat LEFT JOIN seat_holds AS audit ON audit.seat_id = seat.id AND audit.ended_at IS NULL
        WHERE seat.showtime_id = ANY(%(showtimes)s::bigint[])
          AND (CASE WHEN seat.status = 'RESERVED' THEN seat.hold_id END) IS DISTINCT FROM audit.hold_id
        """,
        advice=f"{REPAIR} A reserved seat that the audit does not know is free when its time is over.",
        quick=True,
    ),
    Invariant(
        "I2",
        "a seat is reserved by a hold that has ended",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code,
               'the seat says RESERVED by hold ' || hold.id || ', the hold ' || hold.end_reason
        FROM seating_seat AS seat JOIN seating_hold AS hold ON hold.id = seat.hold_id
        WHERE seat.showtime_id = ANY(%(showtimes)s::bigint[])
          AND seat.status = 'RESERVED' AND hold.ended_at IS NOT NULL
        """,
        advice=WAIT,
        quick=True,
    ),
    Invariant(
        "I4",
        "a seat does not end, or is not paid, with its live hold",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code,
               'the seat says until ' || seat.reserved_until || CASE WHEN seat.paying THEN ', paying' ELSE '' END
                   || '; hold ' || hold.id || ' until ' || hold.expires_at
                   || CASE WHEN hold.paying THEN ', paying' ELSE '' END
        FROM seating_seat AS seat JOIN seating_hold AS hold ON hold.id = seat.hold_id
        WHERE seat.showtime_id = ANY(%(showtimes)s::bigint[])
          AND seat.status = 'RESERVED' AND hold.ended_at IS NULL
          AND (seat.paying <> hold.paying OR seat.reserved_until <> hold.expires_at)
        """,
        advice=REPAIR,
        quick=True,
    ),
    Invariant(
        "I4",
        "a seat was taken over before its hold's time was over",
        """
        SELECT hold.showtime_id, 'seat ' || seat.code,
               'the audit says overtaken at ' || audit.ended_at || ', hold ' || hold.id || ' until ' || hold.expires_at
        FROM seating_hold AS hold
        JOIN seat_holds AS audit ON audit.hold_id = hold.id
        JOIN seating_seat AS seat ON seat.id = audit.seat_id
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[])
          AND audit.end_reason = 'overtaken' AND audit.ended_at < hold.expires_at
        """,
    ),
    Invariant(
        "I5",
        "a live hold has no seat, though nobody took over any",
        """
        SELECT hold.showtime_id, 'hold ' || hold.id, 'the hold says live, the audit has no open seat of it'
        FROM seating_hold AS hold
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[]) AND hold.ended_at IS NULL
          AND NOT EXISTS (
              SELECT FROM seat_holds AS audit
              WHERE audit.hold_id = hold.id AND (audit.ended_at IS NULL OR audit.end_reason = 'overtaken')
          )
        """,
        advice="`verify_seats --repair` ends it once its time is over; then read what became of its seats.",
    ),
    Invariant(
        "I9",
        "a seat is still reserved though its time is over",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code, 'the seat says until ' || seat.reserved_until
        FROM seating_seat AS seat
        WHERE seat.showtime_id = ANY(%(showtimes)s::bigint[]) AND seat.status = 'RESERVED' AND NOT seat.paying
          AND seat.reserved_until <= transaction_timestamp() - interval '1 minute'
        """,
        advice=REPAIR,
        quick=True,
    ),
    Invariant(
        "I9",
        "a hold has not ended though its time is over",
        """
        SELECT hold.showtime_id, 'hold ' || hold.id, 'the hold says live, until ' || hold.expires_at
        FROM seating_hold AS hold
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[]) AND hold.ended_at IS NULL AND NOT hold.paying
          AND hold.expires_at <= transaction_timestamp() - interval '1 minute'
        """,
        advice=REPAIR,
        quick=True,
    ),
    Invariant(
        "I9",
        "a hold is still being paid long after its time",
        """
        SELECT hold.showtime_id, 'hold ' || hold.id, 'the hold says paying, until ' || hold.expires_at
        FROM seating_hold AS hold
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[]) AND hold.ended_at IS NULL AND hold.paying
          AND hold.expires_at <= transaction_timestamp() - interval '1 hour'
        """,
        advice="Its payment is to be settled: see why `manage.py reconcile` and the tickers do not.",
        quick=True,
    ),
    Invariant(
        "I9",
        "a cancelled showtime still has a hold",
        """
        SELECT hold.showtime_id, 'hold ' || hold.id,
               'the hold says live, the showtime cancelled ' || showtime.cancelled_at
        FROM seating_hold AS hold JOIN seating_showtime AS showtime ON showtime.id = hold.showtime_id
        WHERE showtime.id = ANY(%(showtimes)s::bigint[]) AND hold.ended_at IS NULL AND NOT hold.paying
          AND showtime.cancelled_at <= transaction_timestamp() - interval '1 minute'
        """,
        advice=REPAIR,
    ),
)
