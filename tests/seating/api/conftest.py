"""Who uses the API in these tests."""

from __future__ import annotations

import pytest

from seating.identity import token_for_guest, tokens_for_user
from seating.models import Showtime
from tests.factories import UserFactory, make_showtime
from tests.support.api import ApiClient


@pytest.fixture
def showtime(db: None) -> Showtime:
    return make_showtime()


@pytest.fixture
def nobody() -> ApiClient:
    return ApiClient()


@pytest.fixture
def guest(db: None) -> ApiClient:
    return ApiClient(token=token_for_guest()["access"])


@pytest.fixture
def other(db: None) -> ApiClient:
    """Somebody else."""
    return ApiClient(token=token_for_guest()["access"])


@pytest.fixture
def user(db: None) -> ApiClient:
    return ApiClient(token=tokens_for_user(UserFactory())["access"])


def bearer(hold_token: str) -> ApiClient:
    """Somebody who has been handed the token of a hold."""
    return ApiClient(hold_token=hold_token)
