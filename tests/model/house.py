"""One step of the model beside the same step of the product, and what the two must agree on after it."""

from __future__ import annotations

import copy
import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from bookings.models import Booking, DemoPayment, PaymentStatus
from bookings.payments.demo import EVENT_TYPES, SIGNATURE_HEADER
from bookings.payments.signatures import signature
from bookings.services import (
    adopt_bookings,
    call_off_showtime,
    cancel_booking,
    confirm_seats,
    demo_decide,
    receive_notice,
    reconcile,
    settle_overdue_payments,
    start_booking,
)
from cinebook.core.errors import Refusal
from cinebook.core.redis import locks_failures
from seating import services
from seating.events import SeatsChanged
from seating.locks import keys
from seating.models import BlockReason, Hold, Seat
from seating.selectors.holds import live_hold
from seating.selectors.seat_changes import changes_since
from seating.selectors.seat_map import seat_snapshot
from tests import factories
from tests import settings as own
from tests.model.model import Cinema, Refused
from tests.support.asking import NOWHERE
from tests.support.buying import FlakyDemo, assert_bought_right, purchase
from tests.support.cleaning import delete_everything
from tests.support.locks import assert_redis_says_what_postgresql_says
from tests.support.passing_time import let_pass

USERS, GUESTS = ("ada", "ben"), ("guest 1", "guest 2")
PEOPLE = (*USERS, *GUESTS)
# The room of tests.factories: B1 is for a wheelchair, B2 for whoever comes with it.
STRETCHES = [["A1", "A2", "A3"], ["A4", "A5", "A6"], ["B3"], ["B4", "B5", "B6"], ["C1", "C2", "C3"], ["C4", "C5", "C6"]]
OTHERS = ["B1", "B2"]
PLACES = ("A1", "A2", "A3", "B1", "C2", "C3")
SHOWS = 2
# Ends differ by what happens between two looks at the clock; steps of time are longer.
NEARLY = 4
# So many moves are made between two thorough looks.
CHECKED_EVERY = 8

Expected = Callable[[Cinema], Any]
# What a step came to: a value, or a refusal's code with its seats.
Outcome = tuple[str, Any]


class House:
    """The cinema of the model, and the one of the product."""

    def __init__(self, provider: FlakyDemo, settings: Settings) -> None:
        self.cinema = Cinema(shows=SHOWS, stretches=STRETCHES, others=OTHERS)
        self.steps = 0
        self._provider, self._settings = provider, settings
        room, movie = factories.AuditoriumFactory(), factories.MovieFactory()
        starts = [timezone.now() + dt.timedelta(hours=3 * (number + 1)) for number in range(SHOWS)]
        self._shows = [factories.make_showtime(auditorium=room, movie=movie, starts_at=at).pk for at in starts]
        users = [factories.HolderFactory(guest_key=None, user=factories.UserFactory(username=name)) for name in USERS]
        guests = [factories.HolderFactory() for _name in GUESTS]
        self._holders = dict(zip(PEOPLE, [*users, *guests], strict=True))
        self._hold_ids: list[uuid.UUID] = []
        self._redis = Redis.from_url(own.REDIS_URL, decode_responses=True)
        self._redis.flushdb()
        self._redis_is_up = True
        self._failures = 0
        self._opened_at = _clock()
        self._passed = 0.0
        self._maps = [seat_snapshot(showtime_id=show, holder_id=None) for show in self._shows]
        self._events: list[Any] = []
        self._listening = mock.patch("seating.services.announcing.broadcast.send", self._events.append)
        self._listening.start()

    @property
    def provider_is_away(self) -> bool:
        return bool(self._provider.away or self._provider.lost)

    def come_to_rest(self) -> None:
        """Let everything be there again, and the reconciler come by: then nothing is left to be done."""
        self.provider_comes_back()
        self.redis_goes_or_comes(up=True)
        self.time_passes(35)
        self.reconcile()
        self.check()

    def close(self) -> None:
        self._listening.stop()
        self._settings.REDIS_URL = own.REDIS_URL
        self._provider.away, self._provider.lost = set(), set()
        self._redis.flushdb()
        self._redis.close()
        delete_everything(None)

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
            body = _notice(books, told)
            for _time in range(times):
                self._step(
                    lambda cinema: cinema.notice(cinema.bookings[place], told), lambda: _send(body, _signature(body))
                )

    def notice_about_nothing(self, which: int, wrong: str) -> None:
        place, _booking, books = self._purchase(which)
        if not books or not self.cinema.bookings[place].known:
            return
        body = _notice(books, "CAPTURED", **{wrong: {"order": "BK-0000000000", "amount": 1}.get(wrong, "nothing")})
        header = "t=1,v1=forged" if wrong == "signature" else _signature(body)

        def expected(cinema: Cinema) -> None:
            if wrong == "signature":
                raise Refused("invalid_data")

        self._step(expected, lambda: _send(body, header))

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
        self._redis_is_up = up
        self._settings.REDIS_URL = own.REDIS_URL if up else NOWHERE

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
        # A lock that stands in the way is compared with PostgreSQL once a second: let that second be over.
        self._redis.delete(*(keys.seat_checked(show, code) for show in self._shows for code in self._maps[0].seats))
        before = self.cinema
        before.now = _clock() - self._opened_at + self._passed
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
            return
        assert told == wanted
        assert stands == _should_stand(after)
        self.cinema = after
        self._check_maps()
        if self.steps % CHECKED_EVERY == 0:
            self.check()

    def check(self) -> None:
        """Look whether what is kept in several places agrees, and whether the ends are right: this takes longer."""
        for hold, hold_id in zip(self.cinema.holds, self._hold_ids, strict=True):
            if not hold.ended:
                row = Hold.objects.get(pk=hold_id)
                moments = [self._seconds(moment) for moment in (row.expires_at, row.max_expires_at)]
                assert abs(moments[0] - hold.ends) < NEARLY, (hold.number, moments, hold.ends)
                assert abs(moments[1] - hold.cap) < NEARLY
        for booking, row in zip(self.cinema.bookings, Booking.objects.order_by("pk"), strict=True):
            assert abs(self._seconds(row.pay_by) - booking.pay_by) < NEARLY
        for showtime_id in self._shows:
            assert_bought_right(Seat.objects.filter(showtime=showtime_id)[0].showtime)

    def _check_maps(self) -> None:
        viewer = PEOPLE[self.steps % len(PEOPLE)]
        holder_id = self._holders[viewer].pk
        for number, (showtime_id, show) in enumerate(zip(self._shows, self.cinema.shows, strict=True)):
            seen = seat_snapshot(showtime_id=showtime_id, holder_id=holder_id)
            assert (seen.version, seen.seats) == (show.version, self.cinema.view(viewer, show))
            own = self.cinema.own(viewer, show)
            held = live_hold(holder_id=holder_id, showtime_id=showtime_id)
            assert set(held.seats if held else ()) == (
                set() if own and self.cinema.lapsed(own) else self.cinema.seats_of(own)
            )

            seats, version = dict(self._maps[number].seats), self._maps[number].version
            sent = [e for e in self._events if isinstance(e, SeatsChanged) and e.showtime_id == showtime_id]
            assert sorted(sent, key=lambda e: e.version) == changes_since(showtime_id=showtime_id, version=version)
            for change in sorted(sent, key=lambda change: change.version):
                seats.update(change.changes)
            self._maps[number] = seat_snapshot(showtime_id=showtime_id, holder_id=None)
            assert self._maps[number].seats == seats == self.cinema.view(None, show)
        self._events.clear()

    def _stands(self) -> dict[str, Any]:
        """How everything stands in PostgreSQL and in the provider's books, in the words of the model."""
        names = {holder.pk: name for name, holder in self._holders.items()}
        holds = {hold.pk: hold for hold in Hold.objects.order_by("locked_at")}
        self._hold_ids += [hold_id for hold_id in holds if hold_id not in self._hold_ids]
        numbers = {hold_id: number for number, hold_id in enumerate(self._hold_ids)}
        seats: list[dict[str, Any]] = [{} for _show in self._shows]
        for showtime, code, status, hold_id in Seat.objects.values_list("showtime", "code", "status", "hold"):
            seats[self._shows.index(showtime)][code] = (status, numbers.get(hold_id))
        books = dict(DemoPayment.objects.values_list("order", "status"))
        return {
            "seats": seats,
            "holds": [
                (names[hold.holder_id], hold.paying, hold.ended_at is not None)
                for hold in (holds[hold_id] for hold_id in self._hold_ids)
            ],
            "bookings": [
                (
                    names[booking.holder_id],
                    numbers[booking.hold_id],
                    booking.status,
                    booking.payment.status,
                    books.get(booking.reference),
                    {ticket.seat.code for ticket in booking.tickets.all()},
                )
                for booking in Booking.objects.order_by("pk")
                .select_related("payment")
                .prefetch_related("tickets__seat")
            ],
        }

    def _asking(self, who: str, show: int) -> dict[str, Any]:
        return {**self._named(who, show), "user_id": self._holders[who].user_id}

    def _named(self, who: str, show: int) -> dict[str, Any]:
        return {"holder_id": self._holders[who].pk, "showtime_id": self._shows[show]}

    def _held_by_others(self, who: str, show: int, codes: list[str]) -> list[str]:
        seats = self.cinema.shows[show].seats
        return [code for code in codes if (hold := seats[code].hold) and not hold.ended and hold.holder != who]

    def _expect_locks(self, show: int, answer: services.HoldAnswer) -> None:
        """While Redis is up, and quick enough, the lock is there before the hold is answered."""
        for code in answer.taken if self._redis_is_up and locks_failures() == self._failures else ():
            lock = json.loads(self._redis.get(keys.seat_lock(self._shows[show], code)))
            assert lock["hold_id"] == str(answer.hold.hold_id)

    def _purchase(self, which: int) -> tuple[int, Booking | None, DemoPayment | None]:
        if not self.cinema.bookings:
            return 0, None, None
        place = _place(self.cinema.bookings, which)
        booking = Booking.objects.order_by("pk")[place]
        return place, booking, DemoPayment.objects.filter(order=booking.reference).first()

    def _number(self, booking: Booking) -> int:
        return Booking.objects.filter(pk__lt=booking.pk).count()

    def _seconds(self, moment: dt.datetime) -> float:
        return moment.timestamp() - self._opened_at + self._passed

    def _let_locks_age(self, milliseconds: int) -> None:
        for key in self._redis.scan_iter():
            left = self._redis.pttl(key) - milliseconds
            if left <= 0:
                self._redis.delete(key)
                continue
            self._redis.pexpire(key, left)
            if key.startswith("locked_seats"):
                for code, ends_at in self._redis.zrange(key, 0, -1, withscores=True):
                    self._redis.zadd(key, {code: ends_at - milliseconds})


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


def _clock() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])


def _notice(books: DemoPayment, told: str, **wrong: Any) -> bytes:
    said = {"order": books.order, "amount": books.amount, "currency": books.currency, "reference": books.reference}
    said |= wrong
    payment = {"id": said["reference"], "metadata": {"order": said["order"]}}
    payment |= {name: said[name] for name in ("amount", "currency")}
    event = {"id": f"evt_{books.reference}_{told.lower()}", "type": EVENT_TYPES[PaymentStatus(told)]}
    if wrong:
        event["id"] = f"evt_{uuid.uuid4()}"
    return json.dumps({**event, "created": int(time.time()), "data": {"object": payment}}).encode()


def _signature(body: bytes) -> str:
    return signature(secret=settings.DEMO_WEBHOOK_SECRET, body=body, at=int(time.time()))


def _send(body: bytes, header: str) -> None:
    receive_notice(provider="demo", body=body, headers={SIGNATURE_HEADER: header})
