"""The one place where the rows of a sale are locked, in the one order: holder, holds, seats.

`record_changes` locks the showtime's counter after them. Whoever keeps to this order cannot deadlock.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import connection

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import SeatStatus


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A holder, whose row is locked, at a showtime, as far as a sale must know it.

    `now` is PostgreSQL's clock.
    """

    holder_id: int
    user_id: int | None
    showtime_id: int
    on_sale: bool
    hold_length: dt.timedelta
    now: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class LockedHold:
    """A hold as it was when its row was locked.

    `locked_at`: when its first seat was taken. `lapsed`: its time is over, and it is not being paid; whether somebody
    has `ended` it is another matter. `left`: its page was closed, and nobody has come back.
    """

    hold_id: uuid.UUID
    holder_id: int
    showtime_id: int
    locked_at: dt.datetime
    paying: bool
    lapsed: bool
    left: bool
    ended: bool


@dataclasses.dataclass(frozen=True, slots=True)
class LockedSeat:
    """A seat as it was when its row was locked."""

    seat_id: int
    code: str
    status: SeatStatus
    hold_id: uuid.UUID | None


def lock_holder(*, holder_id: int, showtime_id: int) -> Claim:
    """Lock the holder's row: from here to the commit nobody else acts for them.

    Raises:
        Refusal: `not_authenticated` if there is no such holder: their token outlived them; `not_found` if the showtime
            has been removed.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT holder.user_id,
                   coalesce(sales.sales_open, true) AND showtime.cancelled_at IS NULL
                       AND clock_timestamp() >= showtime.sales_open_at AND clock_timestamp() < showtime.sales_close_at,
                   showtime.hold_seconds, clock_timestamp(), showtime.id IS NOT NULL
            FROM seating_holder AS holder
            LEFT JOIN seating_showtime AS showtime ON showtime.id = %(showtime)s
            LEFT JOIN seating_showtimesales AS sales ON sales.showtime_id = showtime.id
            WHERE holder.id = %(holder)s
            FOR NO KEY UPDATE OF holder
            """,
            {"showtime": showtime_id, "holder": holder_id},
        )
        row = cursor.fetchone()
    if row is None:
        raise Refusal(ErrorCode.NOT_AUTHENTICATED)
    user_id, on_sale, hold_seconds, now, there = row
    if not there:
        raise Refusal(ErrorCode.NOT_FOUND)
    return Claim(
        holder_id=holder_id,
        user_id=user_id,
        showtime_id=showtime_id,
        on_sale=on_sale,
        hold_length=dt.timedelta(seconds=hold_seconds or settings.SEAT_HOLD_SECONDS),
        now=now,
    )


def lock_holders(holder_ids: Collection[int]) -> None:
    """Lock the rows of several holders by the order of their ids, for what concerns them together."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM seating_holder WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [list(holder_ids)]
        )


def lock_hold(*, hold_id: uuid.UUID) -> LockedHold:
    """Lock the row of a hold, ended or not, and return it.

    Raises:
        Refusal: `not_found` if there is none with this id.
    """
    holds = _lock_holds("id = %(hold)s", hold=hold_id)
    if not holds:
        raise Refusal(ErrorCode.NOT_FOUND)
    return holds[0]


def lock_live_hold(*, holder_id: int, showtime_id: int, hold_id: uuid.UUID | None = None) -> LockedHold | None:
    """Lock the row of the holder's live hold at a showtime, and return it; None if there is none.

    Args:
        holder_id: whose; the holder's row is locked.
        showtime_id: where and when.
        hold_id: the one hold that is meant; None for whichever lives.
    """
    holds = _lock_holds(
        "holder_id = %(holder)s AND showtime_id = %(showtime)s AND ended_at IS NULL AND id = coalesce(%(hold)s, id)",
        holder=holder_id,
        showtime=showtime_id,
        hold=hold_id,
    )
    return holds[0] if holds else None


def lock_contending_holds(*, holder_ids: Collection[int], showtime_id: int) -> dict[int, LockedHold]:
    """Lock the live holds of several holders at a showtime.

    Args:
        holder_ids: whose; the holders' rows are locked.

    Returns:
        The holds by their holders; those who have none are missing.
    """
    holds = _lock_holds(
        "holder_id = ANY(%(holders)s) AND showtime_id = %(showtime)s AND ended_at IS NULL",
        holders=list(holder_ids),
        showtime=showtime_id,
    )
    return {hold.holder_id: hold for hold in holds}


def lock_paid_hold(*, hold_id: uuid.UUID, holder_id: int, showtime_id: int) -> list[LockedHold]:
    """Lock the row of a hold that was paid late, whether it has ended or not, and of its holder's live hold beside it.

    Args:
        hold_id: the hold that was paid.
        holder_id: whose it is; the holder's row is locked.
        showtime_id: where and when.

    Returns:
        The one or two holds. The paid one is missing if it has become somebody else's.
    """
    return _lock_holds(
        "holder_id = %(holder)s AND showtime_id = %(showtime)s AND (id = %(hold)s OR ended_at IS NULL)",
        hold=hold_id,
        holder=holder_id,
        showtime=showtime_id,
    )


def lock_unpaid_holds(*, showtime_id: int) -> list[LockedHold]:
    """Lock the holds of a showtime that nobody has ended and nobody is paying; wait for those that somebody changes."""
    return _lock_holds("showtime_id = %(showtime)s AND ended_at IS NULL AND NOT paying", showtime=showtime_id)


def lock_lapsed_holds(*, showtime_id: int) -> list[uuid.UUID]:
    """Lock the holds of a showtime whose time is over, but for those that somebody else is busy with."""
    holds = _lock_holds(
        "showtime_id = %(showtime)s AND ended_at IS NULL AND NOT paying AND expires_at <= clock_timestamp()",
        busy_too=False,
        showtime=showtime_id,
    )
    return [hold.hold_id for hold in holds]


def lock_unended_holds(*, showtime_id: int) -> set[uuid.UUID]:
    """Lock the holds of a showtime that nobody has ended, but for those that somebody else is busy with."""
    holds = _lock_holds("showtime_id = %(showtime)s AND ended_at IS NULL", busy_too=False, showtime=showtime_id)
    return {hold.hold_id for hold in holds}


def lock_holds(*, hold_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, LockedHold]:
    """Lock holds, ended or not, but for those that somebody else is busy with; return them as they are now."""
    holds = _lock_holds("id = ANY(%(holds)s)", busy_too=False, holds=list(hold_ids))
    return {hold.hold_id: hold for hold in holds}


def _lock_holds(condition: str, *, busy_too: bool = True, **values: Any) -> list[LockedHold]:
    """Lock holds by the order of their ids.

    Args:
        condition: which ones, in SQL.
        busy_too: whether to wait for those that somebody else is busy with; if not, they are passed over.
        values: the condition's parameters.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT id, holder_id, showtime_id, locked_at,
                   paying, expires_at <= clock_timestamp() AND NOT paying, left_at IS NOT NULL, ended_at IS NOT NULL
            FROM seating_hold
            WHERE {condition}
            ORDER BY id
            FOR NO KEY UPDATE {"" if busy_too else "SKIP LOCKED"}
            """,  # noqa: S608 - the conditions are written above
            values,
        )
        return [LockedHold(*row) for row in cursor.fetchall()]


def lock_seats(
    *, showtime_id: int, codes: Collection[str] = (), hold_ids: Collection[uuid.UUID] = ()
) -> list[LockedSeat]:
    """Lock seats by the order of their ids: those with these codes, and those that these holds have.

    Returns:
        The seats as they are now, however long others kept them locked; by id.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, code, status, hold_id
            FROM seating_seat
            WHERE showtime_id = %(showtime)s
              AND (code = ANY(%(codes)s) OR status = 'RESERVED' AND hold_id = ANY(%(holds)s))
            ORDER BY id
            FOR NO KEY UPDATE
            """,
            {"showtime": showtime_id, "codes": list(codes), "holds": list(hold_ids)},
        )
        return [LockedSeat(row[0], row[1], SeatStatus(row[2]), row[3]) for row in cursor.fetchall()]
