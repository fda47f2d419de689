"""Holds that are being paid for no booking: nobody would ever end them, for the clock leaves them to their payment."""

from __future__ import annotations

import functools
from collections.abc import Collection

import structlog

from bookings.selectors.purchases import holds_paid_for_nothing
from cinebook.core.errors import Refusal
from seating.services import BookedHold, release_paid_hold, run_sale

log = structlog.get_logger(__name__)


def free_holds_paid_for_nothing(*, showtime_ids: Collection[int] | None = None) -> list[str]:
    """End the holds that wait for a payment of no booking, once its time is over, and free their seats.

    It comes only of a mistake, so it is logged as one.

    Args:
        showtime_ids: at these showtimes; None for all.

    Returns:
        What was done, a line for each hold.
    """
    done = []
    for hold_id, holder_id, showtime_id in holds_paid_for_nothing():
        if showtime_ids is not None and showtime_id not in showtime_ids:
            continue
        booked = BookedHold(hold_id=hold_id, holder_id=holder_id, showtime_id=showtime_id)
        try:
            # A hold that is being paid is changed by its booking alone, and there is none.
            freed = run_sale(functools.partial(release_paid_hold, booked=booked))
        except Refusal:
            continue  # somebody has kept a row locked: the next run will find it
        if freed:
            log.error("reconciler.unpaid_hold_freed", hold_id=str(hold_id), showtime_id=showtime_id)
            done.append(f"showtime {showtime_id}: hold {hold_id} has ended, for no booking was being paid for it")
    return done
