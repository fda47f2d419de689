"""A crowd in a small room: whatever they do at once, the seats, the ledger and the audit tell one story."""

from __future__ import annotations

import random
import threading

import pytest
from redis import Redis

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder, Seat, SeatEvent, SeatHold, Showtime
from seating.selectors.holds import live_hold
from seating.services import HoldAnswer, expire_holds
from tests import factories
from tests.support.asking import extend, hold, release
from tests.support.ledger import assert_sound
from tests.support.passing_time import run_out
from tests.support.rivals import race

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 16
ROUNDS = 30
EXPECTED = {ErrorCode.SEAT_HELD, ErrorCode.SEAT_LOCKED, ErrorCode.TOO_MANY_SEATS, ErrorCode.HOLD_EXPIRED}


def chance(seed: int, number: int) -> random.Random:
    """Return the dice of one person: the same in every run, but for who comes first."""
    return random.Random(f"{seed}, {number}")  # noqa: S311 - no secret


def expect(refusal: Refusal) -> None:
    assert refusal.code in EXPECTED


class Crowd:
    """What everybody believes to hold, as they were told: no two may believe it of one seat (I4)."""

    def __init__(self, showtime: Showtime) -> None:
        self.showtime = showtime
        self.codes = list(Seat.objects.filter(showtime=showtime).values_list("code", flat=True))
        self.believed: dict[str, int] = {}
        self.lock = threading.Lock()
        self.taken = 0

    def person(self, holder: Holder, dice: random.Random) -> None:
        """Do things at random; let go of seats in belief before, and take them after PostgreSQL has said so."""
        for _ in range(ROUNDS):
            try:
                match dice.choice(["hold", "hold", "hold", "release", "release all", "extend"]):
                    case "hold":
                        self.believe(holder, hold(self.showtime, holder, *dice.sample(self.codes, 3)))
                    case "extend":
                        extend(self.showtime, holder)
                    case "release":
                        code = dice.choice(self.codes)
                        self.let_go(holder, {code})
                        release(self.showtime, holder, code)
                    case "release all":
                        self.let_go(holder, set(self.codes))
                        release(self.showtime, holder)
            except Refusal as refusal:
                expect(refusal)

    def believe(self, holder: Holder, answer: HoldAnswer) -> None:
        with self.lock:
            for code in answer.taken:
                assert self.believed.get(code, holder.pk) == holder.pk, f"{code} is two people's"
                self.believed[code] = holder.pk
            self.taken += len(answer.taken)

    def let_go(self, holder: Holder, codes: set[str]) -> None:
        with self.lock:
            self.believed = {
                code: owner for code, owner in self.believed.items() if owner != holder.pk or code not in codes
            }


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_ever_has_what_somebody_else_was_promised(showtime: Showtime, seed: int) -> None:
    crowd = Crowd(showtime)
    people = [factories.HolderFactory() for _ in range(PEOPLE)]
    race(
        *[
            lambda number=number, holder=holder: crowd.person(holder, chance(seed, number))
            for number, holder in enumerate(people)
        ]
    )

    assert crowd.taken > PEOPLE
    rows = Seat.objects.filter(showtime=showtime, status="RESERVED").values_list("code", "hold__holder")
    assert dict(rows) == crowd.believed
    assert_sound(showtime.pk)
    assert SeatHold.objects.count() == crowd.taken


def test_afterwards_redis_says_the_same(showtime: Showtime, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody died, and nothing counted as slow: then the locks are true without a reconciler (I8)."""
    # On a machine that is busy enough an answer takes longer than a person is made to wait; then a ticker writes it.
    monkeypatch.setattr("cinebook.core.redis.ANSWER_SECONDS", 10.0)
    monkeypatch.setattr("cinebook.core.redis.SLOW_SECONDS", 10.0)
    crowd = Crowd(showtime)
    race(
        *[
            lambda number=number, holder=holder: crowd.person(holder, chance(3, number))
            for number, holder in enumerate([factories.HolderFactory() for _ in range(8)])
        ]
    )
    assert {name.rpartition(":")[2] for name in redis.keys("seat_lock:*")} == set(crowd.believed)


@pytest.mark.usefixtures("without_redis")
def test_time_runs_out_under_a_crowd(showtime: Showtime) -> None:
    """Takeovers, endings and new holds of the same people in the same moment."""
    people = [factories.HolderFactory() for _ in range(8)]
    codes = list(Seat.objects.filter(showtime=showtime).values_list("code", flat=True))

    def act(number: int, holder: Holder) -> None:
        dice = chance(4, number)
        for _ in range(6):
            try:
                hold(showtime, holder, *dice.sample(codes, 3))
            except Refusal as refusal:
                expect(refusal)
            expire_holds(showtime_id=showtime.pk)

    for _ in range(3):
        race(*[lambda number=number, holder=holder: act(number, holder) for number, holder in enumerate(people)])
        assert_sound(showtime.pk)
        held = [live_hold(holder_id=holder.pk, showtime_id=showtime.pk) for holder in people]
        for one in [one for one in held if one][::2]:
            run_out(one.hold_id)
    expire_holds(showtime_id=showtime.pk)
    assert_sound(showtime.pk)
    assert {"expired", "overtaken"} & set(SeatEvent.objects.filter(showtime=showtime).values_list("cause", flat=True))
