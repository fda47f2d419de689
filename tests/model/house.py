"""One step of the model beside the same step of the product, and what the two must agree on after it."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection

from bookings.models import Booking, DemoPayment, PaymentStatus
from bookings.services import (
    adopt_bookings,
    call_off_showtime,
    cancel_booking,
    confirm_seats,
    demo_decide,
    reconcile,
    settle_overdue_payments,
    start_booking,
    verify_seats,
)
from cinebook.core.errors import Refusal
from cinebook.core.redis import locks_failures
from seating import services
from seating.locks import keys
from seating.models import BlockReason
from tests.model.model import Cinema
from tests.model.notices import FORGED, header_of, notice, send
from tests.model.product import OTHERS, PEOPLE, SHOWS, STRETCHES, Product
from tests.model.seats import Refused
from tests.support.buying import FlakyDemo, purchase
from tests.support.locks import assert_redis_says_what_postgresql_says
from tests.support.passing_time import let_pass

# So many moves are made between two thorough looks.
CHECKED_EVERY = 8

Expected = Callable[[Cinema], Any]
# What a step came to: a value, or a refusal's code with its seats.
Outcome = tuple[str, Any]


class House(Product):
    """The cinema of the model, and the one of the product."""

    def __init__(self, provider: FlakyDemo) -> None:
        super().__init__(provider)
        self.cinema = Cinema(shows=SHOWS, stretches=STRETCHES, others=OTHERS)
        self.steps = 0
        # Whether both have come to the same so far.
        self.agrees = True
        self.contradicted = False

    def come_to_rest(self) -> None:
        """Let everything be there again, and the reconciler come by: then nothing is left to be done."""
        self.provider_comes_back()
        self.redis_goes_or_comes(up=True)
        for which, booking in enumerate(reversed(self.cinema.bookings)):
            # What was lost on its way is told once more.
            if booking.books in ("CAPTURED", "DECLINED"):
                self.decide(which, booking.books)
        self.time_passes(35)
        self.reconcile()
        self.compare_closely(self.cinema)
        # What was told against the provider's own books stands against them.
        found = [
            finding for finding in verify_seats().findings if not (self.contradicted and "books" in finding.violation)
        ]
        assert found == []

    # --- Holding

    def hold(self, who: str, show: int, codes: list[str]) -> None:
        def actual() -> set[str]:
            answer = services.hold_seats(**self._asking(who, show), codes=codes)
            self._expect_locks(show, answer)
            return set(answer.hold.seats)

        def expected(cinema: Cinema) -> set[str]:
            return cinema.seats_of(cinema.hold(who, cinema.shows[show], codes))

        self._step(expected, actual, held_by_others=self._held_by_others(who, show, codes))

    def hold_best(self, who: str, show: int, quantity: int) -> None:
        taken: list[str] = []

        def actual() -> set[str]:
            answer = services.hold_best_seats(**self._asking(who, show), quantity=quantity)
            self._expect_locks(show, answer)
            taken.extend(answer.taken)
            return set(answer.hold.seats)

        def expected(cinema: Cinema) -> set[str]:
            return cinema.seats_of(cinema.hold_best(who, cinema.shows[show], quantity, taken))

        self._step(expected, actual)

    def extend(self, who: str, show: int, codes: list[str]) -> None:
        self._step(
            lambda cinema: cinema.seats_of(cinema.extend(who, cinema.shows[show], codes)),
            lambda: set(services.extend_hold(**self._named(who, show), codes=codes).seats),
        )

    def release(self, who: str, show: int, codes: list[str] | None) -> None:
        self._step(
            lambda cinema: cinema.release(who, cinema.shows[show], codes),
            lambda: set(services.release_seats(**self._named(who, show), codes=codes).released),
        )

    def expire(self, show: int) -> None:
        self._step(
            lambda cinema: cinema.expire(cinema.shows[show]),
            lambda: _quietly(services.expire_holds(showtime_id=self._shows[show])),
        )

    def sign_in(self, guest: str, user: str) -> None:
        def actual() -> bool:
            ids = {"guest_id": self._holders[guest].pk, "holder_id": self._holders[user].pk}
            done = services.adopt_holds(**ids)
            adopt_bookings(**ids)
            return done

        self._step(lambda cinema: cinema.sign_in(guest, user), actual)

    def time_passes(self, seconds: int) -> None:
        let_pass(seconds, *self._hold_ids)
        with connection.cursor() as cursor:
            for columns in (("bookings_booking", "pay_by", "hold_expires_at"), ("bookings_payment", "next_attempt_at")):
                table, *times = columns
                earlier = ", ".join(f"{time} = {time} - make_interval(secs => %(seconds)s)" for time in times)
                cursor.execute(f"UPDATE {table} SET {earlier}", {"seconds": seconds})  # noqa: S608 - named above
        self._let_locks_age(seconds * 1000)
        self._passed += seconds
        self._step(_nothing, _nothing)

    # --- Buying

    def buy(self, which: int, who: str | None, token: str) -> None:
        if not self.cinema.holds:
            return
        place = _place(self.cinema.holds, which)
        who = who or self.cinema.holds[place].holder

        def actual() -> int:
            asking = self._asking(who, 0)
            del asking["showtime_id"]
            answer = start_booking(**asking, hold_id=self._hold_ids[place], purchase=purchase(token))
            return self._number(answer.booking)

        self._step(lambda cinema: cinema.bookings.index(cinema.buy(who, cinema.holds[place], token)), actual)

    def confirm(self, which: int, dropped: int, token: str) -> None:
        """Buy a hold without so many of its seats."""
        if self.cinema.holds:
            hold = self.cinema.holds[_place(self.cinema.holds, which)]
            codes = sorted(self.cinema.seats_of(hold))[dropped:] or ["A1"]
            self.confirm_named(hold.holder, codes, token, show=self.cinema.shows.index(hold.show))

    def confirm_named(self, who: str, codes: list[str], token: str, show: int = 0) -> None:
        def actual() -> int:
            answer = confirm_seats(**self._asking(who, show), codes=codes, purchase=purchase(token))
            return self._number(answer.booking)

        self._step(lambda cinema: cinema.bookings.index(cinema.confirm(who, cinema.shows[show], codes, token)), actual)

    def decide(self, which: int, outcome: str) -> None:
        """Let somebody be on the provider's page."""
        place, _booking, books = self._purchase(which)
        if books:
            self._step(
                lambda cinema: cinema.decide(cinema.bookings[place], outcome),
                lambda: _quietly(demo_decide(reference=books.reference, outcome=PaymentStatus(outcome))),
            )

    def decide_silently(self, which: int, outcome: str) -> None:
        """Let the provider decide, and its notice be lost."""
        place, _booking, books = self._purchase(which)
        if books and books.status == "PENDING":
            DemoPayment.objects.filter(pk=books.pk).update(status=outcome)
            self.cinema.bookings[place].books = outcome
            self._step(_nothing, _nothing)

    def notice(self, which: int, told: str, times: int) -> None:
        place, _booking, books = self._purchase(which)
        if books:
            body = notice(books, told)
            self.contradicted |= told == "DECLINED" and books.status not in ("PENDING", "DECLINED")
            for _time in range(times):
                self._step(
                    lambda cinema: cinema.notice(cinema.bookings[place], told), lambda: send(body, header_of(body))
                )

    def notice_about_nothing(self, which: int, wrong: str) -> None:
        place, _booking, books = self._purchase(which)
        if not books or not self.cinema.bookings[place].known:
            return
        body = notice(books, "CAPTURED", **{wrong: {"order": "BK-0000000000", "amount": 1}.get(wrong, "nothing")})
        header = FORGED if wrong == "signature" else header_of(body)

        def expected(cinema: Cinema) -> None:
            if wrong == "signature":
                raise Refused("invalid_data")

        self._step(expected, lambda: send(body, header))

    def cancel(self, which: int, who: str | None) -> None:
        place, booking, _books = self._purchase(which)
        if booking is None:
            return
        who = who or self.cinema.bookings[place].holder
        holder_id = self._holders[who].pk
        self._step(
            lambda cinema: cinema.bookings.index(cinema.cancel(who, cinema.bookings[place])),
            lambda: self._number(cancel_booking(holder_id=holder_id, reference=booking.reference)),
        )

    def settle_overdue(self) -> None:
        self._step(lambda cinema: cinema.settle_overdue(), lambda: _quietly(settle_overdue_payments()))

    def provider_goes_away(self, call: str, *, lost: bool) -> None:
        for provider in (self._provider, self.cinema):
            (provider.lost if lost else provider.away).add(call)

    def provider_comes_back(self) -> None:
        for provider in (self._provider, self.cinema):
            provider.away.clear()
            provider.lost.clear()

    # --- The house

    def block(self, show: int, codes: list[str]) -> None:
        at = self._shows[show]
        self._step(
            lambda cinema: cinema.block(cinema.shows[show], codes),
            lambda: set(services.block_seats(showtime_id=at, codes=codes, reason=BlockReason.BROKEN)),
        )

    def unblock(self, show: int, codes: list[str]) -> None:
        self._step(
            lambda cinema: cinema.unblock(cinema.shows[show], codes),
            lambda: set(services.unblock_seats(showtime_id=self._shows[show], codes=codes)),
        )

    def withdraw(self, which: int) -> None:
        if not self.cinema.holds:
            return
        place = _place(self.cinema.holds, which)
        self._step(
            lambda cinema: cinema.withdraw(cinema.holds[place]),
            lambda: set(services.withdraw_hold(hold_id=self._hold_ids[place])),
        )

    def stop_sales(self, show: int) -> None:
        self._step(
            lambda cinema: setattr(cinema.shows[show], "selling", False),
            lambda: services.stop_sales(showtime_id=self._shows[show]),
        )

    def resume_sales(self, show: int) -> None:
        self._step(
            lambda cinema: cinema.resume_sales(cinema.shows[show]),
            lambda: services.resume_sales(showtime_id=self._shows[show]),
        )

    def call_off(self, show: int) -> None:
        self._step(
            lambda cinema: cinema.call_off(cinema.shows[show]),
            lambda: _quietly(call_off_showtime(showtime_id=self._shows[show])),
        )

    def reconcile(self) -> None:
        runs = []
        self._step(lambda cinema: cinema.reconcile(), lambda: runs.append(reconcile()))
        for run in runs:
            assert not run.error, run.error
            assert not run.findings, run.findings
        overdue = [hold for hold in self.cinema.holds if hold.paying and hold.ends <= self.cinema.now]
        # What waits for its provider longer than it should is left alone.
        if runs[0].redis_up and not overdue:
            assert_redis_says_what_postgresql_says(self._redis)

    # --- Redis

    def flush_redis(self) -> None:
        self._redis.flushdb()

    def redis_goes_or_comes(self, *, up: bool) -> None:
        self._let_redis_be(up=up)

    def damage_a_lock(self, show: int, code: str, damage: str) -> None:
        key = keys.seat_lock(self._shows[show], code)
        if damage == "gone":
            self._redis.delete(key)
            return
        stranger = {"showtime_id": self._shows[show], "user_id": None, "owner": "0", "hold_id": str(uuid.uuid4())}
        text = {
            "garbage": "{",
            "foreign": json.dumps({**stranger, "fence": 1}),
            "newer": json.dumps({**stranger, "fence": 10**6}),
        }[damage]
        self._redis.set(key, text, ex=600)

    # --- Both at once

    def _step(self, expected: Expected, actual: Callable[[], Any], *, held_by_others: Sequence[str] = ()) -> None:
        """Do something in both, and fail unless it comes to the same.

        Args:
            held_by_others: the seats for which Redis may refuse before anything is looked at, if it is there.
        """
        self.steps += 1
        self.agrees = False
        # A lock that stands in the way is compared with PostgreSQL once a second: let that second be over.
        self._redis.delete(*(keys.seat_checked(show, code) for show in self._shows for code in self._maps[0].seats))
        before = self.cinema
        before.now = self._now()
        after = copy.deepcopy(before)
        self._failures = locks_failures()
        told = _outcome(actual)
        wanted = _outcome(lambda: expected(after))
        stands = self._stands()
        refused_by_redis = (
            self._redis_is_up
            and told[0] == "seat_held"
            and told[1]
            and told[1].keys() <= set(held_by_others)
            and set(told[1].values()) == {"seat_held"}
        )
        if refused_by_redis and stands == _should_stand(before):
            self.agrees = True
            return
        assert told == wanted
        assert stands == _should_stand(after)
        self.cinema = after
        self.compare_maps(self.cinema, PEOPLE[self.steps % len(PEOPLE)])
        if self.steps % CHECKED_EVERY == 0:
            self.compare_closely(self.cinema)
        self.agrees = True

    def _held_by_others(self, who: str, show: int, codes: list[str]) -> list[str]:
        seats = self.cinema.shows[show].seats
        self.cinema.now = self._now()
        held = {code: seats[code].hold for code in codes if seats[code].status == "RESERVED"}
        return [code for code, hold in held.items() if hold and hold.holder != who and not self.cinema.lapsed(hold)]

    def _purchase(self, which: int) -> tuple[int, Booking | None, DemoPayment | None]:
        if not self.cinema.bookings:
            return 0, None, None
        place = _place(self.cinema.bookings, which)
        booking = Booking.objects.order_by("pk")[place]
        return place, booking, DemoPayment.objects.filter(order=booking.reference).first()


def _should_stand(cinema: Cinema) -> dict[str, Any]:
    return {
        "seats": [
            {code: (seat.status, seat.hold.number if seat.hold else None) for code, seat in show.seats.items()}
            for show in cinema.shows
        ],
        "holds": [(hold.holder, hold.paying, hold.ended) for hold in cinema.holds],
        "bookings": [(b.holder, b.hold.number, b.status, b.payment, b.books, set(b.codes)) for b in cinema.bookings],
    }


def _outcome(work: Callable[[], Any]) -> Outcome:
    try:
        return "done", work()
    except Refusal as refusal:
        return refusal.code.value, {code: why.value for code, why in refusal.data.get("seats", {}).items()}
    except Refused as refused:
        return refused.code, refused.seats


def _quietly(_said: object) -> None:
    """Leave out what a service says of how much it has done."""


def _nothing(*_: object) -> None:
    """Do nothing but look."""


def _place(things: Sequence[Any], which: int) -> int:
    """Count from the end, round and round."""
    return -1 - which % len(things) + len(things)
