"""A browser that has picked seats, and whoever verifies without waiting."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client

from cinebook.core.models import User
from seating.identity import GUEST_KEY
from seating.models import Hold, Holder, Showtime
from seating.selectors import second_look
from seating.services import hold_seats, user_holder
from tests.factories import make_showtime

PASSWORD = "a long and winding road"


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", "ada@example.org", PASSWORD, first_name="Ada", last_name="Example")


@pytest.fixture
def showtime() -> Showtime:
    return make_showtime()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is at work, so whatever differs need not be waited for; but Redis is, however slow it is here."""
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 0.02)
    for patience in ("cinebook.core.redis.ANSWER_SECONDS", "cinebook.core.redis.SLOW_SECONDS"):
        monkeypatch.setattr(patience, 20.0)
    monkeypatch.setattr("seating.locks.mending.MEND_SECONDS", 20.0)


def guest_of(client: Client) -> Holder:
    """Who the browser is, as a guest."""
    return Holder.objects.get(guest_key=uuid.UUID(client.session[GUEST_KEY]))


def hold_as_guest(client: Client, showtime: Showtime, *codes: str) -> Hold:
    """Let the browser open the map, and hold these seats."""
    client.get(showtime.get_absolute_url())
    answer = hold_seats(holder_id=guest_of(client).pk, user_id=None, showtime_id=showtime.pk, codes=codes)
    return Hold.objects.get(pk=answer.hold.hold_id)


def hold_as(user: User, showtime: Showtime, *codes: str) -> Hold:
    """Let a user hold these seats, on some device."""
    holder = user_holder(user_id=user.pk)
    answer = hold_seats(holder_id=holder.pk, user_id=user.pk, showtime_id=showtime.pk, codes=codes)
    return Hold.objects.get(pk=answer.hold.hold_id)


def checkout_of(hold: Hold) -> str:
    """The address at which a hold is bought."""
    return f"/checkout/{hold.pk}/"


def buying(**given: str) -> dict[str, str]:
    """What a buyer types."""
    return {"name": "Ada Example", "email": "ada@example.org", "payment": "succeed", **given}
