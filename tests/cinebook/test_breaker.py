"""Whoever does not answer is left alone, but for one who tries."""

from __future__ import annotations

import pytest

from cinebook.core.breaker import Breaker
from tests.support.clock import Clock
from tests.support.rivals import race

REST_SECONDS = 5.0


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(REST_SECONDS)


def test_one_failure_and_nobody_tries_for_a_while(breaker: Breaker, clock: Clock) -> None:
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    clock.now += REST_SECONDS - 0.01
    assert not breaker.admits()


def test_then_one_caller_tries_for_all(breaker: Breaker, clock: Clock) -> None:
    breaker.failed()
    clock.now += REST_SECONDS
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    # Who tried may have died on the way.
    clock.now += REST_SECONDS
    assert breaker.admits()
    breaker.answered()
    assert all(breaker.admits() for _ in range(3))


def test_it_tells_only_of_what_is_new(breaker: Breaker) -> None:
    assert [breaker.answered(), breaker.failed(), breaker.failed(), breaker.answered(), breaker.answered()] == [
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.django_db
def test_of_many_threads_one_is_let_through(breaker: Breaker, clock: Clock) -> None:
    breaker.failed()
    clock.now += REST_SECONDS
    assert sum(race(*[breaker.admits] * 8)) == 1
