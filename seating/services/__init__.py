"""Writes. Every door (REST, socket, page, admin, task, command line) comes through here."""

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
from seating.services.leaving import leave, let_go_of_left_holds, stay, still_there
from seating.services.programme import make_missing_seats, make_seats, publish_layout, schedule_showtime
from seating.services.reconciling import SeatReconciliation, reconcile_seats

__all__ = [
    "HoldAnswer",
    "ReleaseAnswer",
    "SeatReconciliation",
    "check_quantity",
    "expire_holds",
    "extend_hold",
    "guest_holder",
    "hold_best_seats",
    "hold_seats",
    "leave",
    "let_go_of_left_holds",
    "make_missing_seats",
    "make_seats",
    "publish_layout",
    "reconcile_seats",
    "release_seats",
    "schedule_showtime",
    "showtimes_with_lapsed_holds",
    "stay",
    "still_there",
    "token_hash",
    "user_holder",
]
