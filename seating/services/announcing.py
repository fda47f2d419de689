"""What follows a commit: the locks in Redis say what PostgreSQL has decided, and everybody who watches hears of it.

Both are best effort. A lock that could not be written is missed by nobody, since PostgreSQL decides; an event that was
lost is found by its version.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Mapping

from django.db import transaction

from seating import broadcast, locks
from seating.events import HoldChanged, HoldExpired, SaleChanged, SeatsChanged
from seating.locks import TRUE_FOR_SECONDS
from seating.selectors.holds import HeldSeats, granted


def announce_held(*, hold: HeldSeats, new: Iterable[str], version: int | None, nonce: uuid.UUID | None) -> None:
    """After the commit, write the locks of a hold and tell of its new seats.

    Args:
        hold: as PostgreSQL has it.
        new: the codes of the seats that were taken now.
        version: the showtime's version with them; None if there are none.
        nonce: the attempt whose provisional locks are replaced, if there was one.
    """
    new = tuple(new)
    decided_at = time.monotonic()

    def after_commit() -> None:
        # A process that was stopped on the way no longer knows what is true; the lock ends by itself.
        if time.monotonic() - decided_at < TRUE_FOR_SECONDS:
            locks.settle(hold=granted(hold), nonce=nonce)
        if version is not None:
            broadcast.send(SeatsChanged(hold.showtime_id, version, dict.fromkeys(new, "locked")))
        broadcast.send(HoldChanged(hold.holder_id, hold.showtime_id))

    transaction.on_commit(after_commit, robust=True)


def announce_freed(
    *,
    showtime_id: int,
    holder_id: int,
    hold_id: uuid.UUID,
    fences: Mapping[str, int],
    remaining: HeldSeats | None,
    expired: bool,
    overtaken: Collection[str] = (),
) -> None:
    """After the commit, take away the locks of seats that left a hold, and tell its holder.

    Args:
        fences: of the seats that left, by code.
        remaining: the hold as it is now, None when it has ended.
        expired: whether the clock ended it.
        overtaken: the seats that others took over before it was ended, for the holder to know; their locks are others'.
    """
    decided_at = time.monotonic()

    def after_commit() -> None:
        locks.release(
            showtime_id=showtime_id,
            hold_id=hold_id,
            fences=fences,
            remaining=granted(remaining) if remaining else None,
        )
        if remaining and time.monotonic() - decided_at < TRUE_FOR_SECONDS:
            locks.settle(hold=granted(remaining), nonce=None)
        if expired:
            broadcast.send(HoldExpired(holder_id, showtime_id, hold_id, (*fences, *overtaken)))
        else:
            broadcast.send(HoldChanged(holder_id, showtime_id))

    transaction.on_commit(after_commit, robust=True)


def announce_moved(*, hold: HeldSeats | None, showtime_id: int, from_holder_id: int, to_holder_id: int) -> None:
    """After the commit, write the locks of a hold for its new holder, and tell both.

    Args:
        hold: as PostgreSQL has it now; None if no seat is left in it.
    """
    decided_at = time.monotonic()

    def after_commit() -> None:
        if hold and time.monotonic() - decided_at < TRUE_FOR_SECONDS:
            locks.settle(hold=granted(hold), nonce=None)
        broadcast.send(HoldChanged(from_holder_id, showtime_id))
        broadcast.send(HoldChanged(to_holder_id, showtime_id))

    transaction.on_commit(after_commit, robust=True)


def announce_seats(*, showtime_id: int, version: int, changes: Mapping[str, str]) -> None:
    """After the commit, tell everybody who watches the showtime what its seats are now."""
    event = SeatsChanged(showtime_id, version, dict(changes))
    transaction.on_commit(lambda: broadcast.send(event), robust=True)


def announce_sale(*, showtime_id: int) -> None:
    """After the commit, tell everybody who watches the showtime that it sells again, or no longer."""
    event = SaleChanged(showtime_id)
    transaction.on_commit(lambda: broadcast.send(event), robust=True)
