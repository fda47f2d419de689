"""What a holder holds, read at one moment."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.db import connection

from cinebook.core.errors import ErrorCode, Refusal
from seating import locks
from seating.models import Hold

# What a hold has left at the least after a payment that was declined, in seconds: two minutes for another card, and a
# moment for the answer to be on its way.
LEFT_AFTER_DECLINE = 125


@dataclasses.dataclass(frozen=True, slots=True)
class HeldSeats:
    """A live hold and its seats, as they were at `server_time` by PostgreSQL's clock.

    `seats` are codes in the order of the layout; `fences`, and `amounts` in minor units of `currency`, belong to them.
    `left` says that a page of the holder was closed: the hold is let go soon, unless they turn out to be there still.
    """

    hold_id: uuid.UUID
    holder_id: int
    user_id: int | None
    showtime_id: int
    seats: tuple[str, ...]
    fences: tuple[int, ...]
    amounts: tuple[int, ...]
    locked_at: dt.datetime
    expires_at: dt.datetime
    max_expires_at: dt.datetime
    paying: bool
    left: bool
    currency: str
    server_time: dt.datetime

    @property
    def amount(self) -> int:
        """The total, in minor units."""
        return sum(self.amounts)

    @property
    def lives_for(self) -> dt.timedelta:
        """How long it still lives; not below zero."""
        return max(self.expires_at - self.server_time, dt.timedelta(0))

    @property
    def expires_in(self) -> int:
        """The same in whole seconds."""
        return int(self.lives_for.total_seconds())


_LIVE_HOLDS = """
    SELECT hold.id, hold.holder_id, holder.user_id, hold.showtime_id,
           array_agg(seat.code ORDER BY seat.position), array_agg(seat.fence ORDER BY seat.position),
           array_agg(audit.price_amount ORDER BY seat.position),
           hold.locked_at, hold.expires_at, hold.max_expires_at, hold.paying, hold.left_at IS NOT NULL,
           showtime.currency, clock_timestamp()
    FROM seating_hold AS hold
    JOIN seating_holder AS holder ON holder.id = hold.holder_id
    JOIN seating_showtime AS showtime ON showtime.id = hold.showtime_id
    JOIN seat_holds AS audit ON audit.hold_id = hold.id AND audit.ended_at IS NULL
    JOIN seating_seat AS seat ON seat.id = audit.seat_id
    WHERE hold.ended_at IS NULL AND {condition}
    GROUP BY hold.id, holder.user_id, showtime.currency
    ORDER BY hold.locked_at, hold.id
"""


# A hold whose time is over is nobody's any more, also in the moment before somebody has ended it.
_IN_TIME = "(hold.paying OR hold.expires_at > clock_timestamp())"


def live_holds(*, holder_id: int) -> list[HeldSeats]:
    """Return the live holds of a holder, oldest first."""
    return _read(f"hold.holder_id = %s AND {_IN_TIME}", [holder_id])


def live_hold(*, holder_id: int, showtime_id: int) -> HeldSeats | None:
    """Return what a holder holds at a showtime, or None."""
    holds = _read(f"hold.holder_id = %s AND hold.showtime_id = %s AND {_IN_TIME}", [holder_id, showtime_id])
    return holds[0] if holds else None


def own_hold(*, holder_id: int, hold_id: uuid.UUID) -> HeldSeats:
    """Return a holder's live hold.

    Raises:
        Refusal: `not_found` if the holder never had it, `hold_expired` if it is over.
    """
    holds = _read(f"hold.id = %s AND hold.holder_id = %s AND {_IN_TIME}", [hold_id, holder_id])
    if holds:
        return holds[0]
    over = Hold.objects.filter(pk=hold_id, holder=holder_id).exists()
    raise Refusal(ErrorCode.HOLD_EXPIRED if over else ErrorCode.NOT_FOUND)


def unended_hold(hold_id: uuid.UUID) -> HeldSeats | None:
    """Return a hold that nobody has ended, even if its time is over; None if there is none with this id."""
    holds = _read("hold.id = %s", [hold_id])
    return holds[0] if holds else None


def unended_holds(*, showtime_id: int) -> list[HeldSeats]:
    """Return the holds with seats at a showtime that nobody has ended, even those whose time is over."""
    return _read("hold.showtime_id = %s", [showtime_id])


def unended_holds_at(showtime_ids: Collection[int]) -> dict[int, list[HeldSeats]]:
    """Return the same of several showtimes; those that have none are missing."""
    holds: dict[int, list[HeldSeats]] = defaultdict(list)
    for hold in _read("hold.showtime_id = ANY(%s::bigint[])", [list(showtime_ids)]):
        holds[hold.showtime_id].append(hold)
    return dict(holds)


def showtimes_with_unended_holds() -> set[int]:
    """Return the showtimes at which there is a hold that nobody has ended."""
    return set(Hold.objects.filter(ended_at=None).order_by().values_list("showtime_id", flat=True).distinct())


def granted(hold: HeldSeats) -> locks.GrantedHold:
    """Return a hold as far as its locks want to know it."""
    return locks.GrantedHold(
        showtime_id=hold.showtime_id,
        hold_id=hold.hold_id,
        owner=locks.LockOwner(holder_id=hold.holder_id, user_id=hold.user_id),
        fences=dict(zip(hold.seats, hold.fences, strict=True)),
        locked_at=hold.locked_at,
        expires_at=hold.expires_at,
        lives_for=hold.lives_for,
    )


def _read(condition: str, parameters: list[Any]) -> list[HeldSeats]:
    with connection.cursor() as cursor:
        cursor.execute(_LIVE_HOLDS.format(condition=condition), parameters)
        return [
            HeldSeats(row[0], row[1], row[2], row[3], tuple(row[4]), tuple(row[5]), tuple(row[6]), *row[7:])
            for row in cursor.fetchall()
        ]
