"""Who races: a showtime and some people; nobody listens to the events."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from seating.models import Holder, Showtime
from tests import factories
from tests.support.asking import NOWHERE


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seating.services.announcing.broadcast.send", lambda event: None)


@pytest.fixture
def showtime() -> Showtime:
    return factories.make_showtime()


@pytest.fixture
def ada() -> Holder:
    return factories.HolderFactory()


@pytest.fixture
def ben() -> Holder:
    return factories.HolderFactory()


@pytest.fixture
def without_redis(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE


@pytest.fixture(params=["with Redis", "without Redis"])
def either_way(request: pytest.FixtureRequest) -> None:
    """The race is run twice: Redis may refuse, but only PostgreSQL decides."""
    if request.param == "without Redis":
        request.getfixturevalue("without_redis")
