from __future__ import annotations

import pytest
from pytest_django import Settings

from tests.model.seats import MOST_SEATS
from tests.support.sale_fixtures import provider

__all__ = ["provider"]


@pytest.fixture
def rules(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model takes for granted."""
    settings.MAX_SEATS_PER_HOLD = MOST_SEATS
    # Whether Redis is there is for the game to say, and not for how busy the machine is.
    monkeypatch.setattr("cinebook.core.redis.SLOW_SECONDS", 60)
    monkeypatch.setattr("cinebook.core.redis.ANSWER_SECONDS", 60)
    monkeypatch.setattr("cinebook.core.breaker.Breaker.admits", lambda _breaker: True)
