"""Who is looking at a page of buying, and what they bring along when they sign in.

Sign-in and sign-up call this themselves, and every page of buying does: Django's `user_logged_in` is not used, because
signals hide who does what, and because with this a session that was signed in through another door, such as the
admin's, catches up at its next page. The API has nothing to bring: its tokens know no session.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib.sessions.backends.base import SessionBase

from bookings.services import adopt_bookings
from cinebook.core.errors import Refusal
from seating.identity import GUEST_KEY, Claimant, bring_holds, claimant_of_session, guest_left_behind

log = structlog.get_logger(__name__)


def visitor(session: SessionBase, user: Any) -> Claimant | None:
    """Return who a browser is; None for one that has never opened a seat map.

    A user who was a guest in this session until now gets what the guest held and bought.

    Args:
        session: the session.
        user: the signed-in user, or Django's anonymous one.
    """
    claimant = claimant_of_session(session, user)
    guest_id = guest_left_behind(session, user)
    if claimant and guest_id:
        # Holds first: once they have moved, the guest cannot begin to pay for one any more.
        done = bring_holds(guest_id=guest_id, claimant=claimant)
        if _bring_bookings(guest_id, claimant) and done:
            del session[GUEST_KEY]
    return claimant


def _bring_bookings(guest_id: int, claimant: Claimant) -> bool:
    """Give a user the bookings of the guest that they were; return False if their next page has to ask again."""
    try:
        adopt_bookings(guest_id=guest_id, holder_id=claimant.holder_id)
    except Refusal as refusal:
        log.warning("bookings.not_adopted", guest_id=guest_id, holder_id=claimant.holder_id, code=refusal.code.value)
        return False
    return True
