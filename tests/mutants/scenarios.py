"""For each mutant a short story in which it does its harm: rivals stand where they must, and nothing depends on speed.

On sound code each of them ends well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from redis import Redis

from bookings.models import Booking, BookingStatus
from bookings.selectors.purchases import GRACE_SECONDS
from bookings.services import cancel_booking, carry_out_refund, settle_overdue_payments
from cinebook.core.errors import Refusal
from seating import locks
from seating.api.named_requests import refusal_answer
from seating.models import Hold, Holder, SeatChange, Showtime
from seating.selectors.holds import HeldSeats, granted
from seating.selectors.seat_map import SeatSnapshot, seat_snapshot
from seating.services import (
    Answer,
    HoldAnswer,
    NamedRequest,
    Once,
    answer_once,
    expire_holds,
    hold_best_seats,
    reconcile_seats,
    run_sale,
)
from seating.services.row_locks import lock_seats
from seating.services.seat_changes import free
from tests.support.asking import extend, hold, release
from tests.support.buying import FlakyDemo, buy, close_window, decide, let_try_again, notify
from tests.support.mutants import Meanwhile
from tests.support.passing_time import let_pass, wait_for_the_clock
from tests.support.promises import Promises
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
    """One showtime, two people, a provider, and all that anybody was told.

    `passed` is how much time has gone by that nobody had to wait for, in seconds.
    """

    showtime: Showtime
    ada: Holder
    ben: Holder
    provider: FlakyDemo
    redis: Redis
    events: list[Any] = dataclasses.field(default_factory=list)
    promises: Promises = dataclasses.field(default_factory=Promises)
    snapshots: list[SeatSnapshot] = dataclasses.field(default_factory=list)
    answers: list[object] = dataclasses.field(default_factory=list)
    past_the_cap: list[HeldSeats] = dataclasses.field(default_factory=list)
    refunds_that_failed: int = 0
    passed: float = 0

    def clock(self) -> float:
        return time.monotonic() + self.passed

    def look(self) -> None:
        """Let somebody who holds nothing open the map."""
        self.snapshots.append(seat_snapshot(showtime_id=self.showtime.pk, holder_id=None))

    def hold(self, holder: Holder, *codes: str) -> HeldSeats | None:
        sent = self.clock()
        try:
            held = hold(self.showtime, holder, *codes).hold
        except Refusal:
            return None
        self.promises.held(**self._told(held, sent), asked=codes)
        return held

    def extend(self, holder: Holder) -> None:
        sent = self.clock()
        with contextlib.suppress(Refusal):
            held = extend(self.showtime, holder)
            self.promises.extended(**self._told(held, sent))
            if held.expires_at > held.max_expires_at:
                self.past_the_cap.append(held)

    def release(self, holder: Holder, *codes: str) -> None:
        sent = self.clock()
        left = release(self.showtime, holder, *codes).hold
        self.promises.released(
            holder=holder.pk,
            showtime=self.showtime.pk,
            seats=codes or None,
            sent=sent,
            received=self.clock(),
            left=left.seats if left else (),
        )

    def buy(self, holder: Holder, *codes: str, token: str = "") -> Booking:
        held = self.hold(holder, *codes)
        assert held is not None
        sent = self.clock()
        booking = buy(held, token).booking
        told = self._told(held, sent, of=booking)
        if booking.status == BookingStatus.PENDING:
            self.promises.paying(**told, seconds=settings.PAYMENT_SECONDS)
        else:
            self.promises.booked(**told)
        return booking

    def stall(self, holder: Holder, *codes: str) -> Booking:
        """Let somebody be on the provider's page."""
        return self.buy(holder, *codes, token="stall")

    def decide(self, booking: Booking) -> None:
        """Let them pay there, and come back."""
        decide(booking)
        self.see(booking)

    def see(self, booking: Booking) -> None:
        """Let a buyer look at their booking."""
        sent = self.clock()
        booking.refresh_from_db()
        if booking.status == BookingStatus.CONFIRMED:
            codes = booking.tickets.values_list("seat__code", flat=True)
            self.promises.booked(
                reference=booking.reference,
                hold=str(booking.hold_id),
                holder=booking.holder_id,
                showtime=self.showtime.pk,
                seats=tuple(codes),
                sent=sent,
                received=self.clock(),
            )

    def cancel(self, booking: Booking) -> None:
        sent = self.clock()
        cancel_booking(holder_id=booking.holder_id, reference=booking.reference)
        self.promises.cancelled(reference=booking.reference, sent=sent, received=self.clock())

    def let_pass(self, seconds: float, held: HeldSeats) -> None:
        let_pass(seconds, held.hold_id)
        self.passed += seconds

    def close_window(self, booking: Booking, *, grace: bool = False) -> None:
        close_window(booking, grace=grace)
        self.passed += settings.PAYMENT_SECONDS + 1 + (GRACE_SECONDS if grace else 0)

    def a_mistake_frees(self, code: str, of: Booking) -> None:
        """Take a seat from a purchase: nothing that is correct does so, and the guards do not rely on that."""
        sent = self.clock()
        run_sale(lambda: self._free(code))
        lost = tuple(of.tickets.values_list("seat__code", flat=True))
        self.promises.house(showtime=self.showtime.pk, seats=lost, sent=sent, received=self.clock())

    def _free(self, code: str) -> None:
        seats = lock_seats(showtime_id=self.showtime.pk, codes=[code])
        free(showtime_id=self.showtime.pk, seats=seats, cause=SeatChange.RELEASED)

    def _told(self, held: HeldSeats, sent: float, of: Booking | None = None) -> dict[str, Any]:
        told = {
            "hold": str(held.hold_id),
            "holder": held.holder_id,
            "showtime": self.showtime.pk,
            "seats": held.seats,
            "sent": sent,
            "received": self.clock(),
        }
        return {**told, "reference": of.reference} if of else {**told, "expires_in": held.expires_in}


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


@tells("no_row_count", "verify_seats", "promises")
@tells("half_a_hold", "promises")
def one_of_two_seats_is_taken(house: House) -> None:
    house.hold(house.ben, "A1")
    house.hold(house.ada, "A1", "A2")


@tells("redis_lock_is_proof", "verify_seats", "promises", redis=True)
def redis_is_flushed_under_a_hold(house: House) -> None:
    house.hold(house.ben, "A1")
    house.redis.flushdb()
    house.hold(house.ada, "A1")
    reconcile_seats()


@tells("no_sort", "deadlocks")
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


@tells("takeover_by_join", "verify_seats", "promises")
def a_hold_is_extended_while_a_rival_waits_for_its_seat(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.let_pass(900 - 1, held)
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


@tells("takeover_of_a_paying_seat", "verify_seats")
def a_rival_wants_a_seat_whose_payment_takes_long(house: House) -> None:
    house.close_window(house.stall(house.ada, "A1", "A2"))
    house.hold(house.ben, "A1")


@tells("expiry_of_a_paying_hold", "verify_seats")
def the_clock_comes_by_a_payment_that_takes_long(house: House) -> None:
    house.close_window(house.stall(house.ada, "A1", "A2"))
    expire_holds(showtime_id=house.showtime.pk)


@tells("extension_past_the_cap", "verify_seats", "answers")
def a_hold_is_extended_at_its_cap(house: House) -> None:
    held = house.hold(house.ada, "A1")
    for seconds in (800, 800, 800, 200):
        let_pass(seconds, held.hold_id)
        house.extend(house.ada)


@tells("release_without_owner", "promises")
def somebody_releases_a_seat_of_somebody_else(house: House) -> None:
    house.hold(house.ben, "A1", "A2")
    house.hold(house.ada, "A3")
    house.release(house.ada, "A1", "A3")


# --- The ledger and the map -------------------------------------------------------------------------------------------


@tells("expiry_on_read", "viewers")
def a_map_is_opened_before_and_after_a_hold_runs_out(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.look()
    house.let_pass(901, held)
    house.look()


@tells("expiry_without_an_event", "verify_seats", "viewers")
def a_map_is_open_while_a_hold_expires(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.look()
    house.let_pass(901, held)
    expire_holds(showtime_id=house.showtime.pk)


@tells("counter_without_lock", "verify_seats", "viewers")
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


@tells("stale_snapshot", "viewers")
def a_seat_is_held_while_a_map_is_opened(house: House) -> None:
    def somebody_is_quick() -> None:
        Meanwhile.happens = lambda: None
        house.hold(house.ada, "A1")

    Meanwhile.happens = somebody_is_quick
    house.look()
    Meanwhile.happens()


# --- Buying -----------------------------------------------------------------------------------------------------------


@tells("sale_without_owner", "verify_seats", "promises")
@tells("half_a_sale", "verify_seats", "promises")
def a_seat_has_left_the_hold_that_is_being_paid(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    house.a_mistake_frees("A2", of=booking)
    house.hold(house.ben, "A2", "A3")
    house.decide(booking)


@tells("settled_without_looking_again", "errors")
def the_window_closes_while_the_money_comes(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    house.provider.away = {"cancel"}
    house.close_window(booking, grace=True)
    in_line(house.showtime, lambda: house.decide(booking), settle_overdue_payments)


@tells("late_payment_takes_anothers_seat", "verify_seats", "promises")
def money_comes_when_somebody_else_holds_the_seat(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    house.provider.away = {"cancel"}
    house.close_window(booking, grace=True)
    settle_overdue_payments()
    house.hold(house.ben, "A1")
    house.decide(booking)


@tells("notice_heard_twice", "verify_seats", "promises")
def a_notice_comes_twice(house: House) -> None:
    booking = house.stall(house.ada, "A1", "A2")
    house.decide(booking)
    notify(booking)


@tells("refund_carried_out_twice", "provider")
def somebody_comes_by_a_refund_that_is_under_way(house: House) -> None:
    booking = house.buy(house.ada, "A1")
    house.provider.away = {"refund"}
    house.cancel(booking)
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


@tells("answer_not_stored", "answers")
def a_request_with_a_name_comes_twice(house: House) -> None:
    named = NamedRequest(holder_id=house.ada.pk, key="k", request_hash="h")

    def tell(answer: HoldAnswer) -> Answer:
        return Answer(201, {"seats": list(answer.hold.seats)})

    def take_two() -> Answer:
        answer = hold_best_seats(
            holder_id=house.ada.pk,
            user_id=None,
            showtime_id=house.showtime.pk,
            quantity=2,
            once=Once(named, tell=tell),
        )
        return tell(answer)

    house.answers += [answer_once(named=named, work=take_two, refuse=refusal_answer) for _ in range(2)]


# --- Redis ------------------------------------------------------------------------------------------------------------


@tells("settle_writes_over_anothers_lock", "verify_seats", redis=True)
def a_lock_is_written_late(house: House) -> None:
    held = house.hold(house.ada, "A1")
    house.release(house.ada)
    house.hold(house.ben, "A1")
    locks.settle(hold=granted(held), nonce=None)
