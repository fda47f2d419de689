"""The door to Redis: nobody waits long behind it, whatever happens on the other side."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings
from redis import Redis

from cinebook.core import redis as door
from cinebook.core.redis import (
    ANSWER_SECONDS,
    REST_SECONDS,
    RedisAway,
    is_up,
    limited_patience,
    locks_command,
    locks_failures,
    run_script,
    takes_writes,
)
from cinebook.engines.throwaway import running_engines
from seating.models import Holder, Showtime
from tests import factories
from tests.support.asking import NOWHERE, extend, hold, release
from tests.support.clock import Clock
from tests.support.ledger import assert_sound
from tests.support.odd_redis import after, byte_by_byte, odd_redis, saying


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Neither does any command take time by it."""
    monkeypatch.setattr(door, "time", clock)
    return clock


@pytest.fixture
def deaf_redis(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[list[int]]:
    """An address at which everything is accepted and nothing is answered; counts who came."""
    path = tmp_path_factory.mktemp("s") / "s"
    came: list[int] = []
    kept: list[socket.socket] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def accept() -> None:
        while True:
            try:
                kept.append(server.accept()[0])
            except OSError:
                return
            came.append(1)

    thread = threading.Thread(target=accept)
    thread.start()
    settings.REDIS_URL = f"unix://{path}?db=0"
    yield came
    door._client(settings.REDIS_URL).close()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in kept:
        connection.close()


def ping() -> Any:
    return locks_command(lambda client: client.ping())


class TestAway:
    def test_nobody_there(self, settings: Settings) -> None:
        settings.REDIS_URL = NOWHERE
        for _ in range(100):
            with pytest.raises(RedisAway):
                ping()
        with pytest.raises(RedisAway):
            run_script(Path(door.__file__).parent / "lua" / "token_bucket.lua", ["x"], [1, 1])
        assert not is_up(NOWHERE)

    def test_nobody_answers(self, deaf_redis: list[int]) -> None:
        """One caller waits for a fifth of a second; the others are not even let near."""
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(RedisAway):
                ping()
        assert time.monotonic() - began < ANSWER_SECONDS + REST_SECONDS / 2
        assert len(deaf_redis) == 1

    def test_nobody_takes_the_connection(self, tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> None:
        path = tmp_path_factory.mktemp("s") / "s"
        settings.REDIS_URL = f"unix://{path}?db=0"
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
            server.bind(str(path))
            server.listen(0)
            first.connect(str(path))
            began = time.monotonic()
            for _ in range(10):
                with pytest.raises(RedisAway):
                    ping()
            assert time.monotonic() - began < ANSWER_SECONDS + REST_SECONDS / 2

    def test_no_time_is_left_to_connect(self, settings: Settings) -> None:
        for address in (NOWHERE, "redis://127.0.0.1:1/0"):
            settings.REDIS_URL = address
            door._breaker(address).answered()
            with pytest.raises(RedisAway):
                locks_command(lambda client: client.ping(), seconds=1e-9)

    @pytest.mark.django_db
    def test_an_answer_that_is_an_error_counts_as_none(self, redis: Redis, settings: Settings, clock: Clock) -> None:
        with pytest.raises(RedisAway):
            locks_command(lambda client: client.execute_command("NONSENSE"))
        with pytest.raises(RedisAway):
            ping()
        clock.now += REST_SECONDS
        assert ping()

    @pytest.mark.django_db
    def test_what_is_no_utf_8_comes_and_goes_as_it_is(self, redis: Redis) -> None:
        raw = b"\xff\xfe\x00\x80"
        redis.set("raw", raw)
        text = locks_command(lambda client: client.get("raw"))
        locks_command(lambda client: client.set("copy", text))
        with Redis(connection_pool=redis.connection_pool) as client:
            assert client.strlen("copy") == len(raw)

    @pytest.mark.django_db
    def test_a_key_with_a_foreign_value_takes_nothing_else_along(self, redis: Redis) -> None:
        redis.rpush("ours", "not ours")
        failures = locks_failures()
        with pytest.raises(RedisAway):
            locks_command(lambda client: client.get("ours"))
        assert ping()
        assert locks_failures() == failures

    @pytest.mark.parametrize(
        "answer",
        [
            "-LOADING Redis is loading the dataset in memory\r\n",
            "-READONLY You can't write against a read only replica.\r\n",
            "-MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.\r\n",
            "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "-MASTERDOWN Link with MASTER is down\r\n",
            "-NOAUTH Authentication required.\r\n",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            ":many\r\n",
            "$-\r\n",
            "*x\r\n",
            "\r\n",
        ],
    )
    def test_whoever_is_of_no_use_is_left_alone(self, settings: Settings, answer: str) -> None:
        with odd_redis(saying(answer)) as settings.REDIS_URL:
            for _ in range(2):
                with pytest.raises(RedisAway):
                    run_script(Path(door.__file__).parent / "lua" / "token_bucket.lua", ["x"], [1, 1])
            assert locks_failures() == 1
            assert not takes_writes(settings.REDIS_URL)
            door._client(settings.REDIS_URL).close()


class TestPatience:
    """The commands of a request wait for a fifth of a second in all, however slow each of them is."""

    @pytest.mark.parametrize(("late", "answers"), [(0.03, 1), (0.15, 1), (0.5, 0)])
    def test_whoever_is_slow_is_soon_left_alone(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, late: float, answers: int
    ) -> None:
        monkeypatch.setattr(door, "SLOW_SECONDS", 0.02)
        done = 0
        with odd_redis(after(late, "+PONG\r\n")) as settings.REDIS_URL:
            began = time.monotonic()
            with limited_patience():
                for _ in range(20):
                    try:
                        done += ping()
                    except RedisAway:
                        continue
            assert time.monotonic() - began < ANSWER_SECONDS + 0.1
            assert done == answers
            # And the next request waits for nothing at all.
            with limited_patience(), pytest.raises(RedisAway):
                ping()
            door._client(settings.REDIS_URL).close()

    def test_all_commands_of_a_request_have_it_together(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(door, "SLOW_SECONDS", 1)
        done = 0
        with odd_redis(after(0.06, "+PONG\r\n")) as settings.REDIS_URL:
            began = time.monotonic()
            with limited_patience():
                for _ in range(20):
                    try:
                        done += ping()
                    except RedisAway:
                        continue
            assert time.monotonic() - began < ANSWER_SECONDS + 0.1
            assert done in {2, 3}
            door._client(settings.REDIS_URL).close()

    def test_an_answer_that_comes_byte_by_byte_is_not_waited_for_either(self, settings: Settings) -> None:
        with odd_redis(byte_by_byte(0.05, "$30\r\n123456789012345678901234567890\r\n")) as settings.REDIS_URL:
            began = time.monotonic()
            with pytest.raises(RedisAway):
                ping()
            assert time.monotonic() - began < ANSWER_SECONDS + 0.1
            door._client(settings.REDIS_URL).close()

    @pytest.mark.django_db
    def test_the_commands_of_a_healthy_redis_do_not_count(self, redis: Redis) -> None:
        with limited_patience():
            began = time.monotonic()
            while time.monotonic() - began < ANSWER_SECONDS * 2:
                assert ping()

    def test_what_nobody_waits_for_may_take_longer(self, settings: Settings) -> None:
        with odd_redis(after(ANSWER_SECONDS * 1.5, "+PONG\r\n")) as settings.REDIS_URL:
            assert locks_command(lambda client: client.ping(), seconds=5)
            door._client(settings.REDIS_URL).close()


@pytest.fixture
def own_redis(settings: Settings) -> Iterator[Any]:
    """A Redis that this test may kill."""
    with running_engines() as engines:
        settings.REDIS_URL = engines.redis.url
        yield engines.redis
        door._client(engines.redis.url).close()


@pytest.mark.django_db(transaction=True)
def test_redis_dies_in_the_middle_and_comes_back(own_redis: Any, settings: Settings, clock: Clock) -> None:
    showtime: Showtime = factories.make_showtime()
    ada: Holder = factories.HolderFactory()
    lock = f"seat_lock:{{{showtime.pk}}}:"
    client = Redis.from_url(own_redis.url)

    hold(showtime, ada, "A1")
    assert client.exists(f"{lock}A1")
    own_redis.kill()

    began = time.monotonic()
    hold(showtime, ada, "A2")
    extend(showtime, ada)
    release(showtime, ada, "A1")
    hold(showtime, ada, "A3")
    assert time.monotonic() - began < 2
    assert not is_up(own_redis.url)
    assert_sound(showtime.pk)

    # It comes back empty, and is left alone until its rest is over. It has forgotten our scripts, too.
    own_redis.start()
    assert is_up(own_redis.url)
    hold(showtime, ada, "B3")
    assert not client.exists(f"{lock}B3")
    clock.now += REST_SECONDS
    hold(showtime, ada, "B4")
    assert {name.decode() for name in client.keys("seat_lock:*")} == {
        f"{lock}{code}" for code in ("A2", "A3", "B3", "B4")
    }
    assert_sound(showtime.pk)
    client.close()


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_hangs_costs_a_moment_and_not_the_seat(deaf_redis: list[int]) -> None:
    showtime: Showtime = factories.make_showtime()
    ada: Holder = factories.HolderFactory()

    began = time.monotonic()
    hold(showtime, ada, "A1")
    hold(showtime, ada, "A2")
    extend(showtime, ada)
    assert release(showtime, ada).released == ("A1", "A2")
    assert time.monotonic() - began < 2
    assert_sound(showtime.pk)
