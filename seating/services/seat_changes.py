"""The guarded UPDATEs by which seats change, each with its audit and its line in the ledger.

Every function demands that the caller's transaction has locked the seats' rows (`row_locks`). Each reads PostgreSQL's
clock in a statement of its own after that, judges only the columns of the locked rows, and counts the rows it changed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence

from django.conf import settings
from django.db import connection

from cinebook.core.errors import ErrorCode, Refusal, SeatsRefused
from seating.models import HoldEnd, SeatChange, SeatHoldEnd, SeatStatus
from seating.services.ledger import ChangedSeat, record_changes
from seating.services.row_locks import Claim, LockedSeat

# Why a seat that somebody else has cannot be had.
REASONS = {
    SeatStatus.RESERVED: ErrorCode.SEAT_HELD,
    SeatStatus.SOLD: ErrorCode.SEAT_BOOKED,
    SeatStatus.BLOCKED: ErrorCode.SEAT_BLOCKED,
}
# How the audit calls the end that a seat's change brings to the hold it was in.
AUDIT_ENDS = {
    SeatChange.RELEASED: SeatHoldEnd.RELEASED,
    SeatChange.EXPIRED: SeatHoldEnd.EXPIRED,
    SeatChange.SOLD: SeatHoldEnd.SOLD,
    SeatChange.WITHDRAWN: SeatHoldEnd.WITHDRAWN,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Reserved:
    """Seats after they were reserved: from when until when. `version` is None if all were in the hold already."""

    now: dt.datetime
    until: dt.datetime
    version: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Freed:
    """Seats after they left their hold: their fences by code, and the showtime's new version."""

    now: dt.datetime
    fences: dict[str, int]
    version: int


def reserve(
    *, claim: Claim, hold_id: uuid.UUID, seats: Sequence[LockedSeat], categories: Mapping[str, str]
) -> Reserved:
    """Reserve seats for a hold, or renew the reservation of those that it has.

    A seat may be taken that is free, or whose hold has run out and is not being paid: then only that hold's audit row
    is closed, under the seat's lock, and the hold itself is left to its own end.

    Args:
        categories: of each new seat, by code; today's price is kept with the seat, and without one it is not sold.

    Returns:
        When, until when, and the showtime's new version; no version if no seat is new in the hold.

    Raises:
        SeatsRefused: a seat is somebody else's, or has no price; the transaction must be given up.
        Refusal: `not_on_sale`.
    """
    new = [seat for seat in seats if seat.hold_id != hold_id]
    now, until, fences = _update_reserved(claim, hold_id, seats)
    refused = {seat.code: REASONS[seat.status] for seat in seats if seat.seat_id not in fences}
    if refused:
        raise SeatsRefused(refused)
    if not new:
        return Reserved(now=now, until=until, version=None)
    close_audit([seat for seat in new if seat.hold_id], SeatHoldEnd.OVERTAKEN, now)
    _open_audit_at_todays_prices(claim.showtime_id, hold_id, new, categories, now)
    version = record_changes(
        showtime_id=claim.showtime_id,
        changed=[
            ChangedSeat(
                seat_id=seat.seat_id,
                from_status=seat.status,
                to_status=SeatStatus.RESERVED,
                cause=SeatChange.OVERTAKEN if seat.hold_id else SeatChange.HELD,
                hold_id=hold_id,
            )
            for seat in new
        ],
        happened_at=now,
        only_while_on_sale=True,
    )
    if version is None:
        raise Refusal(ErrorCode.NOT_ON_SALE)
    return Reserved(now=now, until=until, version=version)


def free(
    *, showtime_id: int, seats: Sequence[LockedSeat], cause: SeatChange, payment_is_over: bool = False
) -> Freed | None:
    """Make reserved seats available.

    Args:
        seats: as they were locked; those that are not reserved by the same hold any more are passed over.
        cause: `EXPIRED` frees only seats whose time is over and that are not being paid; the others all.
        payment_is_over: frees them in any case: their hold was being paid, and nobody waits for that any longer.

    Returns:
        What was freed; None if nothing was.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
            UPDATE seating_seat AS seat
            SET status = 'AVAILABLE', hold_id = NULL, reserved_at = NULL, reserved_until = NULL, paying = false,
                fence = fence + 1, updated_at = clock.now
            FROM clock, unnest(%(seats)s::bigint[], %(holds)s::uuid[]) AS locked (seat_id, hold_id)
            WHERE seat.id = locked.seat_id AND seat.status = 'RESERVED' AND seat.hold_id = locked.hold_id
              AND (NOT %(only_lapsed)s OR NOT seat.paying AND seat.reserved_until <= clock.now)
            RETURNING seat.id, seat.code, seat.fence, clock.now
            """,
            {
                "seats": [seat.seat_id for seat in seats],
                "holds": [seat.hold_id for seat in seats],
                "only_lapsed": cause is SeatChange.EXPIRED and not payment_is_over,
            },
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    now = rows[0][3]
    freed = [seat for seat in seats if seat.seat_id in {row[0] for row in rows}]
    close_audit(freed, AUDIT_ENDS[cause], now)
    version = record_changes(
        showtime_id=showtime_id,
        changed=[
            ChangedSeat(
                seat_id=seat.seat_id,
                from_status=SeatStatus.RESERVED,
                to_status=SeatStatus.AVAILABLE,
                cause=cause,
                hold_id=None,
            )
            for seat in freed
        ],
        happened_at=now,
    )
    assert version is not None, "the counter is there since the seats are"  # noqa: S101
    return Freed(now=now, fences={row[1]: row[2] for row in rows}, version=version)


def _update_reserved(
    claim: Claim, hold_id: uuid.UUID, seats: Sequence[LockedSeat]
) -> tuple[dt.datetime, dt.datetime, dict[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (
                SELECT clock_timestamp() AS now
            ), term AS MATERIALIZED (
                -- Never shorter than it was: a payment that was declined may have left it time beyond the cap.
                SELECT clock.now, greatest(own.expires_at, least(
                    clock.now + make_interval(secs => %(hold_length)s),
                    own.max_expires_at,
                    clock.now + make_interval(secs => %(longest)s)
                )) AS until
                FROM clock LEFT JOIN seating_hold AS own ON own.id = %(hold)s
            ), reserved AS (
                UPDATE seating_seat
                SET status = 'RESERVED', hold_id = %(hold)s, reserved_until = term.until,
                    reserved_at = CASE WHEN hold_id = %(hold)s THEN reserved_at ELSE term.now END,
                    fence = fence + 1, updated_at = term.now
                FROM term
                WHERE id = ANY(%(seats)s) AND (
                    status = 'AVAILABLE'
                    OR status = 'RESERVED' AND hold_id = %(hold)s
                    OR status = 'RESERVED' AND NOT paying AND reserved_until <= term.now
                )
                RETURNING id, fence
            )
            SELECT term.now, term.until, reserved.id, reserved.fence FROM term LEFT JOIN reserved ON true
            """,
            {
                "hold_length": claim.hold_length.total_seconds(),
                "longest": settings.SEAT_HOLD_MAX_SECONDS,
                "hold": hold_id,
                "seats": [seat.seat_id for seat in seats],
            },
        )
        rows = cursor.fetchall()
    return rows[0][0], rows[0][1], {row[2]: row[3] for row in rows if row[2] is not None}


def _open_audit_at_todays_prices(
    showtime_id: int,
    hold_id: uuid.UUID,
    seats: Sequence[LockedSeat],
    categories: Mapping[str, str],
    held_at: dt.datetime,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO seat_holds (hold_id, seat_id, price_amount, held_at)
            SELECT %s, new.seat_id, price.amount, %s
            FROM unnest(%s::bigint[], %s::text[]) AS new (seat_id, category)
            JOIN seating_price AS price ON price.showtime_id = %s AND price.category_id = new.category
            RETURNING seat_id
            """,
            [
                hold_id,
                held_at,
                [seat.seat_id for seat in seats],
                [categories[seat.code] for seat in seats],
                showtime_id,
            ],
        )
        priced = {row[0] for row in cursor.fetchall()}
    # What has no price is not sold; the map shows it so.
    unpriced = {seat.code: ErrorCode.SEAT_BLOCKED for seat in seats if seat.seat_id not in priced}
    if unpriced:
        raise SeatsRefused(unpriced)


def open_audit(
    hold_id: uuid.UUID, seats: Sequence[LockedSeat], prices: Mapping[str, int], held_at: dt.datetime
) -> None:
    """Write into the audit that a hold has taken seats, at their prices by code, in minor units."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO seat_holds (hold_id, seat_id, price_amount, held_at)
            SELECT %s, seat_id, price, %s FROM unnest(%s::bigint[], %s::int[]) AS new (seat_id, price)
            """,
            [hold_id, held_at, [seat.seat_id for seat in seats], [prices[seat.code] for seat in seats]],
        )


def close_audit(seats: Sequence[LockedSeat], reason: SeatHoldEnd, ended_at: dt.datetime) -> None:
    """Write into the audit that seats have left the holds they were in."""
    if not seats:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seat_holds SET ended_at = %s, end_reason = %s WHERE seat_id = ANY(%s) AND ended_at IS NULL",
            [ended_at, reason.value, [seat.seat_id for seat in seats]],
        )


def end_holds(hold_ids: Collection[uuid.UUID], reason: HoldEnd) -> None:
    """End holds whose rows are locked, and that have no seats any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seating_hold SET ended_at = clock_timestamp(), end_reason = %s, paying = false WHERE id = ANY(%s)",
            [reason.value, list(hold_ids)],
        )
