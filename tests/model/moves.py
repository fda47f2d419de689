"""What can be done in a game, how often, and with what: drawn by dice, so that a number says all of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.model.product import GUESTS, PEOPLE, PLACES, USERS
from tests.model.seats import MOST_SEATS

WRONG = ("order", "amount", "currency", "reference", "signature")
DAMAGES = ("gone", "garbage", "foreign", "newer")


class Dice(random.Random):
    """What a move is made with."""

    def who(self) -> str:
        return self.choice(PEOPLE)

    def whoever(self) -> str | None:
        """None is whoever it belongs to."""
        return self.choice((None, None, None, *PEOPLE))

    def show(self) -> int:
        """Most of it happens at one of them."""
        return self.choice((0, 0, 0, 1))

    def codes(self) -> list[str]:
        """Few enough that people want the same ones, and now and then too many."""
        return self.sample(PLACES, self.choice((1, 1, 2, 2, 2, 3, 3, MOST_SEATS + 1)))

    def which(self) -> int:
        """Counted from the end: what is newest is most worth touching."""
        return self.choice((0, 0, 0, 1, 1, 2, 3))

    def coin(self) -> bool:
        return self.random() < 1 / 2

    def token(self) -> str:
        return self.choice(("stall", "stall", "succeed", "decline"))

    def outcome(self) -> str:
        return self.choice(("CAPTURED", "CAPTURED", "DECLINED"))


# How often something is done, and with what.
MOVES: list[tuple[int, str, Callable[[Dice], dict[str, Any]]]] = [
    (14, "hold", lambda dice: {"who": dice.who(), "show": dice.show(), "codes": dice.codes()}),
    (2, "hold_best", lambda dice: {"who": dice.who(), "show": dice.show(), "quantity": dice.randint(1, 5)}),
    (2, "extend", lambda dice: {"who": dice.who(), "show": 0, "codes": dice.choice(([], [], dice.codes()))}),
    (3, "release", lambda dice: {"who": dice.who(), "show": 0, "codes": dice.choice((None, dice.codes()))}),
    (8, "time_passes", lambda dice: {"seconds": dice.choice((5, 35, 130, 300, 300, 605, 605, 905, 1505))}),
    (3, "expire", lambda dice: {"show": dice.show()}),
    (2, "sign_in", lambda dice: {"guest": dice.choice(GUESTS), "user": dice.choice(USERS)}),
    (9, "buy", lambda dice: {"which": dice.which(), "who": dice.whoever(), "token": dice.token()}),
    (3, "confirm", lambda dice: {"which": dice.which(), "dropped": dice.randint(0, 1), "token": dice.token()}),
    (1, "confirm_named", lambda dice: {"who": dice.who(), "codes": dice.codes(), "token": dice.token()}),
    (4, "decide", lambda dice: {"which": dice.which(), "outcome": dice.outcome()}),
    (2, "decide_silently", lambda dice: {"which": dice.which(), "outcome": dice.outcome()}),
    (4, "notice", lambda dice: {"which": dice.which(), "told": dice.outcome(), "times": dice.randint(1, 2)}),
    (1, "notice_about_nothing", lambda dice: {"which": dice.which(), "wrong": dice.choice(WRONG)}),
    (3, "cancel", lambda dice: {"which": dice.which(), "who": dice.whoever()}),
    (3, "settle_overdue", lambda _: {}),
    (2, "provider_goes_away", lambda dice: {"call": dice.choice(("create", "cancel", "refund")), "lost": dice.coin()}),
    (2, "provider_comes_back", lambda _: {}),
    (1, "block", lambda dice: {"show": 0, "codes": dice.codes()}),
    (1, "unblock", lambda dice: {"show": 0, "codes": dice.codes()}),
    (1, "withdraw", lambda dice: {"which": dice.which()}),
    (1, "stop_sales", lambda dice: {"show": dice.show()}),
    (2, "resume_sales", lambda dice: {"show": dice.show()}),
    (1, "call_off", lambda _: {"show": 1}),
    (2, "reconcile", lambda _: {}),
    (1, "flush_redis", lambda _: {}),
    (1, "redis_goes_or_comes", lambda dice: {"up": dice.coin()}),
    (2, "damage_a_lock", lambda dice: {"show": 0, "code": dice.choice(PLACES), "damage": dice.choice(DAMAGES)}),
]


def move_of(number: str) -> tuple[str, dict[str, Any]]:
    """Return the move that comes of a throw of the dice."""
    dice = Dice(number)
    _weight, name, draw = dice.choices(MOVES, [weight for weight, *_rest in MOVES])[0]
    return name, draw(dice)
