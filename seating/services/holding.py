"""Taking seats, keeping them, and letting them go.

The way of a request for seats: the locks in Redis refuse quickly what is taken, or are taken themselves for a moment;
then one transaction in PostgreSQL decides; after its commit the locks get their real end and the event goes out.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import random
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import connection
from django.utils.translation import gettext_lazy as _

from cinebook.core.errors import ErrorCode, Refusal, SeatsRefused
from seating import locks
from seating.models import HoldEnd, SeatChange
from seating.selectors.best_seats import offered_seats
from seating.selectors.holds import HeldSeats, unended_hold
from seating.selectors.layouts import showtime_layout
from seating.selectors.seat_map import seats_of_others
from seating.services.announcing import announce_freed, announce_held, announce_seats
from seating.services.expiry import expire_holds
from seating.services.hold_tokens import hold_token, token_hash
from seating.services.idempotency import Once
from seating.services.programme import make_missing_seats
from seating.services.row_locks import Claim, LockedHold, LockedSeat, lock_holder, lock_live_hold, lock_seats
from seating.services.seat_changes import REASONS, Reserved, end_holds, free, reserve
from seating.services.transactions import run_sale

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

# How often the best seats are looked for again when somebody else was quicker.
BEST_SEATS_ATTEMPTS = 4
NONE_TOGETHER = _("There are not that many free seats side by side. Try fewer, or pick them on the map.")


@dataclasses.dataclass(frozen=True, slots=True)
class HoldAnswer:
    """A hold after seats were asked for. `taken` are those that are new in it; `token` is told only when it is made."""

    hold: HeldSeats
    taken: tuple[str, ...]
    token: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseAnswer:
    """What a release let go, and the hold as it is now; None if nothing is left of it."""

    released: tuple[str, ...]
    hold: HeldSeats | None
    server_time: dt.datetime


class _Lapsed(Exception):  # noqa: N818 - a turn of events
    """The holder's hold is over, but nobody has ended it yet: that comes first."""


def hold_seats(
    *,
    holder_id: int,
    user_id: int | None,
    showtime_id: int,
    codes: Sequence[str],
    once: Once[HoldAnswer] | None = None,
) -> HoldAnswer:
    """Take seats for a holder, beside those that they hold at the showtime already; all of them or none.

    Args:
        holder_id: who wants them.
        user_id: who that is; None for a guest.
        showtime_id: where and when.
        codes: the seats, each once. Seats that are the holder's already are no obstacle.
        once: the request, if it has named itself.

    Returns:
        The hold with all its seats, its time renewed.

    Raises:
        SeatsRefused: somebody else holds or bought a seat, or the house keeps it.
        Refusal: `not_found`, `unknown_seat`, `too_many_seats`, `not_on_sale`, `hold_paying`, `seat_locked`.
    """
    check_codes(showtime_id, codes)
    nonce = uuid.uuid4()
    owner = locks.LockOwner(holder_id=holder_id, user_id=user_id)
    take = functools.partial(_take, holder_id=holder_id, showtime_id=showtime_id, codes=codes, nonce=nonce)
    try:
        _lock_in_redis(showtime_id=showtime_id, codes=codes, owner=owner, nonce=nonce)
        try:
            answer = _run_afresh(take, showtime_id, once)
        except BaseException:
            locks.give_up(showtime_id=showtime_id, codes=codes, nonce=nonce)
            raise
    except SeatsRefused as refused:
        log.info("hold.refused", holder_id=holder_id, showtime_id=showtime_id, seats=refused.data["seats"])
        alternatives = offered_seats(showtime_id=showtime_id, count=len(codes), near=codes)
        raise SeatsRefused(refused.data["seats"], alternatives) from refused
    log.info("hold.taken", hold_id=str(answer.hold.hold_id), showtime_id=showtime_id, seats=answer.taken)
    return answer


def hold_best_seats(
    *,
    holder_id: int,
    user_id: int | None,
    showtime_id: int,
    quantity: int,
    once: Once[HoldAnswer] | None = None,
) -> HoldAnswer:
    """Take the best free seats together for a holder.

    Args:
        holder_id: who wants them.
        user_id: who that is; None for a guest.
        showtime_id: where and when.
        quantity: how many seats.
        once: the request, if it has named itself.

    Returns:
        The hold with all its seats, its time renewed.

    Raises:
        SeatsRefused: others were quicker, several times in a row.
        Refusal: `seat_held` if nowhere so many seats together are free; or what `hold_seats` raises.
    """
    check_quantity(quantity)
    attempt = 0
    while True:
        attempt += 1
        groups = offered_seats(showtime_id=showtime_id, count=quantity)
        if not groups:
            raise Refusal(ErrorCode.SEAT_HELD, NONE_TOGETHER, alternatives=[])
        # Everybody is offered the same best seats: whoever was too slow for them is better off with other ones.
        codes = groups[0] if attempt == 1 else random.choice(groups)  # noqa: S311
        try:
            return hold_seats(holder_id=holder_id, user_id=user_id, showtime_id=showtime_id, codes=codes, once=once)
        except SeatsRefused:
            if attempt == BEST_SEATS_ATTEMPTS:
                raise


def extend_hold(
    *, holder_id: int, showtime_id: int, codes: Collection[str] = (), hold_id: uuid.UUID | None = None
) -> HeldSeats:
    """Renew the time of a holder's hold, as far as its cap.

    Args:
        holder_id: whose.
        showtime_id: where and when.
        codes: seats that must all be in it; empty for whatever it has.
        hold_id: the one hold that is meant, so that a later one of the holder is left alone; None for any.

    Returns:
        The hold; at its cap it ends when it did.

    Raises:
        Refusal: `hold_expired` if there is no live hold, or a seat that nobody has is not in it; `hold_paying`.
        SeatsRefused: somebody else has one of the seats.
    """
    check_codes(showtime_id, codes)
    extend = functools.partial(_extend, holder_id=holder_id, showtime_id=showtime_id, codes=codes, hold_id=hold_id)
    return _run_afresh(extend, showtime_id)


def release_seats(
    *,
    holder_id: int,
    showtime_id: int,
    codes: Collection[str] | None = None,
    hold_id: uuid.UUID | None = None,
    only_if_left: bool = False,
) -> ReleaseAnswer:
    """Let seats go; the time of those that stay is renewed.

    Args:
        holder_id: whose.
        showtime_id: where and when.
        codes: which of them; seats that the holder does not hold are passed over. None for all.
        hold_id: the one hold that is meant, so that a later one of the holder is left alone; None for any.
        only_if_left: release nothing if the holder has been seen again since their page was closed.

    Returns:
        What was let go, which is nothing if there is no such hold, and what is left.

    Raises:
        Refusal: `not_found` if there is no such showtime, `unknown_seat`, `hold_paying`.
    """
    check_codes(showtime_id, codes or ())
    release = functools.partial(
        _release,
        holder_id=holder_id,
        showtime_id=showtime_id,
        codes=codes,
        hold_id=hold_id,
        only_if_left=only_if_left,
    )
    answer = _run_afresh(release, showtime_id)
    log.info("hold.released", holder_id=holder_id, showtime_id=showtime_id, seats=answer.released)
    return answer


def check_quantity(quantity: int) -> None:
    """Refuse more seats than a hold may have.

    Raises:
        Refusal: `too_many_seats`, with the `limit`.
    """
    if quantity > settings.MAX_SEATS_PER_HOLD:
        raise Refusal(ErrorCode.TOO_MANY_SEATS, limit=settings.MAX_SEATS_PER_HOLD)


def check_codes(showtime_id: int, codes: Collection[str]) -> None:
    """Refuse codes that the auditorium does not have, and more of them than a hold may have.

    Raises:
        Refusal: `unknown_seat`, `too_many_seats`; `not_found` if there is no such showtime.
    """
    check_quantity(len(codes))
    known = showtime_layout(showtime_id).by_code
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise Refusal(ErrorCode.UNKNOWN_SEAT, seats=dict.fromkeys(unknown, ErrorCode.UNKNOWN_SEAT))


def _lock_in_redis(*, showtime_id: int, codes: Sequence[str], owner: locks.LockOwner, nonce: uuid.UUID) -> None:
    """Lock the seats in Redis, or refuse at once. Locks that PostgreSQL does not know are passed over."""
    in_the_way = locks.acquire(showtime_id=showtime_id, codes=codes, owner=owner, nonce=nonce)
    unchecked = {code: found.lock for code, found in in_the_way.items() if found.unchecked}
    if unchecked:
        reserved = seats_of_others(showtime_id=showtime_id, codes=unchecked, holder_id=owner.holder_id)
        ghosts = {code: lock for code, lock in unchecked.items() if code not in reserved}
        if ghosts:
            log.warning("lock.ghosts_forgotten", showtime_id=showtime_id, seats=list(ghosts))
            locks.forget(showtime_id=showtime_id, locks=ghosts)
            in_the_way = locks.acquire(showtime_id=showtime_id, codes=codes, owner=owner, nonce=nonce)
    if in_the_way:
        # Nobody knows yet whether an attempt will be granted the seat.
        raise SeatsRefused(
            {code: ErrorCode.SEAT_LOCKED if lock.deciding else ErrorCode.SEAT_HELD for code, lock in in_the_way.items()}
        )


def _take(*, holder_id: int, showtime_id: int, codes: Sequence[str], nonce: uuid.UUID) -> HoldAnswer:
    claim = lock_holder(holder_id=holder_id, showtime_id=showtime_id)
    own = _changeable(lock_live_hold(holder_id=holder_id, showtime_id=showtime_id))
    hold_id = own.hold_id if own else nonce
    seats = _lock_wanted(showtime_id=showtime_id, codes=codes, hold_id=hold_id)
    new = [seat.code for seat in seats if seat.hold_id != hold_id]
    check_quantity(len(seats))
    if new and not claim.on_sale:
        raise Refusal(ErrorCode.NOT_ON_SALE)

    places = showtime_layout(showtime_id).by_code
    categories = {code: places[code].category for code in new}
    reserved = reserve(claim=claim, hold_id=hold_id, seats=seats, categories=categories)
    token = None
    if own is None:
        token = hold_token(hold_id)
        _write_hold(claim=claim, hold_id=hold_id, token=token, reserved=reserved)
    else:
        _write_expiry(hold_id=hold_id, reserved=reserved)
    hold = _read(hold_id)
    announce_held(hold=hold, new=new, version=reserved.version, nonce=nonce)
    return HoldAnswer(hold=hold, taken=tuple(new), token=token)


def _extend(*, holder_id: int, showtime_id: int, codes: Collection[str], hold_id: uuid.UUID | None) -> HeldSeats:
    claim = lock_holder(holder_id=holder_id, showtime_id=showtime_id)
    own = _changeable(lock_live_hold(holder_id=holder_id, showtime_id=showtime_id, hold_id=hold_id))
    if own is None:
        raise Refusal(ErrorCode.HOLD_EXPIRED)
    seats = lock_seats(showtime_id=showtime_id, codes=codes, hold_ids=[own.hold_id])
    refuse_others(seats, own)
    if not seats:
        # Its time ran out while we waited for the seats, and somebody has taken over the last of them.
        raise _Lapsed
    _write_expiry(hold_id=own.hold_id, reserved=reserve(claim=claim, hold_id=own.hold_id, seats=seats, categories={}))
    hold = _read(own.hold_id)
    announce_held(hold=hold, new=(), version=None, nonce=None)
    return hold


def _release(
    *,
    holder_id: int,
    showtime_id: int,
    codes: Collection[str] | None,
    hold_id: uuid.UUID | None,
    only_if_left: bool,
) -> ReleaseAnswer:
    claim = lock_holder(holder_id=holder_id, showtime_id=showtime_id)
    own = _changeable(lock_live_hold(holder_id=holder_id, showtime_id=showtime_id, hold_id=hold_id))
    if own is None or (only_if_left and not own.left):
        return ReleaseAnswer(released=(), hold=None, server_time=claim.now)
    seats = lock_seats(showtime_id=showtime_id, hold_ids=[own.hold_id])
    leaving = [seat for seat in seats if codes is None or seat.code in codes]
    staying = [seat for seat in seats if seat not in leaving]
    if staying:
        reserved = reserve(claim=claim, hold_id=own.hold_id, seats=staying, categories={})
        _write_expiry(hold_id=own.hold_id, reserved=reserved)
    else:
        end_holds([own.hold_id], HoldEnd.RELEASED)
    # After the rest, because it locks the counter that all others of the showtime wait for.
    freed = free(showtime_id=showtime_id, seats=leaving, cause=SeatChange.RELEASED) if leaving else None
    hold = _read(own.hold_id) if staying else None
    fences = freed.fences if freed else {}
    announce_freed(
        showtime_id=showtime_id,
        holder_id=holder_id,
        hold_id=own.hold_id,
        fences=fences,
        remaining=hold,
        expired=False,
    )
    if freed:
        announce_seats(showtime_id=showtime_id, version=freed.version, changes=dict.fromkeys(fences, "available"))
    return ReleaseAnswer(released=tuple(seat.code for seat in leaving), hold=hold, server_time=claim.now)


def _run_afresh(work: Callable[[], Result], showtime_id: int, once: Once[Result] | None = None) -> Result:
    """Run a change of seats; a hold that is over without having been ended is ended first."""
    try:
        return run_sale(work, once=once)
    except _Lapsed:
        expire_holds(showtime_id=showtime_id)
    try:
        return run_sale(work, once=once)
    except _Lapsed as error:
        # Somebody else was ending it and has not come to the end.
        raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1) from error


def _changeable(hold: LockedHold | None) -> LockedHold | None:
    """Return the hold, unless it must be left alone or ended first."""
    if hold and hold.paying:
        raise Refusal(ErrorCode.HOLD_PAYING)
    if hold and hold.lapsed:
        raise _Lapsed
    return hold


def _lock_wanted(*, showtime_id: int, codes: Collection[str], hold_id: uuid.UUID) -> list[LockedSeat]:
    seats = lock_seats(showtime_id=showtime_id, codes=codes, hold_ids=[hold_id])
    if {seat.code for seat in seats}.issuperset(codes):
        return seats
    make_missing_seats(showtime_id=showtime_id)
    return lock_seats(showtime_id=showtime_id, codes=codes, hold_ids=[hold_id])


def refuse_others(seats: Sequence[LockedSeat], own: LockedHold) -> None:
    """Refuse if any of the seats is not in the hold.

    Raises:
        SeatsRefused: somebody else has one.
        Refusal: `hold_expired` if nobody has.
    """
    others = [seat for seat in seats if seat.hold_id != own.hold_id]
    taken = {seat.code: REASONS[seat.status] for seat in others if seat.status in REASONS}
    if taken:
        raise SeatsRefused(taken)
    if others:
        raise Refusal(ErrorCode.HOLD_EXPIRED, seats={seat.code: ErrorCode.HOLD_EXPIRED for seat in others})


def _write_hold(*, claim: Claim, hold_id: uuid.UUID, token: str, reserved: Reserved) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO seating_hold
                (id, holder_id, showtime_id, token_hash, locked_at, expires_at, max_expires_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            """,
            [
                hold_id,
                claim.holder_id,
                claim.showtime_id,
                token_hash(token),
                reserved.now,
                reserved.until,
                reserved.now + dt.timedelta(seconds=settings.SEAT_HOLD_MAX_SECONDS),
            ],
        )


def _write_expiry(*, hold_id: uuid.UUID, reserved: Reserved) -> None:
    with connection.cursor() as cursor:
        # Whoever does something with a hold is there.
        cursor.execute(
            "UPDATE seating_hold SET expires_at = %s, left_at = NULL WHERE id = %s", [reserved.until, hold_id]
        )


def _read(hold_id: uuid.UUID) -> HeldSeats:
    hold = unended_hold(hold_id)
    assert hold is not None, "the transaction has just written it"  # noqa: S101
    return hold
