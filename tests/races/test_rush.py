"""A rush on a real house: two web processes, many people, and a Redis that dies and comes back in the middle.

Everybody keeps a view of their own: what the answers made them believe. Whatever the interleaving, no two views
overlap, and afterwards PostgreSQL, ledger, money and Redis say what the views say (I1, I2, I4, I6, I7, I8, I10).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cinema import MIGRATE, Cinema, running_cinema

PEOPLE = 20
PROCESSES = 2
# How long the rush lasts before Redis dies, while it is dead, and after it has come back, in seconds.
SPELL = 2.7
MOST_SEATS = 6
EXPECTED = {
    (200, None),
    (201, None),
    (400, "too_many_seats"),
    (402, "payment_declined"),
    (409, "seat_held"),
    (409, "seat_booked"),
    (409, "seat_locked"),
    (409, "hold_paying"),
}
CONTACT = {"name": "Ada Example", "email": "ada@example.org"}
DRAWING = "\n".join(f"{row} ssssssssss.ssssssssss" for row in "ABC")

# A showtime whose seats are not made yet: the first of the rush make them, all at once.
PREPARE = f"""{MIGRATE}
from tests.factories import make_showtime
showtime = make_showtime(drawing={DRAWING!r})
showtime.seats.all().delete()
showtime.sales.delete()
"""
# Everything that must be true when the dust has settled; it prints who has which seat.
CHECK = """
import json
from django.conf import settings
from redis import Redis
from bookings.models import Ticket
from bookings.selectors.invariants import BOOKING_INVARIANTS
from bookings.services.reconciling import reconcile
from seating.models import Seat, Showtime
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from tests.support.buying import assert_bought_right, assert_provider_agrees
from tests.support.locks import assert_redis_says_what_postgresql_says

showtime = Showtime.objects.get()
assert_bought_right(showtime)
assert_provider_agrees()
found = broken_invariants([*SEAT_INVARIANTS, *BOOKING_INVARIANTS])
assert not found, found
run = reconcile()
assert not run.error and not run.repaired_rows and not run.findings, (run.error, run.repaired_rows, run.findings)
with Redis.from_url(settings.REDIS_URL, decode_responses=True) as redis:
    assert_redis_says_what_postgresql_says(redis)
held = {code: str(hold) for code, hold in Seat.objects.filter(status="RESERVED").values_list("code", "hold")}
sold = Ticket.objects.filter(cancelled_at=None, seat__status="SOLD").values_list("seat__code", "booking__reference")
assert len(sold) == Seat.objects.filter(status="SOLD").count()
print(json.dumps({**held, **dict(sold)}))
"""


class Views:
    """What everybody believes: whose each seat is. Nobody may come to believe it of a seat that is another's."""

    def __init__(self) -> None:
        self.owners: dict[str, Person] = {}
        self.answers: Counter[tuple[str, int, str | None]] = Counter()
        self.unexpected: list[str] = []

    def take(self, person: Person, seats: set[str]) -> None:
        for code in seats:
            other = self.owners.setdefault(code, person)
            assert other is person, f"{code} was promised to two people"

    def leave(self, seats: set[str]) -> None:
        for code in seats:
            del self.owners[code]


class Person:
    """A guest with a connection that stays open. They let go in belief before they ask, and take after the answer."""

    def __init__(self, number: int, port: int, views: Views) -> None:
        self.dice = random.Random(number)  # noqa: S311 - no secret
        self.port = port
        self.views = views
        self.token = ""
        self.held: set[str] = set()
        self.hold_id = ""
        self.bought: dict[str, set[str]] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, kind: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        payload = json.dumps(body or {}).encode()
        head = [f"{method} /api/v1/{path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(payload)}"]
        head += ["Content-Type: application/json"]
        head += [f"Authorization: Bearer {self.token}"] if self.token else []
        head += [f"Idempotency-Key: {uuid.UUID(int=self.dice.getrandbits(128))}"] if path == "bookings" else []
        writer.write("\r\n".join([*head, "", ""]).encode() + payload)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line[15:]) for line in answer.split("\r\n") if line.startswith("content-length:"))
        content = json.loads(await reader.readexactly(length))
        status = int(answer.split(" ", 2)[1])
        code = content.get("code") if status >= 400 else None
        self.views.answers[kind, status, code] += 1
        if (status, code) not in EXPECTED:
            self.views.unexpected.append(f"{kind}: {status} {content}")
        return status, content

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()

    async def rush(self, showtime: int, codes: list[str], over: asyncio.Event) -> None:
        seats = f"showtimes/{showtime}/seats"
        while not over.is_set():
            await self.pick(seats, self.dice.sample(codes, self.dice.randint(1, MOST_SEATS)))
            if not self.held:
                continue
            match self.dice.choice(["keep", "drop one", "drop all", "drop all", "buy", "decline", "stall", "nothing"]):
                case "keep":
                    _status, hold = await self.ask("extend", "PUT", f"{seats}/extend-lock")
                    assert set(hold["seats"]) == self.held
                case "drop one":
                    await self.drop(seats, {self.dice.choice(sorted(self.held))})
                case "drop all":
                    await self.drop(seats, None)
                case "buy":
                    await self.buy()
                case "decline":
                    status, _error = await self.order("decline")
                    assert status == 402
                case "stall":
                    await self.stall(seats)
            if self.bought and self.dice.random() < 0.7:
                await self.give_back()

    async def pick(self, seats: str, wanted: list[str]) -> None:
        status, hold = await self.ask("lock", "POST", f"{seats}/lock", {"seats": wanted})
        if status < 400:
            assert set(hold["seats"]) == self.held.union(wanted)
            self.views.take(self, set(hold["seats"]))
            self.held, self.hold_id = set(hold["seats"]), hold["hold_id"]

    async def drop(self, seats: str, which: set[str] | None) -> None:
        going = self.held if which is None else which
        self.views.leave(going)
        _status, answer = await self.ask(
            "unlock", "DELETE", f"{seats}/unlock", {"seats": sorted(which)} if which else {}
        )
        assert set(answer["released"]) == going
        self.held = self.held - going

    async def order(self, token: str) -> tuple[int, Any]:
        payment = {"provider": "demo", "token": token}
        return await self.ask(
            f"book, {token}", "POST", "bookings", {"hold_id": self.hold_id, "contact": CONTACT, "payment": payment}
        )

    async def buy(self) -> None:
        _status, booking = await self.order("succeed")
        assert (booking["status"], set(booking["seats"])) == ("CONFIRMED", self.held)
        self.bought[booking["reference"]], self.held = self.held, set()

    async def stall(self, seats: str) -> None:
        """Begin to pay, find that nothing can be changed meanwhile, and think better of it."""
        _status, booking = await self.order("stall")
        assert booking["status"] == "PENDING"
        status, error = await self.ask("keep while paying", "PUT", f"{seats}/extend-lock")
        assert (status, error["code"]) == (409, "hold_paying")
        _status, booking = await self.ask("cancel", "POST", f"bookings/{booking['reference']}/cancel")
        assert booking["status"] == "CANCELLED"

    async def give_back(self) -> None:
        reference, seats = self.bought.popitem()
        self.views.leave(seats)
        _status, booking = await self.ask("refund", "POST", f"bookings/{reference}/cancel")
        assert booking["status"] == "REFUNDED"


@pytest.fixture
def cinema(tmp_path: Path) -> Iterator[Cinema]:
    with running_cinema(folder=tmp_path, prepare=PREPARE, webs=PROCESSES, worker=False) as cinema:
        yield cinema


async def rush(cinema: Cinema) -> Views:
    views = Views()
    people = [Person(number, cinema.web[number % PROCESSES].port, views) for number in range(PEOPLE)]
    with contextlib.ExitStack() as stack:
        for person in people:
            stack.callback(person.close)
        await rush_of(people, cinema)
    await asyncio.sleep(0)  # the connections close in the loop's next round
    return views


async def rush_of(people: list[Person], cinema: Cinema) -> None:
    for person in people:
        _status, guest = await person.ask("guest", "POST", "auth/guest")
        person.token = guest["access"]
    _status, listed = await people[0].ask("showtimes", "GET", "showtimes")
    showtime = listed["results"][0]["id"]
    _status, layout = await people[0].ask("layout", "GET", f"showtimes/{showtime}/layout")
    codes = [seat["code"] for row in layout["rows"] for seat in row["seats"]]

    over = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for person in people:
            tasks.create_task(person.rush(showtime, codes, over))
        await asyncio.sleep(SPELL)
        cinema.redis.kill()
        await asyncio.sleep(SPELL)
        cinema.redis.start()
        await asyncio.sleep(SPELL)
        over.set()


def test_a_rush_with_redis_killed_in_the_middle(cinema: Cinema) -> None:
    views = asyncio.run(rush(cinema))

    assert views.unexpected == []
    for kind in ("lock", "unlock", "extend", "book, succeed", "cancel", "refund"):
        assert views.answers[kind, 200, None] + views.answers[kind, 201, None] >= 3, views.answers
    assert views.answers["lock", 409, "seat_held"] > PEOPLE
    standing = {
        code: next((name for name, seats in person.bought.items() if code in seats), person.hold_id)
        for code, person in views.owners.items()
    }
    assert json.loads(cinema.python(CHECK).splitlines()[-1]) == standing
    for web in cinema.web:
        assert "Traceback" not in web.log.read_text()
