"""What the house does with the seats of a showtime: keeps some back, gives them free again, takes holds back."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Collection, Sequence

import structlog
from django.db import connection
from django.utils.translation import gettext_lazy as _

from cinebook.core.errors import ErrorCode, Refusal, SeatsRefused
from seating.models import BlockReason, HoldEnd, SeatChange, SeatStatus
from seating.selectors.layouts import showtime_layout
from seating.services.announcing import announce_freed, announce_seats
from seating.services.expiry import expire_holds
from seating.services.ledger import ChangedSeat, record_changes
from seating.services.programme import make_missing_seats
from seating.services.row_locks import LockedHold, LockedSeat, lock_hold, lock_seats, lock_unpaid_holds
from seating.services.seat_changes import REASONS, end_holds, free
from seating.services.transactions import run_sale

log = structlog.get_logger(__name__)

NO_SEATS = _("Choose at least one seat.")
HOLD_IS_OVER = _("This hold is over already.")


@dataclasses.dataclass(frozen=True, slots=True)
class Withdrawn:
    """What the house took back: how many holds, and the seats that are free again."""

    holds: int
    seats: tuple[str, ...]


def block_seats(*, showtime_id: int, codes: Collection[str], reason: BlockReason) -> tuple[str, ...]:
    """Keep seats back, all of them or none; those that are blocked already stay as they are.

    Args:
        showtime_id: where and when.
        codes: the seats; none of them may be held or sold.
        reason: why.

    Returns:
        The seats that are blocked now and were not before.

    Raises:
        SeatsRefused: some are held or sold.
        Refusal: `not_found`, `unknown_seat`, `invalid_data` for no seats at all, `seat_locked`.
    """
    blocked = _change(showtime_id, codes, to=SeatStatus.BLOCKED, reason=BlockReason(reason).value)
    log.info("seats.blocked", showtime_id=showtime_id, seats=blocked, reason=BlockReason(reason).value)
    return blocked


def unblock_seats(*, showtime_id: int, codes: Collection[str]) -> tuple[str, ...]:
    """Give blocked seats back to the sale, all of them or none; those that are free already stay as they are.

    Args:
        showtime_id: where and when.
        codes: the seats; none of them may be held or sold.

    Returns:
        The seats that are free now and were not before.

    Raises:
        SeatsRefused: some are held or sold.
        Refusal: `not_found`, `unknown_seat`, `invalid_data` for no seats at all, `seat_locked`.
    """
    unblocked = _change(showtime_id, codes, to=SeatStatus.AVAILABLE, reason="")
    log.info("seats.unblocked", showtime_id=showtime_id, seats=unblocked)
    return unblocked


def withdraw_hold(*, hold_id: uuid.UUID) -> tuple[str, ...]:
    """Take a hold back from its holder, with all its seats.

    Returns:
        The seats that are free again; none if others have taken them all over.

    Raises:
        Refusal: `not_found`, `hold_expired` if it is over, `hold_paying`, `seat_locked`.
    """
    seats = run_sale(functools.partial(_withdraw_one, hold_id))
    log.info("hold.withdrawn", hold_id=str(hold_id), seats=seats)
    return seats


def withdraw_holds(*, showtime_id: int) -> Withdrawn:
    """Take back every hold at a showtime but those that are being paid.

    Returns:
        What was taken back.

    Raises:
        Refusal: `seat_locked`.
    """
    withdrawn = run_sale(functools.partial(_withdraw_all, showtime_id))
    log.info("holds.withdrawn", showtime_id=showtime_id, holds=withdrawn.holds, seats=withdrawn.seats)
    return withdrawn


def _change(showtime_id: int, codes: Collection[str], *, to: SeatStatus, reason: str) -> tuple[str, ...]:
    _check_codes(showtime_id, codes)
    # A hold that has run out stands in nobody's way; its end comes first.
    expire_holds(showtime_id=showtime_id)
    return run_sale(functools.partial(_write_block, showtime_id, codes, to=to, reason=reason))


def _check_codes(showtime_id: int, codes: Collection[str]) -> None:
    known = showtime_layout(showtime_id).by_code
    if not codes:
        raise Refusal(ErrorCode.INVALID_DATA, NO_SEATS)
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise Refusal(ErrorCode.UNKNOWN_SEAT, seats=dict.fromkeys(unknown, ErrorCode.UNKNOWN_SEAT))


def _write_block(showtime_id: int, codes: Collection[str], *, to: SeatStatus, reason: str) -> tuple[str, ...]:
    seats = lock_seats(showtime_id=showtime_id, codes=codes)
    if len(seats) < len(set(codes)):
        make_missing_seats(showtime_id=showtime_id)
        seats = lock_seats(showtime_id=showtime_id, codes=codes)
    taken = {seat.code: REASONS[seat.status] for seat in seats if seat.status in (SeatStatus.RESERVED, SeatStatus.SOLD)}
    if taken:
        raise SeatsRefused(taken)
    changing = [seat for seat in seats if seat.status is not to]
    if not changing:
        return ()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
            UPDATE seating_seat
            SET status = %(to)s, block_reason = %(reason)s, fence = fence + 1, updated_at = clock.now
            FROM clock
            WHERE id = ANY(%(seats)s) AND status IN ('AVAILABLE', 'BLOCKED') AND status <> %(to)s
            RETURNING clock.now
            """,
            {"to": to.value, "reason": reason, "seats": [seat.seat_id for seat in changing]},
        )
        changed = cursor.fetchall()
    assert len(changed) == len(changing), "the seats are locked"  # noqa: S101
    cause = SeatChange.BLOCKED if to is SeatStatus.BLOCKED else SeatChange.UNBLOCKED
    version = record_changes(
        showtime_id=showtime_id,
        changed=[
            ChangedSeat(seat_id=seat.seat_id, from_status=seat.status, to_status=to, cause=cause, hold_id=None)
            for seat in changing
        ],
        happened_at=changed[0][0],
    )
    assert version is not None, "the counter is there since the seats are"  # noqa: S101
    done = tuple(seat.code for seat in changing)
    # A stranger's word for the new status is the same as its own, in small letters.
    announce_seats(showtime_id=showtime_id, version=version, changes=dict.fromkeys(done, to.value.lower()))
    return done


def _withdraw_one(hold_id: uuid.UUID) -> tuple[str, ...]:
    hold = lock_hold(hold_id=hold_id)
    if hold.ended:
        raise Refusal(ErrorCode.HOLD_EXPIRED, HOLD_IS_OVER)
    if hold.paying:
        raise Refusal(ErrorCode.HOLD_PAYING)
    return _withdraw(hold.showtime_id, [hold])


def _withdraw_all(showtime_id: int) -> Withdrawn:
    holds = lock_unpaid_holds(showtime_id=showtime_id)
    return Withdrawn(holds=len(holds), seats=_withdraw(showtime_id, holds) if holds else ())


def _withdraw(showtime_id: int, holds: Sequence[LockedHold]) -> tuple[str, ...]:
    """End the locked holds and free their seats, all with one version."""
    seats: list[LockedSeat] = lock_seats(showtime_id=showtime_id, hold_ids=[hold.hold_id for hold in holds])
    freed = free(showtime_id=showtime_id, seats=seats, cause=SeatChange.WITHDRAWN) if seats else None
    fences = freed.fences if freed else {}
    end_holds([hold.hold_id for hold in holds], HoldEnd.WITHDRAWN)
    for hold in holds:
        announce_freed(
            showtime_id=showtime_id,
            holder_id=hold.holder_id,
            hold_id=hold.hold_id,
            fences={seat.code: fences[seat.code] for seat in seats if seat.hold_id == hold.hold_id},
            remaining=None,
            expired=False,
        )
    if freed:
        announce_seats(showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(fences, "available"))
    return tuple(seat.code for seat in seats)
