"""Whatever Redis says otherwise than PostgreSQL is found, and repaired."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from bookings.services import repair_seats, verify_seats
from seating import locks
from tests.bookings.services.verifying.faults import OTHER_REPLAY, left_open
from tests.bookings.services.verifying.house import House, build_house, found
from tests.factories import HolderFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf", "hasty")]


def lock_key(house: House, code: str) -> str:
    return f"seat_lock:{{{house.showtime.pk}}}:{code}"


def record_key(house: House) -> str:
    return f"seat_hold:{{{house.showtime.pk}}}:{house.held.hold_id}"


def index_key(house: House) -> str:
    return f"locked_seats:{{{house.showtime.pk}}}"


NO_LOCK = "a seat that is held has no lock"
WRONG_LOCK = "a lock is not as its seat's hold"
GHOST = "a seat that nobody holds has a lock"
LINE = "the index of locked seats has a wrong line"


@pytest.mark.parametrize(
    ("damage", "violation"),
    [
        pytest.param(lambda redis, house: redis.delete(lock_key(house, "A1")), NO_LOCK, id="no lock"),
        pytest.param(
            lambda redis, house: redis.set(
                lock_key(house, "A1"),
                json.dumps({**json.loads(redis.get(lock_key(house, "A1"))), "hold_id": "x"}),
                keepttl=True,
            ),
            WRONG_LOCK,
            id="a lock of another hold",
        ),
        pytest.param(lambda redis, house: redis.persist(lock_key(house, "A1")), WRONG_LOCK, id="a lock for ever"),
        pytest.param(
            lambda redis, house: redis.pexpire(lock_key(house, "A1"), 9_000),
            WRONG_LOCK,
            id="a lock that ends too early",
        ),
        pytest.param(lambda redis, house: redis.set(lock_key(house, "C3"), "?"), GHOST, id="a ghost"),
        pytest.param(
            lambda redis, _house: redis.set("seat_lock:{424242}:A1", json.dumps({"fence": 1}), px=60_000),
            GHOST,
            id="a ghost of no showtime",
        ),
        pytest.param(lambda redis, house: redis.delete(record_key(house)), "a live hold has no record", id="no record"),
        pytest.param(
            lambda redis, house: redis.set(record_key(house), "?", keepttl=True),
            "a record is not as its hold",
            id="a wrong record",
        ),
        pytest.param(
            lambda redis, house: redis.set(f"seat_hold:{{{house.showtime.pk}}}:{uuid.uuid4()}", "?"),
            "a hold that is over has a record",
            id="a record of nobody",
        ),
        pytest.param(lambda redis, house: redis.zrem(index_key(house), "A1"), LINE, id="no line"),
        pytest.param(lambda redis, house: redis.zadd(index_key(house), {"C3": 10**13}), LINE, id="a line too many"),
        pytest.param(
            lambda redis, house: redis.pexpire(index_key(house), 9_000),
            "the index of locked seats ends before its locks",
            id="an index that ends too early",
        ),
    ],
)
def test_what_redis_says_otherwise_is_found_and_repaired(
    house: House, redis: Redis, damage: Callable[[Redis, House], Any], violation: str
) -> None:
    damage(redis, house)
    before = {key: redis.dump(key) for key in redis.scan_iter()}

    [finding] = verify_seats().findings

    assert (finding.number, finding.violation, finding.count) == ("I8", violation, 1)
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before, "it only looks"
    report = repair_seats()
    assert report.findings == []
    assert len(report.repaired) == 1
    assert "in Redis" in report.repaired[0]


def test_after_a_flush_every_lock_is_missed_and_one_repair_writes_them(house: House, redis: Redis) -> None:
    redis.flushdb()

    assert found() == {NO_LOCK, "a live hold has no record"}
    assert repair_seats(showtime_ids=[house.showtime.pk]).findings == []


def test_an_attempt_that_is_under_way_is_no_difference(house: House, redis: Redis) -> None:
    owner = locks.LockOwner(holder_id=HolderFactory().pk, user_id=None)
    assert not locks.acquire(showtime_id=house.showtime.pk, codes=["C3"], owner=owner, nonce=uuid.uuid4())

    assert found() == set()


def test_the_line_of_a_lock_that_has_ended_by_itself_is_no_difference(house: House, redis: Redis) -> None:
    redis.zadd(index_key(house), {"C3": 1})

    assert found() == set()
    assert repair_seats().repaired == []
    assert redis.zscore(index_key(house), "C3") is None, "it is tidied up without a word"


def test_without_redis_the_rest_is_compared_and_it_says_so(house: House, without_redis: None) -> None:
    house.seat("C3", status="BLOCKED", block_reason="broken")

    report = verify_seats()

    assert (report.redis, found(report)) == ("away", {OTHER_REPLAY})
    assert "redis_keys" not in report.checked


def test_one_showtime_is_repaired_and_no_other(house: House, redis: Redis) -> None:
    other = build_house()
    for each in (house, other):
        left_open(each)
    redis.flushdb()

    report = repair_seats(showtime_ids=[house.showtime.pk])

    assert report.findings == []
    assert {line.partition(":")[0] for line in report.repaired} == {f"showtime {house.showtime.pk}"}
    assert {finding.showtime_id for finding in verify_seats().findings} == {other.showtime.pk}
