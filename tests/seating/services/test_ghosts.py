"""A lock in Redis that PostgreSQL does not know stands in nobody's way."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis import Redis

from cinebook.core.errors import ErrorCode
from seating import locks
from seating.models import Holder, Showtime
from tests.support.asking import hold, refused, release
from tests.support.ledger import assert_sound
from tests.support.passing_time import run_out

pytestmark = pytest.mark.django_db(transaction=True)


def key(showtime: Showtime, code: str) -> str:
    return f"seat_lock:{{{showtime.pk}}}:{code}"


def checks(queries: CaptureQueriesContext) -> int:
    return sum("SELECT seat.code FROM seating_seat" in query["sql"] for query in queries)


# What somebody by hand, a replica that was behind, or a late writer may have left.
GHOSTS = [
    json.dumps({"user_id": 5, "hold_id": str(uuid.uuid4()), "locked_at": "2026-01-01T00:00:00Z", "showtime_id": 1}),
    json.dumps({"user_id": None, "owner": "999999", "hold_id": str(uuid.uuid4()), "fence": 10**9}),
    "not JSON",
    "7",
]


@pytest.mark.parametrize("ghost", GHOSTS)
def test_the_first_who_wants_the_seat_has_it(showtime: Showtime, ada: Holder, redis: Redis, ghost: str) -> None:
    redis.set(key(showtime, "A1"), ghost)
    held = hold(showtime, ada, "A1", "A2").hold

    assert held.seats == ("A1", "A2")
    assert json.loads(redis.get(key(showtime, "A1")))["hold_id"] == str(held.hold_id)
    assert redis.pttl(key(showtime, "A1")) > 0
    assert_sound(showtime.pk)


def test_a_ghost_beside_a_true_lock_is_forgotten_and_the_true_one_counts(
    showtime: Showtime, ada: Holder, ben: Holder, redis: Redis
) -> None:
    hold(showtime, ben, "A2")
    redis.set(key(showtime, "A1"), GHOSTS[1])
    with refused(ErrorCode.SEAT_HELD) as data:
        hold(showtime, ada, "A1", "A2")

    assert data["seats"] == {"A2": ErrorCode.SEAT_HELD}
    assert not redis.exists(key(showtime, "A1"))


def test_a_true_lock_is_compared_at_most_once_a_second(
    showtime: Showtime, ada: Holder, ben: Holder, redis: Redis
) -> None:
    hold(showtime, ben, "A1")
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            with refused(ErrorCode.SEAT_HELD):
                hold(showtime, ada, "A1")
    assert checks(queries) == 1
    assert 0 < redis.pttl(f"seat_checked:{{{showtime.pk}}}:A1") <= 1000


def test_a_lock_of_a_reservation_that_has_run_out_is_a_ghost(
    showtime: Showtime, ada: Holder, ben: Holder, redis: Redis
) -> None:
    run_out(hold(showtime, ben, "A1").hold.hold_id)

    assert redis.exists(key(showtime, "A1"))
    assert hold(showtime, ada, "A1").taken == ("A1",)


def test_an_attempt_that_is_being_decided_is_no_ghost(showtime: Showtime, ada: Holder, ben: Holder) -> None:
    """PostgreSQL cannot know it yet. Taking its lock away would leave a granted seat without one."""
    attempt = uuid.uuid4()
    owner = locks.LockOwner(holder_id=ben.pk, user_id=ben.user_id)
    locks.acquire(showtime_id=showtime.pk, codes=["A1"], owner=owner, nonce=attempt)
    with CaptureQueriesContext(connection) as queries, refused(ErrorCode.SEAT_LOCKED) as data:
        hold(showtime, ada, "A1")

    assert data["seats"] == {"A1": ErrorCode.SEAT_LOCKED}
    assert data["alternatives"]
    assert checks(queries) == 0
    lock = locks.read(showtime_id=showtime.pk, code="A1")
    assert lock is not None
    assert lock["nonce"] == str(attempt)


def test_a_seat_that_redis_has_lost_is_still_held(showtime: Showtime, ada: Holder, ben: Holder, redis: Redis) -> None:
    hold(showtime, ben, "A1")
    redis.flushdb()
    with refused(ErrorCode.SEAT_HELD):
        hold(showtime, ada, "A1")
    assert redis.keys("seat_lock:*") == []

    release(showtime, ben)
    assert hold(showtime, ada, "A1").taken == ("A1",)
