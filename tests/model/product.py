"""The product as a model sees it: people and showtimes by name and number, and how everything stands."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any
from unittest import mock

from django.db import connection
from django.test import override_settings
from django.utils import timezone
from redis import Redis

from bookings.models import Booking, DemoPayment
from cinebook.core.redis import locks_failures
from seating import services
from seating.events import SeatsChanged
from seating.locks import keys
from seating.models import Hold, Seat
from seating.selectors.holds import live_hold
from seating.selectors.seat_changes import changes_since
from seating.selectors.seat_map import seat_snapshot
from tests import factories
from tests import settings as own
from tests.model.model import Cinema
from tests.support.asking import NOWHERE
from tests.support.buying import FlakyDemo, assert_bought_right
from tests.support.cleaning import delete_everything

USERS, GUESTS = ("ada", "ben"), ("guest 1", "guest 2")
PEOPLE = (*USERS, *GUESTS)
# The room of tests.factories: B1 is for a wheelchair, B2 for whoever comes with it.
STRETCHES = [["A1", "A2", "A3"], ["A4", "A5", "A6"], ["B3"], ["B4", "B5", "B6"], ["C1", "C2", "C3"], ["C4", "C5", "C6"]]
OTHERS = ["B1", "B2"]
PLACES = ("A1", "A2", "A3", "B1", "C2", "C3")
SHOWS = 2
# Ends differ by what happens between two looks at the clock; steps of time are longer.
NEARLY = 4


class Product:
    """A cinema of two showtimes in one room, and four people."""

    def __init__(self, provider: FlakyDemo) -> None:
        self._provider = provider
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
        # Made once and used again: each new one would lie on top of those before.
        self._without_redis = override_settings(REDIS_URL=NOWHERE)
        self._failures = 0
        self._opened_at = clock()
        self._passed = 0.0
        self._maps = [seat_snapshot(showtime_id=show, holder_id=None) for show in self._shows]
        self._events: list[Any] = []
        self._listening = mock.patch("seating.services.announcing.broadcast.send", self._events.append)
        self._listening.start()

    def close(self) -> None:
        self._listening.stop()
        self._let_redis_be(up=True)
        self._provider.away, self._provider.lost = set(), set()
        self._redis.flushdb()
        self._redis.close()
        delete_everything(None)

    def _let_redis_be(self, *, up: bool) -> None:
        if up != self._redis_is_up:
            (self._without_redis.disable if up else self._without_redis.enable)()
        self._redis_is_up = up

    def _asking(self, who: str, show: int) -> dict[str, Any]:
        return {**self._named(who, show), "user_id": self._holders[who].user_id}

    def _named(self, who: str, show: int) -> dict[str, Any]:
        return {"holder_id": self._holders[who].pk, "showtime_id": self._shows[show]}

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

    def compare_maps(self, cinema: Cinema, viewer: str) -> None:
        """Look whether what people see is what the model says, and what the events of this move have told them."""
        holder_id = self._holders[viewer].pk
        for number, (showtime_id, show) in enumerate(zip(self._shows, cinema.shows, strict=True)):
            seen = seat_snapshot(showtime_id=showtime_id, holder_id=holder_id)
            assert (seen.version, seen.seats) == (show.version, cinema.view(viewer, show))
            own = cinema.own(viewer, show)
            held = live_hold(holder_id=holder_id, showtime_id=showtime_id)
            assert set(held.seats if held else ()) == (set() if own and cinema.lapsed(own) else cinema.seats_of(own))

            seats, version = dict(self._maps[number].seats), self._maps[number].version
            sent = [e for e in self._events if isinstance(e, SeatsChanged) and e.showtime_id == showtime_id]
            assert sorted(sent, key=lambda e: e.version) == changes_since(showtime_id=showtime_id, version=version)
            for change in sorted(sent, key=lambda change: change.version):
                seats.update(change.changes)
            self._maps[number] = seat_snapshot(showtime_id=showtime_id, holder_id=None)
            assert self._maps[number].seats == seats == cinema.view(None, show)
        self._events.clear()

    def compare_closely(self, cinema: Cinema) -> None:
        """Look whether what is kept in several places agrees, and whether the ends are right: this takes longer."""
        for hold, hold_id in zip(cinema.holds, self._hold_ids, strict=True):
            if not hold.ended:
                row = Hold.objects.get(pk=hold_id)
                moments = [self._seconds(moment) for moment in (row.expires_at, row.max_expires_at)]
                assert abs(moments[0] - hold.ends) < NEARLY, (hold.number, moments, hold.ends)
                assert abs(moments[1] - hold.cap) < NEARLY
        for booking, row in zip(cinema.bookings, Booking.objects.order_by("pk"), strict=True):
            assert abs(self._seconds(row.pay_by) - booking.pay_by) < NEARLY
        for showtime_id in self._shows:
            assert_bought_right(Seat.objects.filter(showtime=showtime_id)[0].showtime)

    def _expect_locks(self, show: int, answer: services.HoldAnswer) -> None:
        """While Redis is up, and quick enough, the lock is there before the hold is answered."""
        for code in answer.taken if self._redis_is_up and locks_failures() == self._failures else ():
            lock = json.loads(self._redis.get(keys.seat_lock(self._shows[show], code)))
            assert lock["hold_id"] == str(answer.hold.hold_id)

    def _number(self, booking: Booking) -> int:
        return Booking.objects.filter(pk__lt=booking.pk).count()

    def _now(self) -> float:
        return clock() - self._opened_at + self._passed

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


def clock() -> float:
    """Return PostgreSQL's time, in seconds since 1970."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])
