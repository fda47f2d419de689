"""A showtime, some people and what they bought, an ear for events, and a provider and a Redis that can be away."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from bookings import payments
from bookings.models import Booking
from seating.models import Holder, Showtime
from tests import factories
from tests.support.asking import NOWHERE, hold
from tests.support.buying import FlakyDemo, buy


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is told to browsers, in order."""
    sent: list[Any] = []
    monkeypatch.setattr("seating.services.announcing.broadcast.send", sent.append)
    return sent


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FlakyDemo:
    """The demo provider, which may be told to be away."""
    flaky = FlakyDemo()
    monkeypatch.setitem(payments.PROVIDERS, "demo", flaky)
    return flaky


@pytest.fixture
def showtime() -> Showtime:
    return factories.make_showtime()


@pytest.fixture
def ada() -> Holder:
    """A guest."""
    return factories.HolderFactory()


@pytest.fixture
def ben() -> Holder:
    """A user."""
    return factories.HolderFactory(guest_key=None, user=factories.UserFactory())


@pytest.fixture
def pending(showtime: Showtime, ada: Holder, provider: FlakyDemo) -> Booking:
    """A booking of A1 and A2 that waits on the provider's page."""
    return buy(hold(showtime, ada, "A1", "A2").hold, "stall").booking


@pytest.fixture
def bought(showtime: Showtime, ada: Holder, provider: FlakyDemo) -> Booking:
    """A booking of A1 and A2 that is paid."""
    return buy(hold(showtime, ada, "A1", "A2").hold).booking


@pytest.fixture
def without_redis(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE


@pytest.fixture(params=["with Redis", "without Redis"])
def either_way(request: pytest.FixtureRequest) -> None:
    """The test runs twice: what is promised is promised by PostgreSQL alone."""
    if request.param == "without Redis":
        request.getfixturevalue("without_redis")
