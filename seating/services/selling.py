"""How a hold is paid and becomes a sale: the steps of which a purchase is made.

Each is a part of its caller's transaction, beside the rows of the booking and its payment, and demands that there is
one (`run_sale`). The caller has locked those rows first; then each step locks holder, holds, seats and the showtime's
counter, in this order, and reads the clock after that.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence

from django.db import connection

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import HoldEnd, SeatChange, SeatStatus
from seating.selectors.holds import HeldSeats, unended_hold
from seating.services.announcing import announce_freed, announce_held, announce_seats
from seating.services.holding import check_codes, refuse_others
from seating.services.row_locks import (
    LockedHold,
    LockedSeat,
    lock_holder,
    lock_live_hold,
    lock_paid_hold,
    lock_seats,
)
from seating.services.sale_changes import Changed, begin_paying, bring_back, sell, stop_paying, take_again
from seating.services.seat_changes import end_holds, free
from seating.services.transactions import demand_transaction


@dataclasses.dataclass(frozen=True, slots=True)
class PricedSeat:
    """A seat with what it costs, in minor units."""

    seat_id: int
    code: str
    amount: int


@dataclasses.dataclass(frozen=True, slots=True)
class HoldInPayment:
    """A hold that is being paid, until `hold.expires_at`. `resumes_until` is when it would have ended otherwise."""

    hold: HeldSeats
    seats: tuple[PricedSeat, ...]
    resumes_until: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class BookedHold:
    """The hold that a purchase began with, and whose it is, where and when. It may have ended since."""

    hold_id: uuid.UUID
    holder_id: int
    showtime_id: int


def begin_payment(
    *, holder_id: int, showtime_id: int, hold_id: uuid.UUID | None = None, codes: Collection[str] | None = None
) -> HoldInPayment:
    """Begin to pay a hold: for PAYMENT_SECONDS, past its cap if need be, nobody changes it, its holder neither.

    Args:
        holder_id: whose.
        showtime_id: where and when.
        hold_id: the one hold that is meant; None for whichever lives.
        codes: which of its seats are wanted, the others are released; None for all.

    Returns:
        The hold as it is now, its seats with what they cost, and when it would have ended.

    Raises:
        Refusal: `hold_expired`, `hold_paying`, `unknown_seat`; `not_on_sale` if the showtime is cancelled.
        SeatsRefused: somebody else has one of the seats.
    """
    demand_transaction()
    check_codes(showtime_id, codes or ())
    lock_holder(holder_id=holder_id, showtime_id=showtime_id)
    own = lock_live_hold(holder_id=holder_id, showtime_id=showtime_id, hold_id=hold_id)
    if own and own.paying:
        raise Refusal(ErrorCode.HOLD_PAYING)
    if own is None or own.lapsed:
        raise Refusal(ErrorCode.HOLD_EXPIRED)
    if _is_cancelled(showtime_id):
        # Nobody takes money for what will not be shown. Sales that were merely stopped break no promise.
        raise Refusal(ErrorCode.NOT_ON_SALE)
    wanted = _lock_wanted(showtime_id, own, codes)
    until = begin_paying(hold_id=own.hold_id, seats=wanted)
    if until is None:
        raise Refusal(ErrorCode.HOLD_EXPIRED)
    resumes_until = _write_paying(own.hold_id, until)
    hold = _read(own.hold_id)
    announce_held(hold=hold, new=(), version=None, nonce=None)
    return HoldInPayment(hold=hold, seats=_priced(own.hold_id), resumes_until=resumes_until)


def resume_hold(*, booked: BookedHold, until: dt.datetime) -> HeldSeats | None:
    """Make a hold again what it was before its payment began, because that was declined or given up.

    Args:
        until: when it would have ended; it gets two minutes at the least.

    Returns:
        The hold; None if it is not being paid, or if there is nothing left of it.
    """
    demand_transaction()
    own = _lock_paying(booked)
    if own is None:
        return None
    seats = lock_seats(showtime_id=booked.showtime_id, hold_ids=[booked.hold_id])
    if not seats:
        # It comes only of a mistake; the purchase must come to its end all the same.
        end_holds([booked.hold_id], HoldEnd.RELEASED)
        _free(booked, seats, cause=SeatChange.RELEASED, expired=False)
        return None
    held_until = stop_paying(hold_id=booked.hold_id, seats=seats, until=until)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seating_hold SET paying = false, expires_at = %s WHERE id = %s", [held_until, booked.hold_id]
        )
    hold = _read(booked.hold_id)
    announce_held(hold=hold, new=(), version=None, nonce=None)
    return hold


def release_paid_hold(*, booked: BookedHold, cause: SeatChange = SeatChange.EXPIRED) -> bool:
    """End a hold whose payment will not come any more, and free its seats.

    Args:
        cause: `EXPIRED` when its time is over, `WITHDRAWN` when the house does it.

    Returns:
        Whether it was being paid.
    """
    demand_transaction()
    own = _lock_paying(booked)
    if own is None:
        return False
    seats = lock_seats(showtime_id=booked.showtime_id, hold_ids=[booked.hold_id])
    _free(booked, seats, cause=cause, expired=cause is SeatChange.EXPIRED)
    end_holds([booked.hold_id], HoldEnd.EXPIRED if cause is SeatChange.EXPIRED else HoldEnd.WITHDRAWN)
    return True


def sell_hold(*, booked: BookedHold, codes: Collection[str]) -> bool:
    """Turn every seat of a hold that is being paid from RESERVED into SOLD, and end the hold.

    One UPDATE for all seats, which asks whose reservation each of them is.

    Args:
        codes: the seats of the purchase.

    Returns:
        Whether they were sold; if not, nothing has changed.
    """
    demand_transaction()
    if _lock_paying(booked) is None:
        return False
    return _sell(booked, lock_seats(showtime_id=booked.showtime_id, codes=codes))


def sell_late(*, booked: BookedHold, prices: Mapping[str, int]) -> bool:
    """Sell the seats of a purchase whose payment came when its hold was not being paid any more: all, or none.

    They may still be in the hold, or free, or in another hold of the same holder; not in one that is being paid. What
    is not held is sold only while sales are open; what is held may be paid for as long as it is. While the hold itself
    is being paid once more, whatever its seats are by now, nothing is sold: it is that other purchase's.

    Args:
        prices: what was paid for each seat of the purchase, by code, in minor units.

    Returns:
        Whether they were sold; if not, nothing has changed.

    Raises:
        Refusal: `seat_locked` while the hold becomes somebody else's, or the showtime is cancelled.
    """
    demand_transaction()
    claim = lock_holder(holder_id=booked.holder_id, showtime_id=booked.showtime_id)
    holds = lock_paid_hold(hold_id=booked.hold_id, holder_id=booked.holder_id, showtime_id=booked.showtime_id)
    paid = next((hold for hold in holds if hold.hold_id == booked.hold_id), None)
    if paid is None:
        # Its holder has signed in since the purchase was read: whoever tells of the money again finds whose it is now.
        raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)
    if paid.paying:
        return False
    live = [hold.hold_id for hold in holds if not hold.ended]
    locked = lock_seats(showtime_id=booked.showtime_id, codes=prices.keys(), hold_ids=live)
    seats = [seat for seat in locked if seat.code in prices]
    if not claim.on_sale and not all(seat.hold_id in live for seat in seats):
        return False
    taken = take_again(
        showtime_id=booked.showtime_id, hold_id=booked.hold_id, own_holds=live, seats=seats, prices=prices
    )
    if taken is None:
        return False
    if taken.version is not None:
        new = [seat.code for seat in seats if seat.hold_id != booked.hold_id]
        announce_seats(showtime_id=booked.showtime_id, version=taken.version, changes=dict.fromkeys(new, "locked"))
    _tidy_up(booked, holds, locked, taken.fences)
    sold = _sell(
        booked, [dataclasses.replace(seat, status=SeatStatus.RESERVED, hold_id=booked.hold_id) for seat in seats]
    )
    if _is_cancelled(booked.showtime_id):
        # Since its caller has looked. Now that the counter is ours, whoever cancels it has either ended, or finds this.
        raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)
    return sold


def return_seats(*, booked: BookedHold, codes: Collection[str]) -> None:
    """Put the seats of a purchase that was cancelled back on sale."""
    demand_transaction()
    seats = lock_seats(showtime_id=booked.showtime_id, codes=codes)
    back = bring_back(showtime_id=booked.showtime_id, hold_id=booked.hold_id, seats=seats)
    _announce(booked.showtime_id, back, "available")


def _lock_wanted(showtime_id: int, own: LockedHold, codes: Collection[str] | None) -> list[LockedSeat]:
    """Lock the seats of a hold; release those that are not wanted, and return the others."""
    seats = lock_seats(showtime_id=showtime_id, codes=codes or (), hold_ids=[own.hold_id])
    if codes is None:
        return seats
    refuse_others(seats, own)
    wanted = [seat for seat in seats if seat.code in codes]
    if len(wanted) < len(codes):
        # Nobody has ever held a seat whose row has not been made.
        raise Refusal(ErrorCode.HOLD_EXPIRED)
    others = [seat for seat in seats if seat.code not in codes]
    freed = free(showtime_id=showtime_id, seats=others, cause=SeatChange.RELEASED) if others else None
    if freed:
        hold = _read(own.hold_id)
        announce_freed(
            showtime_id=showtime_id,
            holder_id=hold.holder_id,
            hold_id=own.hold_id,
            fences=freed.fences,
            remaining=hold,
            expired=False,
        )
        announce_seats(showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(freed.fences, "available"))
    return wanted


def _lock_paying(booked: BookedHold) -> LockedHold | None:
    lock_holder(holder_id=booked.holder_id, showtime_id=booked.showtime_id)
    own = lock_live_hold(holder_id=booked.holder_id, showtime_id=booked.showtime_id, hold_id=booked.hold_id)
    return own if own and own.paying else None


def _sell(booked: BookedHold, seats: Sequence[LockedSeat]) -> bool:
    sold = sell(showtime_id=booked.showtime_id, hold_id=booked.hold_id, seats=seats)
    if sold is None:
        return False
    end_holds([booked.hold_id], HoldEnd.SOLD)
    announce_freed(
        showtime_id=booked.showtime_id,
        holder_id=booked.holder_id,
        hold_id=booked.hold_id,
        fences=sold.fences,
        remaining=None,
        expired=False,
    )
    _announce(booked.showtime_id, sold, "occupied")
    return True


def _tidy_up(
    booked: BookedHold, holds: Sequence[LockedHold], locked: Sequence[LockedSeat], bought: Mapping[str, int]
) -> None:
    """See to what a late purchase leaves behind: seats picked since, and a hold that has lost seats to it.

    Args:
        locked: the seats of the holds and of the purchase, as they were before.
        bought: the fences of the purchase's seats, by code.
    """
    since = [seat for seat in locked if seat.hold_id == booked.hold_id and seat.code not in bought]
    if since:
        _free(booked, since, cause=SeatChange.RELEASED, expired=False)
    for hold_id in (hold.hold_id for hold in holds if hold.hold_id != booked.hold_id):
        lost = {seat.code: bought[seat.code] for seat in locked if seat.hold_id == hold_id and seat.code in bought}
        if not lost:
            continue
        remaining = unended_hold(hold_id)
        if remaining is None:
            end_holds([hold_id], HoldEnd.RELEASED)
        announce_freed(
            showtime_id=booked.showtime_id,
            holder_id=booked.holder_id,
            hold_id=hold_id,
            fences=lost,
            remaining=remaining,
            expired=False,
        )


def _free(booked: BookedHold, seats: Sequence[LockedSeat], *, cause: SeatChange, expired: bool) -> None:
    """Free what there is of a hold, and tell its holder."""
    freed = free(showtime_id=booked.showtime_id, seats=seats, cause=cause, payment_is_over=True) if seats else None
    fences = freed.fences if freed else {}
    announce_freed(
        showtime_id=booked.showtime_id,
        holder_id=booked.holder_id,
        hold_id=booked.hold_id,
        fences=fences,
        remaining=None,
        expired=expired,
    )
    if freed:
        announce_seats(
            showtime_id=booked.showtime_id, version=freed.version, changes=dict.fromkeys(fences, "available")
        )


def _announce(showtime_id: int, change: Changed, status: str) -> None:
    assert change.version is not None, "the seats have another status"  # noqa: S101
    announce_seats(showtime_id=showtime_id, version=change.version, changes=dict.fromkeys(change.fences, status))


def _is_cancelled(showtime_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT cancelled_at IS NOT NULL FROM seating_showtime WHERE id = %s", [showtime_id])
        cancelled: bool = cursor.fetchone()[0]
    return cancelled


def _write_paying(hold_id: uuid.UUID, until: dt.datetime) -> dt.datetime:
    """Return the end that the hold had until now."""
    with connection.cursor() as cursor:
        # Whoever pays is there, and gets the whole of the time that a decline leaves.
        cursor.execute(
            """
            UPDATE seating_hold AS hold SET paying = true, expires_at = %s, left_at = NULL
            FROM seating_hold AS before WHERE hold.id = %s AND before.id = hold.id
            RETURNING before.expires_at
            """,
            [until, hold_id],
        )
        expires_at: dt.datetime = cursor.fetchone()[0]
    return expires_at


def _priced(hold_id: uuid.UUID) -> tuple[PricedSeat, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT seat.id, seat.code, audit.price_amount
            FROM seat_holds AS audit JOIN seating_seat AS seat ON seat.id = audit.seat_id
            WHERE audit.hold_id = %s AND audit.ended_at IS NULL
            ORDER BY seat.position
            """,
            [hold_id],
        )
        return tuple(PricedSeat(*row) for row in cursor.fetchall())


def _read(hold_id: uuid.UUID) -> HeldSeats:
    hold = unended_hold(hold_id)
    assert hold is not None, "the hold lives and has seats"  # noqa: S101
    return hold
