"""The product against a model of it: whatever is done, one after the other, both come to the same.

`make test` plays a few games, the same each time. For many, and other ones each time:

    CINEBOOK_MODEL_GAMES=2000 make test ARGS="tests/model"

With CINEBOOK_MODEL_MOVES they have more than 30 moves. A game that fails is printed in as few moves as it takes.
"""

from __future__ import annotations

import os
from collections import Counter

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.stateful import run_state_machine_as_test as play

from tests.model.house import House
from tests.model.moves import move_of
from tests.support.buying import FlakyDemo

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("rules")]

GAMES = int(os.environ.get("CINEBOOK_MODEL_GAMES", "0"))
LENGTH = int(os.environ.get("CINEBOOK_MODEL_MOVES", "30"))


class Game(RuleBasedStateMachine):
    """Each move is made by both, and compared.

    Hypothesis draws a number for each move, and leaves out those that a failure does not need. It likes to repeat
    itself, and people do not: so the same number once more is another move.
    """

    def __init__(self, provider: FlakyDemo) -> None:
        super().__init__()
        self.house = House(provider)
        self.drawn: Counter[int] = Counter()
        self.luck = 0

    @initialize(luck=st.integers(min_value=0, max_value=2**32))
    def begin(self, luck: int) -> None:
        self.luck = luck

    @rule(number=st.integers(min_value=0, max_value=2**20))
    def move(self, number: int) -> None:
        name, given = move_of(f"{self.luck} {number} {self.drawn[number]}")
        self.drawn[number] += 1
        hypothesis.note(f"house.{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})")
        getattr(self.house, name)(**given)

    def teardown(self) -> None:
        try:
            if self.house.agrees:
                self.house.come_to_rest()
        finally:
            self.house.close()


def test_the_product_does_what_the_model_says(provider: FlakyDemo) -> None:
    profile = hypothesis.settings(
        max_examples=GAMES or 12,
        stateful_step_count=LENGTH,
        derandomize=not GAMES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    play(lambda: Game(provider), settings=profile)
