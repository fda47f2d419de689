"""Real web processes beside each other, with a real Redis between them that dies, hangs and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect

from cinebook.engines.throwaway import Engines, running_engines
from tests.support.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[3]
START_SECONDS = 40.0
# Until a change is seen: while all is well, and while messages between processes are lost and PostgreSQL is asked.
AT_ONCE, SOON = 1.0, 2.0
PROCESS = {
    "SECRET_KEY": "k" * 50,
    "DJANGO_SETTINGS_MODULE": "cinebook.settings",
    "DEBUG": "off",
    "HOST": "127.0.0.1",
}


# Run in the folder of the project.
PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.factories import make_showtime
make_showtime()
"""


@dataclasses.dataclass
class Web:
    """One web process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.port}/api/v1/{path}", data, headers, method=method)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def is_up(self) -> bool:
        try:
            return bool(self.ask("GET", "health"))
        except HTTPError:
            return True
        except OSError:
            return False

    def has_said(self, event: str) -> int:
        return self.log.read_text().count(f'"event": "{event}"')


@dataclasses.dataclass
class House:
    """Two web processes on the same engines, a guest, and a showtime with its seats."""

    webs: list[Web]
    engines: Engines
    token: str
    showtime_id: int
    seats: list[str]

    def hold(self, web: Web, *seats: str) -> float:
        """Hold seats through a process; return when it answered."""
        web.ask("POST", f"showtimes/{self.showtime_id}/seats/lock", {"seats": seats}, self.token)
        return time.monotonic()

    def let_go(self, web: Web) -> None:
        web.ask("DELETE", f"showtimes/{self.showtime_id}/seats/unlock", {}, self.token)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with running_engines() as engines, contextlib.ExitStack() as stack:
        environment = {**os.environ, **PROCESS, **engines.environment, "CINEBOOK_DATA_DIR": str(folder)}
        subprocess.run([sys.executable, "-c", PREPARE], cwd=CHECKOUT, env=environment, check=True, timeout=60)
        webs = [stack.enter_context(running_web(environment, folder / f"web{number}.log")) for number in range(2)]
        for web in webs:
            wait_until(web.is_up, "the web")
            wait_until(lambda web=web: web.has_said("live.listening"), "the channel layer")
        token = webs[0].ask("POST", "auth/guest")["access"]
        (showtime,) = webs[0].ask("GET", "showtimes")["results"]
        showtime_id = showtime["id"]
        seats = list(webs[0].ask("GET", f"showtimes/{showtime_id}/seats/status")["seats"])
        yield House(webs, engines, token, showtime_id, seats)


@contextlib.contextmanager
def running_web(environment: dict[str, str], log: Path) -> Iterator[Web]:
    """The command of the Procfile, as one process."""
    port = free_port()
    (line,) = [line for line in (CHECKOUT / "Procfile").read_text().splitlines() if line.startswith("web: ")]
    values = {"${HOST}": "127.0.0.1", "${PORT}": str(port), "${WEB_WORKERS}": "1"}
    command = [values.get(word, word) for word in line.split()[2:]]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *command], cwd=CHECKOUT, env=environment, stdout=output, stderr=output
        )
    try:
        yield Web(process, port, log)
    finally:
        process.terminate()
        process.wait(20)


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
            house.engines.redis.kill()
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
                house.engines.redis.start()
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

            if redis == "dead":
                house.engines.redis.kill()
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
                if redis == "dead":
                    house.engines.redis.start()
                    await asyncio.to_thread(wait_until, is_heard_again, "the layer", 10)

    statement = "UPDATE seating_showtime SET hold_seconds = %s WHERE id = %s"
    with psycopg.connect(house.engines.postgres.url, autocommit=True) as database:
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
            pid = house.engines.redis.pid
            assert pid
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.to_thread(house.hold, one, house.seats[0])
                await near.sees(house.seats[0], "locked", AT_ONCE)
                # It takes an echo's time until the silence is noticed.
                await far.sees(house.seats[0], "locked", 2 * SOON)
                await asyncio.to_thread(house.hold, one, house.seats[1])
                await far.sees(house.seats[1], "locked", SOON)
            finally:
                os.kill(pid, signal.SIGCONT)
            await asyncio.to_thread(wait_until, lambda: two.has_said("live.listening") > heard, "the layer", 10)
            await asyncio.to_thread(house.hold, one, house.seats[2])
            await far.sees(house.seats[2], "locked", AT_ONCE)

    run(scene)


def test_a_server_that_stops_says_goodbye_and_ends_cleanly(house: House, tmp_path: Path) -> None:
    async def scene() -> None:
        environment = {
            **os.environ,
            **PROCESS,
            **house.engines.environment,
            "CINEBOOK_DATA_DIR": str(tmp_path),
        }
        with running_web(environment, tmp_path / "web.log") as web:
            await asyncio.to_thread(wait_until, web.is_up, "the web")
            async with map_at(house, web) as client:
                web.process.terminate()
                await client.connection.wait_closed()
                assert client.connection.close_code == 1012
            assert await asyncio.to_thread(web.process.wait, 10) in {0, -signal.SIGTERM, 143}
            assert "Traceback" not in web.log.read_text()

    run(scene)
