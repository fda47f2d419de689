"""A house that is verified."""

from __future__ import annotations

import pytest
from pytest_django import Settings
from redis import Redis

from seating.selectors import comparison
from tests.bookings.services.verifying.house import House, build_house
from tests.support.asking import NOWHERE


@pytest.fixture
def house(redis: Redis) -> House:
    return build_house()


@pytest.fixture
def without_redis(house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis goes away once the house stands, and nobody waits for it to come back."""
    settings.REDIS_URL = NOWHERE
    monkeypatch.setattr(comparison, "ATTEMPTS", 1)
