"""A showtime and two people."""

from __future__ import annotations

import dataclasses

import pytest

from seating.identity import Claimant, tokens_for_user
from seating.models import Holder, Showtime
from tests.factories import UserFactory, make_showtime


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody with a token."""

    claimant: Claimant
    token: str
    username: str


def person() -> Person:
    user = UserFactory()
    token = tokens_for_user(user)["access"]
    holder = Holder.objects.get(user=user)
    return Person(Claimant(holder_id=holder.pk, user_id=user.pk), token, user.username)


@pytest.fixture
def showtime(empty_redis: None, transactional_db: None) -> Showtime:
    return make_showtime()


@pytest.fixture
def ada(showtime: Showtime) -> Person:
    return person()


@pytest.fixture
def ben(showtime: Showtime) -> Person:
    return person()
