"""Short games in which a mistake does its harm: the model sees it, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import DatabaseError

from tests.model.house import House
from tests.support.buying import FlakyDemo
from tests.support.mutants import MutantLost, planted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("rules")]

# As long as a hold lives by itself, or a payment with its grace; in seconds.
LONG = 905


def one_of_two_is_taken(house: House) -> None:
    house.redis_goes_or_comes(up=False)
    house.hold("ben", 0, ["A1"])
    house.hold("ada", 0, ["A1", "A2"])


def redis_forgets(house: House) -> None:
    house.hold("ben", 0, ["A1"])
    house.flush_redis()
    house.hold("ada", 0, ["A1"])


def renewed_again_and_again(house: House) -> None:
    house.hold("ada", 0, ["A1"])
    for _time in range(4):
        house.time_passes(805)
        house.extend("ada", 0, [])


def lets_go_of_others(house: House) -> None:
    house.hold("ben", 0, ["A1"])
    house.hold("ada", 0, ["A2"])
    house.release("ada", 0, ["A1", "A2"])


def runs_out(house: House) -> None:
    house.hold("ada", 0, ["A1"])
    house.time_passes(LONG)
    house.expire(0)


def runs_out_while_paid(house: House) -> None:
    house.hold("ada", 0, ["A1"])
    house.buy(0, None, "stall")
    house.time_passes(LONG)
    house.expire(0)


def wanted_while_paid(house: House) -> None:
    house.hold("ada", 0, ["A1"])
    house.buy(0, None, "stall")
    house.time_passes(LONG)
    house.hold("ben", 0, ["A1"])


def paid_when_another_has_the_seat(house: House) -> None:
    house.hold("ada", 0, ["A1"])
    house.buy(0, None, "stall")
    house.provider_goes_away("cancel", lost=False)
    house.time_passes(2 * LONG)
    house.settle_overdue()
    house.hold("ben", 0, ["A1"])
    house.decide(0, "CAPTURED")


def told_twice(house: House) -> None:
    house.hold("ada", 0, ["A1"])
    house.buy(0, None, "stall")
    house.notice(0, "CAPTURED", 2)


GAMES: dict[str, Callable[[House], None]] = {
    "no_row_count": one_of_two_is_taken,
    "half_a_hold": one_of_two_is_taken,
    "redis_lock_is_proof": redis_forgets,
    "takeover_of_a_paying_seat": wanted_while_paid,
    "extension_past_the_cap": renewed_again_and_again,
    "release_without_owner": lets_go_of_others,
    "expiry_of_a_paying_hold": runs_out_while_paid,
    "expiry_on_read": runs_out,
    "expiry_without_an_event": runs_out,
    "late_payment_takes_anothers_seat": paid_when_another_has_the_seat,
    "notice_heard_twice": told_twice,
}


def play(game: Callable[[House], None], provider: FlakyDemo) -> None:
    house = House(provider)
    try:
        game(house)
        house.compare_closely(house.cinema)
    finally:
        house.close()


@pytest.mark.parametrize("game", dict.fromkeys(GAMES.values()), ids=lambda game: game.__name__)
def test_without_a_mistake_both_come_to_the_same(provider: FlakyDemo, game: Callable[[House], None]) -> None:
    play(game, provider)


@pytest.mark.parametrize("mistake", GAMES)
def test_a_mistake_is_seen(provider: FlakyDemo, mistake: str) -> None:
    # A constraint may see it first.
    with planted(mistake), pytest.raises((AssertionError, DatabaseError)) as seen:
        play(GAMES[mistake], provider)
    assert not isinstance(seen.value, MutantLost)
