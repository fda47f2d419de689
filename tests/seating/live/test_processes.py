"""Real web processes beside each other, with a real Redis between them that dies, hangs and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.cinema import MIGRATE, Cinema, Web, running_cinema, wait_until

# Until a change is seen: while all is well, and while messages between processes are lost and PostgreSQL is asked.
AT_ONCE, SOON = 1.0, 2.0
PREPARE = f"""{MIGRATE}
from tests.factories import make_showtime
make_showtime()
"""


@dataclasses.dataclass
class House:
    """Two web processes on the same engines, a guest, and a showtime with its seats."""

    cinema: Cinema
    token: str
    showtime_id: int
    seats: list[str]

    @property
    def webs(self) -> list[Web]:
        return self.cinema.web

    def hold(self, web: Web, *seats: str) -> float:
        """Hold seats through a process; return when it answered."""
        web.ask("POST", f"showtimes/{self.showtime_id}/seats/lock", {"seats": seats}, self.token)
        return time.monotonic()

    def let_go(self, web: Web) -> None:
        web.ask("DELETE", f"showtimes/{self.showtime_id}/seats/unlock", {}, self.token)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with running_cinema(prepare=PREPARE, worker=False) as cinema:
        web = cinema.web[0]
        (showtime,) = web.ask("GET", "showtimes")["results"]
        showtime_id = showtime["id"]
        seats = list(web.ask("GET", f"showtimes/{showtime_id}/seats/status")["seats"])
        yield House(cinema, web.guest(), showtime_id, seats)


class Map:
    """A client's map of a showtime, kept as docs/protocol.md says."""

    def __init__(self, connection: ClientConnection, showtime_id: int) -> None:
        self.connection = connection
        self.showtime_id = showtime_id
        self.seats: dict[str, str] = {}
        self.version = -1
        self.events: list[str] = []

    async def join(self) -> None:
        await self.connection.send(
            json.dumps({"event": "join:showtime", "data": {"showtime_id": self.showtime_id}, "id": 1})
        )
        while self.version < 0:
            await self.next()

    async def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.connection.recv())
        data = frame["data"]
        self.events.append(frame["event"])
        if frame["event"] == "seats:availability":
            self.seats, self.version = data["seats"], data["version"]
        elif frame["event"] == "seat:status:changed":
            assert data["from_version"] == self.version
            self.seats |= data["changes"]
            self.version = data["version"]
        return frame

    async def sees(self, code: str, status: str, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while self.seats[code] != status:
                await self.next()


@contextlib.asynccontextmanager
async def map_at(house: House, web: Web, token: str = "") -> AsyncIterator[Map]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(f"ws://127.0.0.1:{web.port}/ws/seats/", additional_headers=headers, proxy=None) as connection:
        client = Map(connection, house.showtime_id)
        await client.join()
        yield client


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(in_time())


@pytest.fixture(autouse=True)
def _nothing_held(house: House) -> Iterator[None]:
    yield
    house.let_go(house.webs[0])


def test_each_process_hears_what_happens_in_the_other(house: House) -> None:
    async def scene() -> None:
        one, two = house.webs
        code, other = house.seats[:2]
        async with map_at(house, one) as near, map_at(house, two, house.token) as far:
            await asyncio.to_thread(house.hold, one, code)
            await near.sees(code, "locked", AT_ONCE)
            await far.sees(code, "locked", AT_ONCE)
            while "hold:changed" not in far.events:
                await far.next()
            await asyncio.to_thread(house.hold, two, other)
            await near.sees(other, "locked", AT_ONCE)
            await far.sees(other, "locked", AT_ONCE)
            assert near.version == far.version
            assert "hold:changed" not in near.events

    run(scene)


def test_an_idle_socket_lives_and_hears_after_a_long_silence(house: House) -> None:
    """redis-py gives up on a silent connection after 5 s, unless it is told otherwise."""

    async def scene() -> None:
        one, two = house.webs
        async with map_at(house, two) as idle, map_at(house, one, house.token), map_at(house, two, house.token):
            deaf = two.has_said("live.deaf")
            silent_since = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(12.5):
                    while True:
                        frame = await idle.next()
            assert time.monotonic() - silent_since > 12
            assert set(idle.events[1:]) == {"heartbeat"}
            # The guest has a socket at each process, and is one person; the other is a stranger.
            assert frame["data"]["viewers"] == 2
            status = await asyncio.to_thread(one.ask, "GET", f"showtimes/{house.showtime_id}/seats/status")
            assert status["viewers"] == 2

            await asyncio.to_thread(house.hold, one, house.seats[0])

            await idle.sees(house.seats[0], "locked", AT_ONCE)
            assert two.has_said("live.deaf") == deaf

    run(scene)


def test_the_map_lives_while_redis_is_dead_and_is_quick_again_when_it_is_back(house: House) -> None:
    async def scene() -> None:
        one, two = house.webs
        first, second, third = house.seats[:3]
        async with map_at(house, one) as near, map_at(house, two) as far:
            heard = two.has_said("live.listening")
            for redis in (house.cinema.redis, house.cinema.messages):
                redis.kill()
            try:
                await asyncio.to_thread(house.hold, one, first)
                # A process hears itself without Redis.
                await near.sees(first, "locked", AT_ONCE)
                await far.sees(first, "locked", SOON)
                await asyncio.to_thread(house.hold, two, second)
                await near.sees(second, "locked", SOON)
                async with map_at(house, two) as late:
                    assert late.seats[second] == "locked"
                    assert late.version == near.version
            finally:
                for redis in (house.cinema.redis, house.cinema.messages):
                    redis.start()
            await asyncio.to_thread(wait_until, lambda: two.has_said("live.listening") > heard, "the layer", 10)
            await asyncio.to_thread(house.hold, one, third)
            await far.sees(third, "locked", AT_ONCE)

    run(scene)


@pytest.mark.parametrize("redis", ["up", "dead"])
def test_what_runs_out_is_seen_as_free_within_two_seconds_everywhere(house: House, redis: str) -> None:
    code = house.seats[0]

    async def scene() -> None:
        one, two = house.webs
        async with map_at(house, one) as near, map_at(house, two) as far:
            heard = [web.has_said("live.listening") for web in house.webs]

            def is_heard_again() -> bool:
                return all(web.has_said("live.listening") > heard[number] for number, web in enumerate(house.webs))

            engines = (house.cinema.redis, house.cinema.messages) if redis == "dead" else ()
            for engine in engines:
                engine.kill()
            try:
                path = f"showtimes/{house.showtime_id}/seats/lock"
                hold = await asyncio.to_thread(one.ask, "POST", path, {"seats": [code]}, house.token)
                ends_at = dt.datetime.fromisoformat(hold["expires_at"]).timestamp()
                for client in (near, far):
                    await client.sees(code, "locked", SOON)
                for client in (near, far):
                    await client.sees(code, "available", 10)
                    assert 0 < time.time() - ends_at < SOON
            finally:
                for engine in engines:
                    engine.start()
                if engines:
                    await asyncio.to_thread(wait_until, is_heard_again, "the layer", 10)

    statement = "UPDATE seating_showtime SET hold_seconds = %s WHERE id = %s"
    with psycopg.connect(house.cinema.postgres.url, autocommit=True) as database:
        database.execute(statement, [2, house.showtime_id])
        try:
            run(scene)
        finally:
            database.execute(statement, [None, house.showtime_id])


def test_a_redis_that_hangs_holds_up_nobody(house: House) -> None:
    async def scene() -> None:
        one, two = house.webs
        async with map_at(house, one) as near, map_at(house, two) as far:
            heard = two.has_said("live.listening")
            for redis in (house.cinema.redis, house.cinema.messages):
                redis.pause()
            try:
                await asyncio.to_thread(house.hold, one, house.seats[0])
                await near.sees(house.seats[0], "locked", AT_ONCE)
                # It takes an echo's time until the silence is noticed.
                await far.sees(house.seats[0], "locked", 2 * SOON)
                await asyncio.to_thread(house.hold, one, house.seats[1])
                await far.sees(house.seats[1], "locked", SOON)
            finally:
                for redis in (house.cinema.redis, house.cinema.messages):
                    redis.resume()
            await asyncio.to_thread(wait_until, lambda: two.has_said("live.listening") > heard, "the layer", 10)
            await asyncio.to_thread(house.hold, one, house.seats[2])
            await far.sees(house.seats[2], "locked", AT_ONCE)

    run(scene)


def test_a_server_that_stops_says_goodbye_and_ends_cleanly(house: House) -> None:
    async def scene() -> None:
        web = house.webs[1]
        async with map_at(house, web) as client:
            ended = asyncio.create_task(asyncio.to_thread(web.stop))
            await client.connection.wait_closed()
            assert client.connection.close_code == 1012
            assert await ended in {0, -signal.SIGTERM, 143}
        assert "Traceback" not in web.log.read_text()
        await asyncio.to_thread(web.start)

    run(scene)
