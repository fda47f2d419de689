"""Whoever waits for a provider that hangs is counted, and others are turned away in time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_django import Settings

from bookings.payments import ProviderAway, turns
from bookings.payments.stripe import StripeProvider
from bookings.payments.turns import REST_SECONDS, NoAnswer, Turns
from tests.support.clock import Clock


def test_only_so_many_wait_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "QUEUE_SECONDS", 0.01)
    at_most_two, inside, go_on = Turns(at_once=2), threading.Barrier(3), threading.Event()

    def wait() -> None:
        with at_most_two.turn():
            inside.wait(10)
            go_on.wait(10)

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(wait) for _ in range(2)]
        inside.wait(10)
        with pytest.raises(ProviderAway), at_most_two.turn():
            pytest.fail("a third one has come through")
        go_on.set()
        for future in waiting:
            future.result(10)
    with at_most_two.turn():
        pass


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (4, 3)])
def test_a_thread_is_left_for_everybody_else(settings: Settings, threads: int, at_once: int) -> None:
    settings.WEB_THREADS = threads
    free = StripeProvider()._turns._free
    assert [free.acquire(blocking=False) for _ in range(threads + 1)].count(True) == at_once


def test_after_no_answer_it_rests_but_for_one_who_tries(clock: Clock) -> None:
    alone = Turns(at_once=2)
    with pytest.raises(NoAnswer), alone.turn():
        raise NoAnswer
    with pytest.raises(ProviderAway), alone.turn():
        pytest.fail("it was asked while it rests")
    clock.now += REST_SECONDS
    # The one who tries is alone until there is an answer.
    with alone.turn(), pytest.raises(ProviderAway), alone.turn():
        pytest.fail("two have tried")
    with alone.turn(), alone.turn():
        pass


def test_an_error_is_an_answer(clock: Clock) -> None:
    answers = Turns(at_once=1)
    with pytest.raises(NoAnswer), answers.turn():
        raise NoAnswer
    clock.now += REST_SECONDS
    with pytest.raises(ProviderAway), answers.turn():
        raise ProviderAway
    with answers.turn():
        pass
