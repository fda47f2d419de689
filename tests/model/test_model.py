"""The product against a model of it: whatever is done, one after the other, both come to the same.

`make test` plays a bounded number of games, the same each time. For more, and other ones each time:

    CINEBOOK_MODEL_GAMES=2000 make test ARGS="tests/model"

With CINEBOOK_MODEL_STEPS they are longer than 30 steps. A game that fails is printed in as few steps as it takes.
"""

from __future__ import annotations

import os

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as play
from pytest_django import Settings

from tests.model.house import GUESTS, PEOPLE, PLACES, USERS, House
from tests.model.model import MOST_SEATS
from tests.support.buying import FlakyDemo

pytestmark = pytest.mark.django_db(transaction=True)

GAMES = int(os.environ.get("CINEBOOK_MODEL_GAMES", "0"))
STEPS = int(os.environ.get("CINEBOOK_MODEL_STEPS", "30"))

people = st.sampled_from(PEOPLE)
shows = st.sampled_from((0, 0, 0, 1))
# Few enough that people want the same ones.
codes = st.lists(st.sampled_from(PLACES), min_size=1, max_size=MOST_SEATS + 1, unique=True)
tokens = st.sampled_from(("succeed", "stall", "stall", "decline"))
outcomes = st.sampled_from(("CAPTURED", "CAPTURED", "DECLINED"))
# From the end of the list: what is newest is most worth touching.
newest = st.integers(min_value=0, max_value=4)


class Game(RuleBasedStateMachine):
    """One step of this is one step of both."""

    def __init__(self, provider: FlakyDemo, settings: Settings) -> None:
        super().__init__()
        self.house = House(provider, settings)

    def teardown(self) -> None:
        try:
            self.house.come_to_rest()
        finally:
            self.house.close()

    @invariant()
    def agreed(self) -> None:
        self.house.check()

    # --- Holding

    @rule(who=people, show=shows, codes=codes)
    def hold(self, who: str, show: int, codes: list[str]) -> None:
        self.house.hold(who, show, codes)

    @rule(who=people, show=shows, quantity=st.integers(min_value=1, max_value=MOST_SEATS + 1))
    def hold_best(self, who: str, show: int, quantity: int) -> None:
        self.house.hold_best(who, show, quantity)

    @rule(who=people, show=shows, codes=st.one_of(st.just([]), codes))
    def extend(self, who: str, show: int, codes: list[str]) -> None:
        self.house.extend(who, show, codes)

    @rule(who=people, show=shows, codes=st.one_of(st.none(), codes))
    def release(self, who: str, show: int, codes: list[str] | None) -> None:
        self.house.release(who, show, codes)

    # What waits for its end is what a minute more or less matters to.
    @rule(seconds=st.sampled_from((5, 35, 130, 300, 605, 905, 1505)))
    def time_passes(self, seconds: int) -> None:
        self.house.time_passes(seconds)

    @rule(show=shows)
    def expire(self, show: int) -> None:
        self.house.expire(show)

    @rule(guest=st.sampled_from(GUESTS), user=st.sampled_from(USERS))
    def sign_in(self, guest: str, user: str) -> None:
        self.house.sign_in(guest, user)

    # --- Buying

    @precondition(lambda self: self.house.cinema.holds)
    @rule(which=newest, who=st.one_of(st.none(), people), token=tokens)
    def buy(self, which: int, who: str | None, token: str) -> None:
        self.house.buy(which, who, token)

    @rule(who=people, show=shows, codes=codes, token=tokens)
    def confirm(self, who: str, show: int, codes: list[str], token: str) -> None:
        self.house.confirm(who, show, codes, token)

    @precondition(lambda self: self.house.cinema.bookings)
    @rule(which=newest, outcome=outcomes)
    def decide(self, which: int, outcome: str) -> None:
        self.house.decide(which, outcome)

    @precondition(lambda self: self.house.cinema.bookings)
    @rule(which=newest, outcome=outcomes)
    def decide_silently(self, which: int, outcome: str) -> None:
        self.house.decide_silently(which, outcome)

    @precondition(lambda self: self.house.cinema.bookings)
    @rule(which=newest, told=outcomes, times=st.integers(min_value=1, max_value=2))
    def notice(self, which: int, told: str, times: int) -> None:
        self.house.notice(which, told, times)

    @precondition(lambda self: self.house.cinema.bookings)
    @rule(which=newest, wrong=st.sampled_from(("order", "amount", "currency", "reference", "signature")))
    def notice_about_nothing(self, which: int, wrong: str) -> None:
        self.house.notice_about_nothing(which, wrong)

    @precondition(lambda self: self.house.cinema.bookings)
    @rule(which=newest, who=st.one_of(st.none(), people))
    def cancel(self, which: int, who: str | None) -> None:
        self.house.cancel(which, who)

    @rule()
    def settle_overdue(self) -> None:
        self.house.settle_overdue()

    @rule(call=st.sampled_from(("create", "cancel", "refund")), lost=st.booleans())
    def provider_goes_away(self, call: str, lost: bool) -> None:  # noqa: FBT001
        self.house.provider_goes_away(call, lost=lost)

    @precondition(lambda self: self.house.provider_is_away)
    @rule()
    def provider_comes_back(self) -> None:
        self.house.provider_comes_back()

    # --- The house

    @rule(show=shows, codes=codes)
    def block(self, show: int, codes: list[str]) -> None:
        self.house.block(show, codes)

    @rule(show=shows, codes=codes)
    def unblock(self, show: int, codes: list[str]) -> None:
        self.house.unblock(show, codes)

    @precondition(lambda self: self.house.cinema.holds)
    @rule(which=newest)
    def withdraw(self, which: int) -> None:
        self.house.withdraw(which)

    @rule(show=shows)
    def stop_sales(self, show: int) -> None:
        self.house.stop_sales(show)

    @rule(show=shows)
    def resume_sales(self, show: int) -> None:
        self.house.resume_sales(show)

    @precondition(lambda self: self.house.steps > STEPS // 2)
    @rule(show=shows)
    def call_off(self, show: int) -> None:
        self.house.call_off(show)

    @rule()
    def reconcile(self) -> None:
        self.house.reconcile()

    # --- Redis

    @rule()
    def flush_redis(self) -> None:
        self.house.flush_redis()

    @rule(up=st.booleans())
    def redis_goes_or_comes(self, up: bool) -> None:  # noqa: FBT001
        self.house.redis_goes_or_comes(up=up)

    @rule(show=shows, code=st.sampled_from(PLACES), damage=st.sampled_from(("gone", "garbage", "foreign", "newer")))
    def damage_a_lock(self, show: int, code: str, damage: str) -> None:
        self.house.damage_a_lock(show, code, damage)


def test_the_product_does_what_the_model_says(provider: FlakyDemo, settings: Settings) -> None:
    settings.MAX_SEATS_PER_HOLD = MOST_SEATS
    profile = hypothesis.settings(
        max_examples=GAMES or 40,
        stateful_step_count=STEPS,
        derandomize=not GAMES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    play(lambda: Game(provider, settings), settings=profile)
