"""Redis is away, slow, full, empty or somebody else: the same promises, by PostgreSQL alone, and nobody waits."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.faults.people import (
    Answer,
    assert_sold_once,
    guest,
    locked,
    locks,
    page,
    reserved,
    wait_until_redis_agrees,
)
from tests.support.cinema import Cinema, Web, wait_until

# What a request may wait for Redis is 0.2 s; the rest is for a machine that is busy with other tests.
AT_ONCE = 0.2 + 0.8
# A ticker asks each second whether Redis is back, and puts it right.
MENDED = 8.0

Fault = Callable[[Cinema], contextlib.AbstractContextManager[None]]


def road(kind: str, **how: float) -> Fault:
    """What the network does to the Redis of the locks."""

    @contextlib.contextmanager
    def fault(cinema: Cinema) -> Iterator[None]:
        getattr(cinema.roads["locks"], kind)(**how)
        yield
        cinema.roads["locks"].heal()

    return fault


@contextlib.contextmanager
def dead(cinema: Cinema) -> Iterator[None]:
    cinema.redis.kill()
    yield
    cinema.redis.start()


@contextlib.contextmanager
def frozen(cinema: Cinema) -> Iterator[None]:
    cinema.redis.pause()
    yield
    cinema.redis.resume()


@contextlib.contextmanager
def full(cinema: Cinema) -> Iterator[None]:
    with locks(cinema) as redis:
        redis.config_set("maxmemory", "1")
        yield
        redis.config_set("maxmemory", "0")


@contextlib.contextmanager
def replica(cinema: Cinema) -> Iterator[None]:
    """It became the replica of somebody: it can be read, and not be written to."""
    with locks(cinema) as redis:
        # A master that answers no one: so it keeps what it has.
        redis.replicaof("127.0.0.1", 1)
        yield
        redis.replicaof("NO", "ONE")


FAULTS = {
    "refuses": road("refuse"),
    "resets": road("reset"),
    "says nothing": road("stall"),
    "is slow": road("delay", seconds=0.06),
    "is too slow": road("delay", seconds=0.15),
    "breaks off": road("cut", after=60),
    "does not hear": road("drop", direction="up"),
    "is dead": dead,
    "is frozen": frozen,
    "is full": full,
    "is a replica": replica,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_nobody_waits_and_everybody_gets_what_they_were_promised(cinema: Cinema, showtime: int, fault: Fault) -> None:
    webs = itertools.cycle(cinema.web)
    ada, ben = guest(next(webs)), guest(next(webs))
    assert ada.lock(next(webs), showtime, "A1").status == 201

    with fault(cinema):
        answers: list[tuple[Answer, int, str]] = []

        def expect(answer: Answer, status: int, code: str = "") -> None:
            answers.append((answer, status, code))

        expect(ada.lock(next(webs), showtime, "A2", "A3"), 201)
        expect(ben.lock(next(webs), showtime, "A3", "B3"), 409, "seat_held")
        expect(ada.extend(next(webs), showtime), 200)
        expect(ada.unlock(next(webs), showtime, "A3"), 200)
        expect(ben.lock(next(webs), showtime, "A3", "B3"), 201)
        expect(ada.buy(next(webs), showtime, "A1", "A2"), 201)
        expect(ben.unlock(next(webs), showtime, "B3"), 200)
        expect(ada.lock(next(webs), showtime, "B3"), 201)
        expect(ben.lock(next(webs), showtime, "A1"), 409, "seat_booked")
        for web in cinema.web:
            assert page(web, f"/showtimes/{showtime}/")[0] == 200

    assert [(answer.status, answer.code) for answer, _, _ in answers] == [(status, code) for _, status, code in answers]
    assert max(answer.took for answer, _, _ in answers) < AT_ONCE
    assert reserved(cinema).keys() >= {f"seat_lock:{{{showtime}}}:{code}" for code in ("A3", "B3")}
    wait_until_redis_agrees(cinema, MENDED)
    assert_sold_once(cinema)


def test_health_says_that_a_redis_that_takes_nothing_is_down(cinema: Cinema) -> None:
    for fault in (full, replica):
        with fault(cinema):
            told = cinema.web[0].health()
            assert (told["status"], told["redis"], told["database"]) == ("degraded", "down", "up")
    assert cinema.web[0].health()["status"] == "ok"


def test_what_was_flushed_is_written_anew_within_seconds(cinema: Cinema, showtime: int) -> None:
    guest(cinema.web[0]).lock(cinema.web[0], showtime, "A1", "A2")
    with locks(cinema) as redis:
        redis.flushall()

    wait_until_redis_agrees(cinema, MENDED)

    assert {f"seat_lock:{{{showtime}}}:{code}" for code in ("A1", "A2")} <= locked(cinema).keys()


def test_a_stale_replica_takes_no_seat_from_anybody(cinema: Cinema, showtime: int) -> None:
    """It knows holds that are over, and not those that were made since. The first who wants a seat gets it."""
    one, two = cinema.web
    ada, ben, eve = guest(one), guest(one), guest(one)
    ada.lock(one, showtime, "A1", "A2")
    with locks(cinema) as redis:
        old = [(key, redis.pttl(key), redis.get(key)) for key in redis.scan_iter("seat_lock:*")]
        index = redis.zrange(f"locked_seats:{{{showtime}}}", 0, -1, withscores=True)
        ada.unlock(one, showtime)
        ben.lock(two, showtime, "B3")

        def fail_over() -> None:
            """Let Redis say what it said then, and nothing of what was done since."""
            redis.flushdb()
            for key, ttl, text in old:
                redis.set(key, text, px=ttl)
            redis.zadd(f"locked_seats:{{{showtime}}}", dict(index))

        fail_over()
        # Whatever the tickers have put right by now: what A1 says is the old one when somebody comes for it.
        answer = eve.lock(two, showtime, "A1")
        assert (answer.status, answer.body["seats"]) == (201, ["A1"])
        fail_over()
        assert eve.lock(one, showtime, "B3").code == "seat_held"

    wait_until_redis_agrees(cinema, MENDED)
    assert {key.rpartition(":")[2] for key in locked(cinema) if f"{{{showtime}}}" in key} == {"A1", "B3"}


def test_keys_with_foreign_values_cost_nobody_else_anything(cinema: Cinema, showtimes: Iterator[int]) -> None:
    spoiled, other = next(showtimes), next(showtimes)
    web = cinema.web[0]
    ada = guest(web)
    with locks(cinema) as redis:
        redis.set(f"locked_seats:{{{spoiled}}}", "not an index")
        redis.rpush(f"seat_lock:{{{spoiled}}}:B3", "not a lock")
        assert ada.lock(web, spoiled, "A1", "B3").status == 201
        # Redis is not away because of that.
        assert ada.lock(web, other, "A1").status == 201
        assert f"seat_lock:{{{other}}}:A1" in locked_names(cinema)

        cinema.manage("reconcile")

        assert redis.type(f"locked_seats:{{{spoiled}}}") == "zset"
        assert redis.type(f"seat_lock:{{{spoiled}}}:B3") == "string"
        wait_until_redis_agrees(cinema, MENDED)


def locked_names(cinema: Cinema) -> set[str]:
    with locks(cinema) as redis:
        return set(redis.scan_iter("seat_lock:*"))


def test_rate_limits_are_each_process_own_while_redis_is_away_and_common_again_when_it_is_back(
    cinema: Cinema, showtime: int
) -> None:
    one, two = cinema.web
    ada = guest(one)
    cinema.roads["locks"].refuse()
    refused = next(n for n in range(200) if ada.unlock(one, showtime).code == "rate_limited")
    assert refused >= 60
    assert ada.unlock(two, showtime).status == 200

    cinema.roads["locks"].heal()
    with locks(cinema) as redis:

        def counted_in_redis(web: Web) -> bool:
            for _ in range(12):
                assert ada.unlock(web, showtime).status in {200, 429}
            buckets = redis.keys("rate:{seats:*")
            return bool(buckets) and float(redis.hget(buckets[0], "tokens") or 60) < 55

        for web in cinema.web:
            redis.delete(*redis.keys("rate:*") or ["none"])
            wait_until(lambda web=web: counted_in_redis(web), "the common bucket", 10)


@pytest.mark.parametrize("kind", ["stall", "refuse"])
def test_neither_the_broker_nor_the_cache_nor_the_channel_layer_is_waited_for(
    cinema: Cinema, showtime: int, kind: str
) -> None:
    one, two = cinema.web
    ada = guest(one)
    for name in ("broker", "cache", "live"):
        getattr(cinema.roads[name], kind)()

    answers = [
        ada.lock(one, showtime, "A1", "A2"),
        ada.extend(two, showtime),
        ada.unlock(one, showtime, "A2"),
        ada.buy(two, showtime, "A1"),
    ]

    assert [answer.status for answer in answers] == [201, 200, 200, 201]
    assert max(answer.took for answer in answers) < AT_ONCE
