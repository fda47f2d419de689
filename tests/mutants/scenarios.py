"""For each mutant a short story in which it does its harm: rivals stand where they must, and nothing depends on speed.

On sound code each of them ends well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

from redis import Redis

from bookings.models import Booking
from bookings.services import Answer, answer_once, cancel_booking, carry_out_refund, settle_overdue_payments
from cinebook.core.errors import Refusal
from seating import locks
from seating.models import Hold, Holder, SeatChange, Showtime
from seating.selectors.holds import HeldSeats
from seating.selectors.seat_map import SeatSnapshot, seat_snapshot
from seating.services import expire_holds, hold_best_seats, run_sale
from seating.services.announcing import granted
from seating.services.row_locks import lock_seats
from seating.services.seat_changes import free
from tests.support.asking import extend, hold, release
from tests.support.buying import FlakyDemo, buy, close_window, decide, let_try_again, notify
from tests.support.mutants import Meanwhile
from tests.support.passing_time import let_pass, run_out, wait_for_the_clock
from tests.support.rivals import (
    DEADLINE,
    in_background,
    in_line,
    rival_transaction,
    rows_locked,
    wait_for_waiters,
)

SEAT = "SELECT FROM seating_seat WHERE showtime_id = %s AND code = %s"
COUNTER = "SELECT FROM seating_showtimesales WHERE showtime_id = %s"


@dataclasses.dataclass(slots=True)
class House:
    """One showtime, two people, a provider, and all that anybody was told."""

    showtime: Showtime
    ada: Holder
    ben: Holder
    provider: FlakyDemo
    redis: Redis
    events: list[Any] = dataclasses.field(default_factory=list)
    snapshots: list[SeatSnapshot] = dataclasses.field(default_factory=list)
    holds: list[tuple[tuple[str, ...], HeldSeats]] = dataclasses.field(default_factory=list)
    given_up: set[tuple[uuid.UUID, str]] = dataclasses.field(default_factory=set)
    bookings: list[Booking] = dataclasses.field(default_factory=list)
    answers: dict[str, list[Answer]] = dataclasses.field(default_factory=dict)
    refunds_that_failed: int = 0

    def look(self) -> None:
        """Let somebody who holds nothing open the map."""
        self.snapshots.append(seat_snapshot(showtime_id=self.showtime.pk, holder_id=None))

    def hold(self, holder: Holder, *codes: str) -> HeldSeats | None:
        try:
            held = hold(self.showtime, holder, *codes).hold
        except Refusal:
            return None
        self.holds.append((codes, held))
        return held

    def extend(self, holder: Holder) -> None:
        with contextlib.suppress(Refusal):
            held = extend(self.showtime, holder)
            self.holds.append((held.seats, held))

    def release(self, holder: Holder, *codes: str) -> None:
        own = {held.hold_id for _codes, held in self.holds if held.holder_id == holder.pk}
        answer = release(self.showtime, holder, *codes)
        self.given_up |= {(hold_id, code) for hold_id in own for code in answer.released}

    def buy(self, holder: Holder, *codes: str, token: str = "") -> Booking:
        held = self.hold(holder, *codes)
        assert held is not None
        self.bookings.append(buy(held, token).booking)
        return self.bookings[-1]

    def stall(self, holder: Holder, *codes: str) -> Booking:
        """Let somebody be on the provider's page."""
        return self.buy(holder, *codes, token="stall")

    def ask_once(self, key: str, work: Callable[[], Answer]) -> None:
        """Let Ada send a request that has a name."""
        answer = answer_once(holder_id=self.ada.pk, key=key, request_hash="h", work=work)
        self.answers.setdefault(key, []).append(answer)


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """A story, and who sees the harm; `redis`: whether Redis is there."""

    mutant: str
    story: Callable[[House], None]
    seen_by: frozenset[str]
    redis: bool


SCENARIOS: list[Scenario] = []


def tells(mutant: str, *seen_by: str, redis: bool = False) -> Callable[[Callable[[House], None]], Callable[..., None]]:
    """Say which mutant a story is about, and which checkers see it."""

    def note(story: Callable[[House], None]) -> Callable[[House], None]:
        SCENARIOS.append(Scenario(mutant, story, frozenset(seen_by), redis))
        return story

    return note


# --- Holding ----------------------------------------------------------------------------------------------------------


@tells("no_row_count")
@tells("half_a_hold")
def one_of_two_seats_is_taken(house: House) -> None:
    house.hold(house.ben, "A1")
    house.hold(house.ada, "A1", "A2")


@tells("redis_lock_is_proof", redis=True)
def redis_is_flushed_under_a_hold(house: House) -> None:
    house.hold(house.ben, "A1")
    house.redis.flushdb()
    house.hold(house.ada, "A1")


@tells("no_sort")
def two_want_the_same_seats_in_opposite_order(house: House) -> None:
    with in_background() as start:
        with rows_locked(SEAT, [house.showtime.pk, "A2"]):
            with rows_locked(SEAT, [house.showtime.pk, "A1"]):
                futures = [start(lambda: house.hold(house.ada, "A1", "A2"))]
                wait_for_waiters(1)
                futures.append(start(lambda: house.hold(house.ben, "A2", "A1")))
                wait_for_waiters(2)
            # Whoever has A1 now goes on to A2, and waits there.
            wait_for_waiters(2)
        for future in futures:
            future.result(DEADLINE)


@tells("takeover_by_join")
def a_hold_is_extended_while_a_rival_waits_for_its_seat(house: House) -> None:
    held = house.hold(house.ada, "A1")
    let_pass(900 - 1, held.hold_id)
    ends_at = Hold.objects.get(pk=held.hold_id).expires_at
    with in_background() as start:
        # It lets the extension go as far as the seats, and no farther.
        with rival_transaction() as rival, rival.cursor() as cursor:
            cursor.execute("LOCK TABLE seating_hold IN SHARE MODE")
            extended = start(lambda: house.extend(house.ada))
            wait_for_waiters(1)
            wait_for_the_clock(ends_at)
            taken = start(lambda: house.hold(house.ben, "A1"))
            wait_for_waiters(2)
        extended.result(DEADLINE)
        taken.result(DEADLINE)


@tells("takeover_of_a_paying_seat")
def a_rival_wants_a_seat_whose_payment_takes_long(house: House) -> None:
    close_window(house.stall(house.ada, "A1", "A2"))
    house.hold(house.ben, "A1")


@tells("expiry_of_a_paying_hold")
def the_clock_comes_by_a_payment_that_takes_long(house: House) -> None:
    close_window(house.stall(house.ada, "A1", "A2"))
    expire_holds(showtime_id=house.showtime.pk)


@tells("extension_past_the_cap")
def a_hold_is_extended_at_its_cap(house: House) -> None:
    held = house.hold(house.ada, "A1")
    for seconds in (800, 800, 800, 200):
        let_pass(seconds, held.hold_id)
        house.extend(house.ada)


@tells("release_without_owner")
def somebody_releases_a_seat_of_somebody_else(house: House) -> None:
    house.hold(house.ben, "A1", "A2")
    house.hold(house.ada, "A3")
    house.release(house.ada, "A1", "A3")


# --- The ledger and the map -------------------------------------------------------------------------------------------


@tells("expiry_on_read")
def a_map_is_opened_before_and_after_a_hold_runs_out(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.look()
    run_out(held.hold_id)
    house.look()


@tells("expiry_without_an_event")
def a_map_is_open_while_a_hold_expires(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.look()
    run_out(held.hold_id)
    expire_holds(showtime_id=house.showtime.pk)


@tells("counter_without_lock")
def two_hold_different_seats_at_the_same_moment(house: House) -> None:
    house.look()
    with in_background() as start:
        with rows_locked(COUNTER, [house.showtime.pk]):
            futures = [start(lambda: house.hold(house.ada, "A1"))]
            wait_for_waiters(1)
            futures.append(start(lambda: house.hold(house.ben, "B1")))
            wait_for_waiters(2)
        for future in futures:
            future.result(DEADLINE)


@tells("stale_snapshot")
def a_seat_is_held_while_a_map_is_opened(house: House) -> None:
    def somebody_is_quick() -> None:
        Meanwhile.happens = lambda: None
        house.hold(house.ada, "A1")

    Meanwhile.happens = somebody_is_quick
    house.look()
    Meanwhile.happens()


# --- Buying -----------------------------------------------------------------------------------------------------------


@tells("sale_without_owner")
@tells("half_a_sale")
def a_seat_has_left_the_hold_that_is_being_paid(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    # Nothing that is correct does this; the sale does not rely on that.
    run_sale(lambda: _let_go(house, "A2"))
    house.hold(house.ben, "A2", "A3")
    house.given_up.add((booking.hold_id, "A2"))
    decide(booking)


def _let_go(house: House, *codes: str) -> None:
    seats = lock_seats(showtime_id=house.showtime.pk, codes=codes)
    free(showtime_id=house.showtime.pk, seats=seats, cause=SeatChange.RELEASED)


@tells("settled_without_looking_again")
def the_window_closes_while_the_money_comes(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    house.provider.away = {"cancel"}
    close_window(booking, grace=True)
    in_line(house.showtime, lambda: decide(booking), settle_overdue_payments)


@tells("late_payment_takes_anothers_seat")
def money_comes_when_somebody_else_holds_the_seat(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    house.provider.away = {"cancel"}
    close_window(booking, grace=True)
    settle_overdue_payments()
    house.hold(house.ben, "A1")
    decide(booking)


@tells("notice_heard_twice")
def a_notice_comes_twice(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    decide(booking)
    notify(booking)


@tells("refund_carried_out_twice")
def somebody_comes_by_a_refund_that_is_under_way(house: House) -> None:
    booking = house.buy(house.ada, "A1")
    house.provider.away = {"refund"}
    cancel_booking(holder_id=house.ada.pk, reference=booking.reference)
    house.refunds_that_failed = 1
    let_try_again(booking)
    house.provider.away = set()
    give_back = house.provider.refund

    def slowly(order: Any) -> Any:
        house.provider.refund = give_back
        carry_out_refund(reference=booking.reference)
        return give_back(order)

    house.provider.refund = slowly
    carry_out_refund(reference=booking.reference)


@tells("answer_not_stored")
def a_request_with_a_name_comes_twice(house: House) -> None:
    def take_two() -> Answer:
        answer = hold_best_seats(holder_id=house.ada.pk, user_id=None, showtime_id=house.showtime.pk, quantity=2)
        return Answer(201, {"seats": list(answer.hold.seats)})

    house.ask_once("k", take_two)
    house.ask_once("k", take_two)


# --- Redis ------------------------------------------------------------------------------------------------------------


@tells("settle_writes_over_anothers_lock", "redis", redis=True)
def a_lock_is_written_late(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.release(house.ada)
    house.hold(house.ben, "A1")
    locks.settle(hold=granted(held), nonce=None)
