"""Users and guests become holders when they first need to be."""

from __future__ import annotations

import uuid

from seating.models import Holder


def user_holder(*, user_id: int) -> Holder:
    """Return the holder that a user is, made on first use."""
    return Holder.objects.get_or_create(user_id=user_id)[0]


def guest_holder(*, guest_key: uuid.UUID) -> Holder:
    """Return the holder with a guest's key, made on first use."""
    return Holder.objects.get_or_create(guest_key=guest_key)[0]
