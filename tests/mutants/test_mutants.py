"""Every mistake of the catalogue is seen by those who look for broken promises, and sound code is not complained of."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from django.db import DatabaseError
from pytest_django import Settings

from tests.mutants import checkers
from tests.mutants.scenarios import SCENARIOS, House, Scenario
from tests.support.asking import NOWHERE
from tests.support.mutants import CATALOGUE, planted

pytestmark = pytest.mark.django_db(transaction=True)

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.mutant)
Play = Callable[[Scenario], dict[str, str]]


@pytest.fixture
def play(
    request: pytest.FixtureRequest,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    """Plays a story, and returns what there is to complain of, by who complains."""
    house = House(**{name: request.getfixturevalue(name) for name in ("showtime", "ada", "ben", "provider", "redis")})
    monkeypatch.setattr("cinebook.core.redis.SLOW_SECONDS", 60)
    house.events = request.getfixturevalue("events")

    def play(scenario: Scenario) -> dict[str, str]:
        if not scenario.redis:
            settings.REDIS_URL = NOWHERE
        said: dict[str, str] = {}
        with checkers.deadlocks_counted() as deadlocks:
            try:
                scenario.story(house)
            except DatabaseError as error:
                said["errors"] = str(error)
            if deadlocks():
                said["deadlocks"] = "rows are locked in several orders"
        for record in caplog.records:
            if record.levelno >= logging.ERROR:
                said["errors"] = record.getMessage()
        asked = [checkers.verify_seats, checkers.promises, checkers.answers, checkers.provider, checkers.viewers]
        said |= {check.__name__: check(house) for check in asked}
        return {name: complaint for name, complaint in said.items() if complaint}

    return play


@each_scenario
def test_sound_code_is_not_complained_of(play: Play, scenario: Scenario) -> None:
    assert play(scenario) == {}


@each_scenario
def test_a_mutant_is_seen(play: Play, scenario: Scenario) -> None:
    with planted(scenario.mutant):
        said = play(scenario)
    # By these and by no others, so that the documentation can say who sees what.
    assert said.keys() == scenario.seen_by


def test_no_mutant_is_without_a_scenario() -> None:
    assert {scenario.mutant for scenario in SCENARIOS} == CATALOGUE.keys()
