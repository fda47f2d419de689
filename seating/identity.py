"""Who is asking: every door turns what it was shown into a holder, here.

A holder is a signed-in user, or a guest: a browser session that has opened a seat map, or a guest token. A hold token
stands for the holder of one hold, and for that hold alone.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from typing import Any

import structlog
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.models import User
from seating.models import Hold
from seating.services import adopt_holds, guest_holder, token_hash, user_holder

log = structlog.get_logger(__name__)

# Where a session keeps the key of its guest. It is data, not the session's own key, so it survives a login.
GUEST_KEY = "guest_key"
# The claim of our tokens that names the holder; with it, nothing has to be looked up.
HOLDER_CLAIM = "holder_id"
USER_CLAIM = "user_id"
# The claim of a refresh token that no longer fits once its user has changed their password.
PASSWORD_CLAIM = "password_check"  # noqa: S105 - a name
GUEST_TOKEN_LIFETIME = dt.timedelta(hours=12)


class UserRefreshToken(RefreshToken):
    """A refresh token that lives no longer than the password it was got with."""

    no_copy_claims = (*RefreshToken.no_copy_claims, PASSWORD_CLAIM)  # type: ignore[assignment] # one longer


@dataclasses.dataclass(frozen=True, slots=True)
class Claimant:
    """A holder who is asking. In the API it takes the place of the user."""

    holder_id: int
    user_id: int | None

    @property
    def is_authenticated(self) -> bool:
        """Always; DRF asks."""
        return True


@dataclasses.dataclass(frozen=True, slots=True)
class HoldBearer:
    """Somebody who has shown the token of a hold: they may act for its holder, on that hold alone."""

    claimant: Claimant
    hold_id: uuid.UUID
    showtime_id: int


def claimant_of_session(session: SessionBase, user: Any) -> Claimant | None:
    """Return who a browser is; None for a session that has never opened a seat map.

    Args:
        session: the session.
        user: the signed-in user, or Django's anonymous one.
    """
    if user.is_authenticated:
        return Claimant(holder_id=user_holder(user_id=user.pk).pk, user_id=user.pk)
    key = session.get(GUEST_KEY)
    return Claimant(holder_id=guest_holder(guest_key=uuid.UUID(key)).pk, user_id=None) if key else None


def welcome(session: SessionBase, user: Any) -> Claimant:
    """Return who a browser is; a stranger becomes a guest, for as long as the session lives."""
    if not user.is_authenticated and GUEST_KEY not in session:
        session[GUEST_KEY] = str(uuid.uuid4())
    claimant = claimant_of_session(session, user)
    assert claimant is not None, "the session has a guest's key now"  # noqa: S101
    guest_id = guest_left_behind(session, user)
    if guest_id:
        bring_holds(guest_id=guest_id, claimant=claimant)
    return claimant


def guest_left_behind(session: SessionBase, user: Any) -> int | None:
    """Return the holder that a signed-in user's browser was as a guest, if it may still have something of theirs."""
    key = session.get(GUEST_KEY) if user.is_authenticated else None
    return guest_holder(guest_key=uuid.UUID(key)).pk if key else None


def bring_holds(*, guest_id: int, claimant: Claimant) -> bool:
    """Give a user the holds of the guest that they were.

    It never stands in the way of signing in: what could not be moved now is asked for again by their next page.

    Args:
        guest_id: the guest's holder.
        claimant: the user.

    Returns:
        Whether the guest has nothing left that could still become the user's.
    """
    try:
        return adopt_holds(guest_id=guest_id, holder_id=claimant.holder_id)
    except Refusal as refusal:
        log.warning("guest.not_adopted", guest_id=guest_id, holder_id=claimant.holder_id, code=refusal.code.value)
        return False


def claimant_of_token(token: str) -> Claimant:
    """Return who a JSON web token of ours stands for, without asking the database.

    Raises:
        Refusal: `not_authenticated` if it is forged, run out, or no access token.
    """
    return claimant_until(token)[0]


def claimant_until(token: str) -> tuple[Claimant, dt.datetime]:
    """Return who a JSON web token of ours stands for, and until when.

    Raises:
        Refusal: as `claimant_of_token`.
    """
    try:
        claims = AccessToken(token)  # type: ignore[arg-type] # its annotation names its own class
        claimant = Claimant(holder_id=int(claims[HOLDER_CLAIM]), user_id=claims.get(USER_CLAIM))
        return claimant, dt.datetime.fromtimestamp(claims["exp"], dt.UTC)
    except (TokenError, KeyError, TypeError, ValueError) as error:
        raise Refusal(ErrorCode.NOT_AUTHENTICATED) from error


def bearer_of_hold(token: str) -> HoldBearer:
    """Return what a hold token stands for; the hold may have ended.

    Raises:
        Refusal: `not_authenticated` if no hold has this token.
    """
    hold = Hold.objects.filter(token_hash=token_hash(token)).select_related("holder").first()
    if hold is None:
        raise Refusal(ErrorCode.NOT_AUTHENTICATED)
    claimant = Claimant(holder_id=hold.holder_id, user_id=hold.holder.user_id)
    return HoldBearer(claimant=claimant, hold_id=hold.pk, showtime_id=hold.showtime_id)


def tokens_for_user(user: User) -> dict[str, str]:
    """Return a new pair of tokens: `access` for requests, `refresh` for a new `access`."""
    refresh = UserRefreshToken.for_user(user)
    refresh[USER_CLAIM] = user.pk
    refresh[PASSWORD_CLAIM] = user.get_session_auth_hash()
    refresh[HOLDER_CLAIM] = user_holder(user_id=user.pk).pk
    return {"access": str(refresh.access_token), "refresh": str(refresh)}


def token_for_guest() -> dict[str, str]:
    """Make a guest and return their token with its end, for kiosks and other front ends."""
    access = AccessToken()
    access.set_exp(lifetime=GUEST_TOKEN_LIFETIME)
    access[HOLDER_CLAIM] = guest_holder(guest_key=uuid.uuid4()).pk
    expires_at = dt.datetime.fromtimestamp(access["exp"], dt.UTC)
    return {"access": str(access), "expires_at": expires_at.isoformat().replace("+00:00", "Z")}


def fresh_access_token(refresh: str) -> str:
    """Return a new access token for a refresh token.

    Raises:
        Refusal: `not_authenticated` if it is forged, has run out, or its user may not sign in any more or has changed
            their password.
    """
    try:
        token = UserRefreshToken(refresh)  # type: ignore[arg-type] # its annotation names its own class
        user_id, password_check = token[USER_CLAIM], token[PASSWORD_CLAIM]
    except (TokenError, KeyError, TypeError, ValueError) as error:
        raise Refusal(ErrorCode.NOT_AUTHENTICATED) from error
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not constant_time_compare(password_check, user.get_session_auth_hash()):
        raise Refusal(ErrorCode.NOT_AUTHENTICATED)
    return str(token.access_token)
