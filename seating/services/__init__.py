"""Writes. Every door (REST, socket, page, admin, task, command line) comes through here."""

from seating.services.adopting import adopt_holds
from seating.services.expiry import expire_holds, showtimes_with_lapsed_holds
from seating.services.holders import guest_holder, user_holder
from seating.services.holding import (
    HoldAnswer,
    ReleaseAnswer,
    check_quantity,
    extend_hold,
    hold_best_seats,
    hold_seats,
    release_seats,
    token_hash,
)
from seating.services.programme import make_missing_seats, make_seats, publish_layout, schedule_showtime

__all__ = [
    "HoldAnswer",
    "ReleaseAnswer",
    "adopt_holds",
    "check_quantity",
    "expire_holds",
    "extend_hold",
    "guest_holder",
    "hold_best_seats",
    "hold_seats",
    "make_missing_seats",
    "make_seats",
    "publish_layout",
    "release_seats",
    "schedule_showtime",
    "showtimes_with_lapsed_holds",
    "token_hash",
    "user_holder",
]
