"""Who signs in keeps what they held as a guest: the guest's holds become the user's.

Each showtime has a transaction of its own, in the one order of locks. What is being paid stays where it is, whoever has
it, until its payment is settled.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import structlog
from django.db import connection

from seating.models import HoldEnd, SeatChange
from seating.selectors.holds import unended_hold
from seating.services.announcing import announce_freed, announce_moved, announce_seats
from seating.services.row_locks import LockedHold, LockedSeat, lock_contending_holds, lock_holders, lock_seats
from seating.services.seat_changes import end_holds, free
from seating.services.transactions import run_sale

log = structlog.get_logger(__name__)


def adopt_holds(*, guest_id: int, holder_id: int) -> bool:
    """Give a guest's holds to the user who the guest turned out to be.

    Where both hold at one showtime, the newer hold stays and the other is released. A hold that is being paid is never
    moved or released: the guest's stays the guest's, and against the user's own no other hold is the newer.

    Args:
        guest_id: the guest's holder.
        holder_id: the user's.

    Returns:
        Whether all of it is done; if not, something of the guest's is being paid: call again once that is settled.

    Raises:
        Refusal: `seat_locked`; what was done at other showtimes stays done, and the rest can be asked for again.
    """
    done = True
    for showtime_id in _showtimes_of(guest_id):
        adopt = functools.partial(_adopt, showtime_id=showtime_id, guest_id=guest_id, holder_id=holder_id)
        done &= run_sale(adopt)
    run_sale(functools.partial(_adopt_ended, guest_id=guest_id, holder_id=holder_id))
    return done


def _showtimes_of(holder_id: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT showtime_id FROM seating_hold WHERE holder_id = %s AND ended_at IS NULL ORDER BY showtime_id",
            [holder_id],
        )
        return [row[0] for row in cursor.fetchall()]


def _adopt(*, showtime_id: int, guest_id: int, holder_id: int) -> bool:
    lock_holders([guest_id, holder_id])
    holds = lock_contending_holds(holder_ids=[guest_id, holder_id], showtime_id=showtime_id)
    guests, own = holds.get(guest_id), holds.get(holder_id)
    if guests is None:
        return True
    if guests.paying:
        return False
    seats = lock_seats(showtime_id=showtime_id, hold_ids=[hold.hold_id for hold in holds.values()])
    if own is None or _newer(guests, own):
        if own:
            _release(own, showtime_id, seats)
        _move(guests, showtime_id, seats, holder_id)
    else:
        _release(guests, showtime_id, seats)
    return True


def _newer(guests: LockedHold, own: LockedHold) -> bool:
    """Return whether the guest's hold is the one that stays. One whose time is over is no rival to one that lives."""
    return not own.paying and (not guests.lapsed, guests.locked_at) > (not own.lapsed, own.locked_at)


def _release(hold: LockedHold, showtime_id: int, seats: Sequence[LockedSeat]) -> None:
    leaving = [seat for seat in seats if seat.hold_id == hold.hold_id]
    freed = free(showtime_id=showtime_id, seats=leaving, cause=SeatChange.RELEASED) if leaving else None
    end_holds([hold.hold_id], HoldEnd.RELEASED)
    fences = freed.fences if freed else {}
    announce_freed(
        showtime_id=showtime_id,
        holder_id=hold.holder_id,
        hold_id=hold.hold_id,
        fences=fences,
        remaining=None,
        expired=False,
    )
    if freed:
        announce_seats(showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(fences, "available"))
    log.info("hold.given_up_for_another", hold_id=str(hold.hold_id), showtime_id=showtime_id, seats=list(fences))


def _move(hold: LockedHold, showtime_id: int, seats: Sequence[LockedSeat], holder_id: int) -> None:
    moving = [seat.seat_id for seat in seats if seat.hold_id == hold.hold_id]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE seating_hold SET holder_id = %s WHERE id = %s", [holder_id, hold.hold_id])
        # Their status stays, so the ledger has nothing to say; but a lock that is written late for the guest must
        # count as the older one.
        cursor.execute(
            "UPDATE seating_seat SET fence = fence + 1, updated_at = clock_timestamp() WHERE id = ANY(%s)", [moving]
        )
    announce_moved(
        hold=unended_hold(hold.hold_id),
        showtime_id=showtime_id,
        from_holder_id=hold.holder_id,
        to_holder_id=holder_id,
    )
    log.info("hold.moved", hold_id=str(hold.hold_id), holder_id=holder_id)


def _adopt_ended(*, guest_id: int, holder_id: int) -> None:
    """Move what is over, too, so that its page tells its user so, and a late payment finds who it was for."""
    lock_holders([guest_id, holder_id])
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_hold SET holder_id = %(user)s WHERE id IN (
                SELECT id FROM seating_hold WHERE holder_id = %(guest)s AND ended_at IS NOT NULL
                ORDER BY id FOR NO KEY UPDATE
            )
            """,
            {"guest": guest_id, "user": holder_id},
        )
