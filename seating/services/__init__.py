"""Writes. Every door (REST, socket, page, admin, task, command line) comes through here."""

from seating.services.adopting import adopt_holds
from seating.services.answering import answer_once, begin_request, keep_answer
from seating.services.expiry import expire_holds, showtimes_with_lapsed_holds
from seating.services.hold_tokens import hold_token, token_hash
from seating.services.holders import guest_holder, user_holder
from seating.services.holding import (
    HoldAnswer,
    ReleaseAnswer,
    check_quantity,
    extend_hold,
    hold_best_seats,
    hold_seats,
    release_seats,
)
from seating.services.house import Withdrawn, block_seats, unblock_seats, withdraw_hold, withdraw_holds
from seating.services.idempotency import Answer, Begun, NamedRequest, Once, forget_old_answers
from seating.services.leaving import leave, let_go_of_left_holds, stay, still_there
from seating.services.programme import make_missing_seats, make_seats, publish_layout, schedule_showtime
from seating.services.reconciling import SeatReconciliation, mend_lost_locks, reconcile_seats
from seating.services.selling import (
    BookedHold,
    HoldInPayment,
    PricedSeat,
    begin_payment,
    release_paid_hold,
    resume_hold,
    return_seats,
    sell_hold,
    sell_late,
)
from seating.services.showtimes import (
    cancel_showtime,
    change_showtime,
    remove_showtime,
    resume_sales,
    stop_sales,
)
from seating.services.transactions import demand_transaction, run_sale

__all__ = [
    "Answer",
    "Begun",
    "BookedHold",
    "HoldAnswer",
    "HoldInPayment",
    "NamedRequest",
    "Once",
    "PricedSeat",
    "ReleaseAnswer",
    "SeatReconciliation",
    "Withdrawn",
    "adopt_holds",
    "answer_once",
    "begin_payment",
    "begin_request",
    "block_seats",
    "cancel_showtime",
    "change_showtime",
    "check_quantity",
    "demand_transaction",
    "expire_holds",
    "extend_hold",
    "forget_old_answers",
    "guest_holder",
    "hold_best_seats",
    "hold_seats",
    "hold_token",
    "keep_answer",
    "leave",
    "let_go_of_left_holds",
    "make_missing_seats",
    "make_seats",
    "mend_lost_locks",
    "publish_layout",
    "reconcile_seats",
    "release_paid_hold",
    "release_seats",
    "remove_showtime",
    "resume_hold",
    "resume_sales",
    "return_seats",
    "run_sale",
    "schedule_showtime",
    "sell_hold",
    "sell_late",
    "showtimes_with_lapsed_holds",
    "stay",
    "still_there",
    "stop_sales",
    "token_hash",
    "unblock_seats",
    "user_holder",
    "withdraw_hold",
    "withdraw_holds",
]
