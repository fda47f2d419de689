"""Users and guests become holders once, however many of their requests come first."""

from __future__ import annotations

import uuid

import pytest

from seating.models import Holder
from seating.services import guest_holder, user_holder
from tests import factories
from tests.support.rivals import race

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_user_is_one_holder() -> None:
    user = factories.UserFactory()
    outcomes = race(*[lambda: user_holder(user_id=user.pk).pk] * 4)

    assert set(outcomes) == {Holder.objects.get().pk}
    assert Holder.objects.get().user_id == user.pk


def test_a_guest_is_one_holder() -> None:
    key = uuid.uuid4()
    outcomes = race(*[lambda: guest_holder(guest_key=key).pk] * 4)

    assert set(outcomes) == {Holder.objects.get().pk}
    assert Holder.objects.get().guest_key == key
