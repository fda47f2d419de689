"""Whether the sessions that opened sockets still say the same: people sign out, change passwords, are locked out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from cinebook.core.models import User
from seating.identity import GUEST_KEY

SessionStore = import_module(settings.SESSION_ENGINE).SessionStore


@dataclasses.dataclass(frozen=True, slots=True)
class ShownSession:
    """A session as it was shown: its key, and the user who it said is there, or the guest."""

    key: str
    user_id: int | None
    guest_key: str | None


def shown_session(session: SessionBase, user: Any) -> ShownSession:
    """Return what is to be remembered of a session.

    Args:
        session: the session.
        user: the signed-in user, or Django's anonymous one.
    """
    assert session.session_key, "it was found by its key"  # noqa: S101
    if user.is_authenticated:
        return ShownSession(session.session_key, user_id=user.pk, guest_key=None)
    return ShownSession(session.session_key, user_id=None, guest_key=session.get(GUEST_KEY))


def ended_sessions(shown: Collection[ShownSession]) -> set[ShownSession]:
    """Return those that are over, or say somebody else now. However many: one statement, and one for their users."""
    rows = SessionStore.get_model_class().objects.filter(
        session_key__in={session.key for session in shown}, expire_date__gt=timezone.now()
    )
    store = SessionStore()
    said = {key: store.decode(data) for key, data in rows.values_list("session_key", "session_data")}
    signed_in = {data[SESSION_KEY] for data in said.values() if SESSION_KEY in data}
    users = {str(user.pk): user for user in User.objects.filter(pk__in=signed_in, is_active=True)} if signed_in else {}
    return {
        session
        for session in shown
        if session.key not in said or _who(said[session.key], users) != (session.user_id, session.guest_key)
    }


def _who(data: dict[str, Any], users: Mapping[str, User]) -> tuple[int | None, str | None]:
    """Return whom the data of a session names, as Django and `claimant_of_session` see it: a user, or a guest."""
    user = users.get(data.get(SESSION_KEY, ""))
    # A new password ends the sessions of the old one.
    if user and constant_time_compare(data.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
        return user.pk, None
    return None, data.get(GUEST_KEY)
