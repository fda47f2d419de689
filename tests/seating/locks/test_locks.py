"""The locks by themselves: what each script writes, and above all what it leaves alone."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from seating import locks
from seating.locks import GrantedHold, InTheWay, LockOwner, keys
from tests.support.asking import NOWHERE

# No statement is made; the mark empties Redis.
pytestmark = pytest.mark.django_db

SHOWTIME = 7
ADA, BEN = LockOwner(holder_id=1, user_id=None), LockOwner(holder_id=2, user_id=22)
MALFORMED = [
    "",
    "not JSON",
    "null",
    "5",
    '"text"',
    "[]",
    "true",
    "\udcff\udcfe",
    "[" * 5000,
    '{"owner": {}, "fence": null, "nonce": null}',
]


def lock_key(code: str) -> str:
    return keys.seat_lock(SHOWTIME, code)


def acquire(owner: LockOwner, *codes: str, nonce: uuid.UUID | None = None) -> dict[str, InTheWay]:
    return locks.acquire(showtime_id=SHOWTIME, codes=codes, owner=owner, nonce=nonce or uuid.uuid4())


def granted(owner: LockOwner, hold_id: uuid.UUID, **fences: int) -> GrantedHold:
    now = timezone.now()
    return GrantedHold(
        showtime_id=SHOWTIME,
        hold_id=hold_id,
        owner=owner,
        fences=fences,
        locked_at=now,
        expires_at=now + dt.timedelta(seconds=900),
        lives_for=dt.timedelta(seconds=900),
    )


def settle(owner: LockOwner, hold_id: uuid.UUID, nonce: uuid.UUID | None = None, **fences: int) -> None:
    locks.settle(hold=granted(owner, hold_id, **fences), nonce=nonce)


def owner_of(redis: Redis, code: str) -> Any:
    text = redis.get(lock_key(code))
    return json.loads(text)["owner"] if text else None


def plant(redis: Redis, code: str, text: str) -> None:
    redis.set(lock_key(code), text.encode(errors="surrogateescape"))


class TestAcquire:
    def test_all_for_a_moment(self, redis: Redis) -> None:
        nonce = uuid.uuid4()
        assert acquire(ADA, "A1", "A2", nonce=nonce) == {}

        lock = json.loads(redis.get(lock_key("A1")))
        assert lock["nonce"] == lock["hold_id"] == str(nonce)
        assert "fence" not in lock
        assert set(lock) >= {"user_id", "hold_id", "locked_at", "showtime_id"}
        assert all(9_000 < redis.pttl(name) <= locks.PROVISIONAL_MS for name in redis.keys("*"))
        assert locks.locked_codes(showtime_id=SHOWTIME) == ["A1", "A2"]

    def test_or_none(self, redis: Redis) -> None:
        acquire(ADA, "A2")
        assert set(acquire(BEN, "A1", "A2", "A3")) == {"A2"}
        assert redis.keys("seat_lock:*") == [lock_key("A2")]

    def test_ones_own_is_no_obstacle_and_stays_as_it_is(self, redis: Redis) -> None:
        hold_id = uuid.uuid4()
        settle(ADA, hold_id, A1=3)
        before = redis.get(lock_key("A1"))
        assert acquire(ADA, "A1", "A2") == {}
        assert redis.get(lock_key("A1")) == before
        assert redis.pttl(lock_key("A1")) > 890_000

    def test_a_lock_is_worth_a_check_once_a_second(self, redis: Redis) -> None:
        settle(ADA, uuid.uuid4(), A1=1)
        assert acquire(BEN, "A1")["A1"].unchecked
        assert not acquire(BEN, "A1")["A1"].unchecked
        assert 0 < redis.pttl(keys.seat_checked(SHOWTIME, "A1")) <= 1000
        redis.delete(keys.seat_checked(SHOWTIME, "A1"))
        assert acquire(BEN, "A1")["A1"].unchecked

    def test_what_is_being_decided_is_not_worth_a_check(self, redis: Redis) -> None:
        acquire(ADA, "A1")
        found = acquire(BEN, "A1")["A1"]
        assert (found.deciding, found.unchecked) == (True, False)
        assert not redis.exists(keys.seat_checked(SHOWTIME, "A1"))

    @pytest.mark.parametrize("text", MALFORMED)
    def test_a_lock_that_makes_no_sense_is_one_that_wants_a_check(self, redis: Redis, text: str) -> None:
        plant(redis, "A1", text)
        assert acquire(BEN, "A1") == {"A1": InTheWay(lock=text, deciding=False, unchecked=True)}

        locks.forget(showtime_id=SHOWTIME, locks={"A1": text})
        assert not redis.exists(lock_key("A1"))


class TestSettle:
    def test_writes_over_nothing_over_ones_own_attempts_and_over_older_fences(self, redis: Redis) -> None:
        acquire(ADA, "A2")
        settle(BEN, uuid.uuid4(), A3=4)
        hold_id = uuid.uuid4()
        settle(ADA, hold_id, A1=1, A2=1, A3=5)

        for code in ("A1", "A2", "A3"):
            assert json.loads(redis.get(lock_key(code)))["hold_id"] == str(hold_id)

    def test_does_not_write_over_a_newer_fence_nor_over_an_attempt_of_others(self, redis: Redis) -> None:
        settle(BEN, uuid.uuid4(), A1=9)
        acquire(BEN, "A2")
        settle(ADA, uuid.uuid4(), A1=8, A2=8)

        assert (owner_of(redis, "A1"), owner_of(redis, "A2")) == ("2", "2")

    def test_who_can_write_no_lock_writes_no_record(self, redis: Redis) -> None:
        settle(BEN, uuid.uuid4(), A1=9)
        over = uuid.uuid4()
        settle(ADA, over, A1=8)
        assert not redis.exists(keys.seat_hold(SHOWTIME, over))

    def test_two_attempts_of_one_owner_that_settle_in_the_wrong_order(self, redis: Redis) -> None:
        first, second, hold_id = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        acquire(ADA, "A1", nonce=first)
        acquire(ADA, "A1", nonce=second)
        settle(ADA, hold_id, second, A1=2)
        settle(ADA, hold_id, first, A1=1)
        assert json.loads(redis.get(lock_key("A1")))["fence"] == 2

        # Nor does an attempt that lost take away what the other was granted.
        locks.give_up(showtime_id=SHOWTIME, codes=["A1"], nonce=first)
        assert owner_of(redis, "A1") == "1"

    @pytest.mark.parametrize("text", MALFORMED)
    def test_writes_over_what_makes_no_sense(self, redis: Redis, text: str) -> None:
        plant(redis, "A1", text)
        settle(ADA, uuid.uuid4(), A1=1)
        assert owner_of(redis, "A1") == "1"

    def test_the_index_lives_as_long_as_its_last_lock(self, redis: Redis) -> None:
        settle(ADA, uuid.uuid4(), A1=1)
        acquire(BEN, "A2")
        assert redis.pttl(keys.locked_seats(SHOWTIME)) > 890_000


class TestRelease:
    def test_takes_away_the_locks_of_the_hold_and_its_record(self, redis: Redis) -> None:
        hold_id = uuid.uuid4()
        settle(ADA, hold_id, A1=1, A2=1)
        locks.release(showtime_id=SHOWTIME, hold_id=hold_id, fences={"A1": 2, "A2": 2}, remaining=None)
        assert redis.keys("*") == []

    def test_a_newer_lock_and_that_of_another_hold_stay(self, redis: Redis) -> None:
        hold_id = uuid.uuid4()
        settle(ADA, hold_id, A1=5)
        settle(BEN, uuid.uuid4(), A2=1)
        acquire(BEN, "A3")
        locks.release(showtime_id=SHOWTIME, hold_id=hold_id, fences={"A1": 4, "A2": 4, "A3": 4}, remaining=None)
        assert len(redis.keys("seat_lock:*")) == 3

    def test_an_attempt_that_was_granted_but_never_settled_goes_with_its_hold(self, redis: Redis) -> None:
        nonce = uuid.uuid4()
        acquire(ADA, "A1", nonce=nonce)
        locks.release(showtime_id=SHOWTIME, hold_id=nonce, fences={"A1": 2}, remaining=None)
        assert redis.keys("*") == []

    def test_what_remains_is_in_the_record_with_its_time_to_live(self, redis: Redis) -> None:
        hold_id = uuid.uuid4()
        settle(ADA, hold_id, A1=1, A2=1)
        remaining = granted(ADA, hold_id, A2=2)
        locks.release(showtime_id=SHOWTIME, hold_id=hold_id, fences={"A1": 2}, remaining=remaining)
        assert json.loads(redis.get(keys.seat_hold(SHOWTIME, hold_id)))["seats"] == ["A2"]
        assert redis.pttl(keys.seat_hold(SHOWTIME, hold_id)) > 890_000

    def test_no_record_comes_into_being(self, redis: Redis) -> None:
        hold_id = uuid.uuid4()
        remaining = granted(ADA, hold_id, A2=2)
        locks.release(showtime_id=SHOWTIME, hold_id=hold_id, fences={"A1": 2}, remaining=remaining)
        assert redis.keys("*") == []

    def test_without_seats_nothing_is_done(self, redis: Redis) -> None:
        hold_id = uuid.uuid4()
        settle(ADA, hold_id, A1=1)
        locks.release(showtime_id=SHOWTIME, hold_id=hold_id, fences={}, remaining=granted(ADA, hold_id, A1=1))
        assert owner_of(redis, "A1") == "1"

    @pytest.mark.parametrize("text", MALFORMED)
    def test_takes_away_what_makes_no_sense(self, redis: Redis, text: str) -> None:
        plant(redis, "A1", text)
        locks.release(showtime_id=SHOWTIME, hold_id=uuid.uuid4(), fences={"A1": 1}, remaining=None)
        assert not redis.exists(lock_key("A1"))


class TestGiveUp:
    def test_takes_back_only_what_the_attempt_locked(self, redis: Redis) -> None:
        hold_id, nonce = uuid.uuid4(), uuid.uuid4()
        settle(ADA, hold_id, A1=1)
        acquire(ADA, "A1", "A2", nonce=nonce)
        acquire(BEN, "A3")
        locks.give_up(showtime_id=SHOWTIME, codes=["A1", "A2", "A3", "A4"], nonce=nonce)

        assert sorted(redis.keys("seat_lock:*")) == [lock_key("A1"), lock_key("A3")]
        assert locks.locked_codes(showtime_id=SHOWTIME) == ["A1", "A3"]
        assert redis.exists(keys.seat_hold(SHOWTIME, hold_id))

    def test_a_lock_that_was_granted_since_stays(self, redis: Redis) -> None:
        nonce = uuid.uuid4()
        acquire(ADA, "A1", nonce=nonce)
        settle(ADA, nonce, nonce, A1=1)
        locks.give_up(showtime_id=SHOWTIME, codes=["A1"], nonce=nonce)
        assert owner_of(redis, "A1") == "1"


def test_forgetting_leaves_what_has_changed_since_it_was_compared(redis: Redis) -> None:
    settle(ADA, uuid.uuid4(), A1=1, A2=1)
    compared = {code: redis.get(lock_key(code)) for code in ("A1", "A2")}
    settle(ADA, uuid.uuid4(), A2=2)
    locks.forget(showtime_id=SHOWTIME, locks=compared)

    assert redis.keys("seat_lock:*") == [lock_key("A2")]
    assert locks.locked_codes(showtime_id=SHOWTIME) == ["A2"]


class TestReading:
    def test_a_lock(self, redis: Redis) -> None:
        settle(BEN, uuid.uuid4(), A1=1)
        lock = locks.read(showtime_id=SHOWTIME, code="A1")
        assert lock is not None
        assert lock["user_id"] == 22
        assert locks.read(showtime_id=SHOWTIME, code="A2") is None

    @pytest.mark.parametrize("text", MALFORMED[:-2])
    def test_nonsense_is_none(self, redis: Redis, text: str) -> None:
        plant(redis, "A1", text)
        assert locks.read(showtime_id=SHOWTIME, code="A1") is None

    def test_a_lock_that_ended_is_not_in_the_list(self, redis: Redis) -> None:
        settle(ADA, uuid.uuid4(), A1=1, A2=1)
        redis.zadd(keys.locked_seats(SHOWTIME), {"A1": 1})
        assert locks.locked_codes(showtime_id=SHOWTIME) == ["A2"]


def test_without_redis_nothing_stands_in_the_way_and_nothing_is_raised(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE
    hold_id = uuid.uuid4()

    assert acquire(ADA, "A1") == {}
    settle(ADA, hold_id, A1=1)
    locks.release(showtime_id=SHOWTIME, hold_id=hold_id, fences={"A1": 1}, remaining=None)
    locks.give_up(showtime_id=SHOWTIME, codes=["A1"], nonce=hold_id)
    locks.forget(showtime_id=SHOWTIME, locks={"A1": ""})
    assert locks.read(showtime_id=SHOWTIME, code="A1") is None
    assert locks.locked_codes(showtime_id=SHOWTIME) == []


def test_every_key_of_a_showtime_carries_its_tag_and_ends_by_itself(redis: Redis) -> None:
    settle(ADA, uuid.uuid4(), A1=1)
    acquire(BEN, "A1")
    acquire(BEN, "A2")

    names = redis.keys("*")
    assert len(names) == 5
    assert all(f"{{{SHOWTIME}}}" in name and redis.pttl(name) > 0 for name in names)
