"""The guarded UPDATEs by which seats are paid, sold and brought back, each for all of the seats or for none.

Like those of `seat_changes` they demand that the caller's transaction has locked the rows, read PostgreSQL's clock in a
statement after that, and judge only the columns of the locked rows.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection

from seating.models import SeatChange, SeatHoldEnd, SeatStatus
from seating.selectors.holds import LEFT_AFTER_DECLINE
from seating.services.ledger import ChangedSeat, record_changes
from seating.services.row_locks import LockedSeat
from seating.services.seat_changes import close_audit, open_audit

SELL = """
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), own AS MATERIALIZED (
        SELECT id FROM seating_seat
        WHERE id = ANY(%(seats)s) AND status = 'RESERVED' AND hold_id = %(hold)s
    )
    UPDATE seating_seat AS seat
    SET status = 'SOLD', hold_id = %(hold)s, sold_at = clock.now, reserved_at = NULL, reserved_until = NULL,
        paying = false, fence = fence + 1, updated_at = clock.now
    FROM clock, own
    WHERE seat.id = own.id AND (SELECT count(*) FROM own) = %(wanted)s
    RETURNING seat.code, seat.fence, clock.now
"""
TAKE_AGAIN = """
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), own AS MATERIALIZED (
        SELECT id FROM seating_seat, clock
        WHERE id = ANY(%(seats)s) AND (
            status = 'AVAILABLE'
            OR status = 'RESERVED' AND NOT paying AND (hold_id = ANY(%(holds)s) OR reserved_until <= clock.now)
        )
    )
    UPDATE seating_seat AS seat
    SET status = 'RESERVED', hold_id = %(hold)s, reserved_at = clock.now,
        reserved_until = clock.now + make_interval(secs => %(payment)s), paying = true,
        fence = fence + 1, updated_at = clock.now
    FROM clock, own
    WHERE seat.id = own.id AND (SELECT count(*) FROM own) = %(wanted)s
    RETURNING seat.code, seat.fence, clock.now
"""
BRING_BACK = """
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), own AS MATERIALIZED (
        SELECT id FROM seating_seat WHERE id = ANY(%(seats)s) AND status = 'SOLD' AND hold_id = %(hold)s
    )
    UPDATE seating_seat AS seat
    SET status = 'AVAILABLE', hold_id = NULL, sold_at = NULL, fence = fence + 1, updated_at = clock.now
    FROM clock, own
    WHERE seat.id = own.id AND (SELECT count(*) FROM own) = %(wanted)s
    RETURNING seat.code, seat.fence, clock.now
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Changed:
    """Seats after a change: their fences by code, when, and the showtime's version with it; None if it is the same."""

    now: dt.datetime
    fences: dict[str, int]
    version: int | None


def begin_paying(*, hold_id: uuid.UUID, seats: Sequence[LockedSeat]) -> dt.datetime | None:
    """Keep the seats of a hold for as long as a payment may take, whatever the hold's cap.

    Returns:
        Until when; None if the hold's time ran out while the rows were waited for, and nothing has changed.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
            UPDATE seating_seat AS seat
            SET paying = true, reserved_until = clock.now + make_interval(secs => %(payment)s), fence = fence + 1,
                updated_at = clock.now
            FROM clock
            WHERE seat.id = ANY(%(seats)s) AND seat.status = 'RESERVED' AND seat.hold_id = %(hold)s
              AND NOT seat.paying AND seat.reserved_until > clock.now
            RETURNING seat.reserved_until
            """,
            {
                "payment": settings.PAYMENT_SECONDS,
                "seats": [seat.seat_id for seat in seats],
                "hold": hold_id,
            },
        )
        rows = cursor.fetchall()
    # The seats of a hold have one end, so they all still live or none does; half of a hold is never paid.
    return rows[0][0] if rows and len(rows) == len(seats) else None


def stop_paying(*, hold_id: uuid.UUID, seats: Sequence[LockedSeat], until: dt.datetime) -> dt.datetime:
    """Turn seats that were being paid into seats that are held, as before.

    Args:
        seats: all those of the hold; at least one.
        until: when the hold would have ended; it gets `LEFT_AFTER_DECLINE` at the least.

    Returns:
        Until when they are held.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
            UPDATE seating_seat AS seat
            SET paying = false, reserved_until = greatest(%(until)s, clock.now + make_interval(secs => %(least)s)),
                fence = fence + 1, updated_at = clock.now
            FROM clock
            WHERE seat.id = ANY(%(seats)s) AND seat.status = 'RESERVED' AND seat.hold_id = %(hold)s AND seat.paying
            RETURNING seat.reserved_until
            """,
            {
                "until": until,
                "least": LEFT_AFTER_DECLINE,
                "seats": [seat.seat_id for seat in seats],
                "hold": hold_id,
            },
        )
        rows = cursor.fetchall()
    assert len(rows) == len(seats), "a hold that is being paid keeps its seats"  # noqa: S101
    held_until: dt.datetime = rows[0][0]
    return held_until


def sell(*, showtime_id: int, hold_id: uuid.UUID, seats: Sequence[LockedSeat]) -> Changed | None:
    """Sell seats to the hold that has reserved them; to no other, whoever has paid.

    Returns:
        What was sold; None if a seat is not reserved by this hold, and nothing has changed.
    """
    now, fences = _update(SELL, seats, hold=hold_id)
    if now is None:
        return None
    close_audit(seats, SeatHoldEnd.SOLD, now)
    changed = [_changed(seat, SeatStatus.SOLD, SeatChange.SOLD, hold_id) for seat in seats]
    return Changed(now=now, fences=fences, version=_record(showtime_id, changed, now))


def take_again(
    *,
    showtime_id: int,
    hold_id: uuid.UUID,
    own_holds: Collection[uuid.UUID],
    seats: Sequence[LockedSeat],
    prices: Mapping[str, int],
) -> Changed | None:
    """Reserve seats once more for a hold whose payment has come late.

    A seat can be had that is free, that a live hold of the same holder has, or whose hold has run out; never one that
    is being paid.

    Args:
        hold_id: the hold that was paid; it may have ended.
        own_holds: the live holds of its holder.
        prices: what was paid for each seat, by code, in minor units.

    Returns:
        What was taken; None if a seat cannot be had, and nothing has changed.
    """
    now, fences = _update(TAKE_AGAIN, seats, hold=hold_id, holds=list(own_holds), payment=settings.PAYMENT_SECONDS)
    if now is None:
        return None
    taken = [seat for seat in seats if seat.hold_id != hold_id]
    if not taken:
        return Changed(now=now, fences=fences, version=None)
    overtaken = [seat for seat in taken if seat.hold_id and seat.hold_id not in own_holds]
    close_audit([seat for seat in taken if seat.hold_id in own_holds], SeatHoldEnd.RELEASED, now)
    close_audit(overtaken, SeatHoldEnd.OVERTAKEN, now)
    open_audit(hold_id, taken, prices, now)
    changed = [
        _changed(seat, SeatStatus.RESERVED, SeatChange.OVERTAKEN if seat in overtaken else SeatChange.HELD, hold_id)
        for seat in taken
    ]
    return Changed(now=now, fences=fences, version=_record(showtime_id, changed, now))


def bring_back(*, showtime_id: int, hold_id: uuid.UUID, seats: Sequence[LockedSeat]) -> Changed:
    """Put seats that a hold has bought back on sale."""
    now, fences = _update(BRING_BACK, seats, hold=hold_id)
    assert now is not None, "nothing but this takes a seat from whoever has bought it"  # noqa: S101
    changed = [_changed(seat, SeatStatus.AVAILABLE, SeatChange.CANCELLED, None) for seat in seats]
    return Changed(now=now, fences=fences, version=_record(showtime_id, changed, now))


def _update(statement: str, seats: Sequence[LockedSeat], **values: Any) -> tuple[dt.datetime | None, dict[str, int]]:
    """Change all the seats, or none and return no time."""
    with connection.cursor() as cursor:
        cursor.execute(statement, {"seats": [seat.seat_id for seat in seats], "wanted": len(seats), **values})
        rows = cursor.fetchall()
    return (rows[0][2] if rows else None), {row[0]: row[1] for row in rows}


def _changed(seat: LockedSeat, to: SeatStatus, cause: SeatChange, hold_id: uuid.UUID | None) -> ChangedSeat:
    return ChangedSeat(seat_id=seat.seat_id, from_status=seat.status, to_status=to, cause=cause, hold_id=hold_id)


def _record(showtime_id: int, changed: Sequence[ChangedSeat], now: dt.datetime) -> int:
    version = record_changes(showtime_id=showtime_id, changed=changed, happened_at=now)
    assert version is not None, "the counter is there since the seats are"  # noqa: S101
    return version
