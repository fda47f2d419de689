"""Buckets of tokens: in Redis for all processes together, in the process when Redis is away."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django import Settings
from redis import Redis

from cinebook.core import rate_limits
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rate_limits import LocalBuckets, RateLimit, count_request
from tests.support.asking import NOWHERE, refused
from tests.support.rivals import race

pytestmark = pytest.mark.django_db

# It takes longer than any test to fill up by one.
SLOW = RateLimit("slow", burst=3, per_second=0.001)
BUCKET = "rate:{slow:ada}"


@pytest.fixture(params=["with Redis", "without Redis"])
def either_way(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "_local", LocalBuckets())
    if request.param == "without Redis":
        settings.REDIS_URL = NOWHERE


def admitted(limit: RateLimit, who: str = "ada") -> bool:
    try:
        count_request(limit, who)
    except Refusal:
        return False
    return True


@pytest.mark.usefixtures("either_way")
class TestBurst:
    def test_so_many_at_once_and_then_no_more(self) -> None:
        assert [admitted(SLOW) for _ in range(5)] == [True, True, True, False, False]

    def test_everybody_has_a_bucket_of_their_own_for_each_limit(self) -> None:
        for _ in range(3):
            count_request(SLOW, "ada")
        assert admitted(SLOW, "ben")
        assert admitted(RateLimit("other", burst=1, per_second=0.001), "ada")

    def test_who_is_refused_learns_when_to_come_back(self) -> None:
        limit = RateLimit("minute", burst=1, per_second=1 / 60)
        count_request(limit, "ada")
        with refused(ErrorCode.RATE_LIMITED) as data:
            count_request(limit, "ada")
        assert data["retry_after"] in (59, 60)

        quick = RateLimit("quick", burst=1, per_second=5)
        count_request(quick, "ada")
        with refused(ErrorCode.RATE_LIMITED) as data:
            count_request(quick, "ada")
        assert data == {"retry_after": 1}

    def test_of_many_threads_exactly_the_burst_is_admitted(self) -> None:
        limit = RateLimit("race", burst=7, per_second=0.001)
        outcomes = race(*[lambda: [admitted(limit) for _ in range(5)]] * 8)
        assert sum(map(sum, outcomes)) == 7

    def test_can_be_switched_off(self, settings: Settings) -> None:
        settings.RATE_LIMITS = False
        assert all(admitted(SLOW) for _ in range(10))


def turn_back(redis: Redis, seconds: float) -> None:
    """Let the bucket have been counted so long ago."""
    redis.hset(BUCKET, "at", str(float(redis.hget(BUCKET, "at")) - seconds))


class TestInRedis:
    def test_it_fills_up_steadily_and_not_beyond_its_size(self, redis: Redis) -> None:
        assert [admitted(SLOW) for _ in range(4)][-1] is False
        turn_back(redis, 999)
        assert not admitted(SLOW)
        turn_back(redis, 2)
        assert [admitted(SLOW), admitted(SLOW)] == [True, False]
        turn_back(redis, 100_000)
        assert [admitted(SLOW) for _ in range(4)] == [True, True, True, False]

    def test_a_clock_that_jumps_back_takes_nothing_away(self, redis: Redis) -> None:
        count_request(SLOW, "ada")
        turn_back(redis, -3600)
        assert [admitted(SLOW) for _ in range(3)] == [True, True, False]

    def test_the_bucket_ends_by_itself_when_it_would_be_full(self, redis: Redis) -> None:
        count_request(SLOW, "ada")
        assert redis.keys("*") == [BUCKET]
        assert 2990 < redis.ttl(BUCKET) <= 3001


class TestInTheProcess:
    @pytest.fixture
    def turn(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        now = [1000.0]
        monkeypatch.setattr(rate_limits, "time", type("Clock", (), {"monotonic": lambda: now[0]}))

        def turn(seconds: float) -> None:
            now[0] += seconds

        return turn

    def test_it_fills_up_steadily_and_not_beyond_its_size(self, turn: Callable[[float], None]) -> None:
        buckets = LocalBuckets()
        assert [buckets.take(SLOW, "ada") for _ in range(4)] == [0, 0, 0, pytest.approx(1000)]
        turn(400)
        assert buckets.take(SLOW, "ada") == pytest.approx(600)
        turn(601)
        assert buckets.take(SLOW, "ada") == 0
        turn(100_000)
        assert [bool(buckets.take(SLOW, "ada")) for _ in range(4)] == [False, False, False, True]

    def test_it_remembers_only_so_many(self, turn: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rate_limits, "_REMEMBERED", 2)
        buckets = LocalBuckets()
        once = RateLimit("once", burst=1, per_second=0.001)
        for who in ("ada", "ben", "cid"):
            assert buckets.take(once, who) == 0
        assert buckets.take(once, "cid") > 0
        assert buckets.take(once, "ada") == 0
