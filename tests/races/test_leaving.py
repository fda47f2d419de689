"""Somebody goes from the seat map to the checkout while their hold is busy: their seats wait for them there."""

from __future__ import annotations

import pytest
from django.db import connection

from seating.models import Hold, Holder, Showtime
from seating.services import leave, stay
from tests.support.asking import hold
from tests.support.rivals import DEADLINE, in_background, rows_locked, wait_for_waiters

pytestmark = pytest.mark.django_db(transaction=True)

HOLD = "SELECT id FROM seating_hold WHERE id = %s"


def test_a_page_that_opens_while_the_hold_is_busy_is_remembered(showtime: Showtime, ada: Holder) -> None:
    """Their last pick is under way, or the reconciler is; the map's goodbye comes after the checkout has opened."""
    held = hold(showtime, ada, "A1").hold
    with in_background() as start:
        with rows_locked(HOLD, [held.hold_id]):
            opening = start(lambda: stay(holder_id=ada.pk, showtime_id=showtime.pk))
            wait_for_waiters(1)
        assert opening.result(DEADLINE) is None

    leave(holder_id=ada.pk, showtime_id=showtime.pk, visited_at=held.locked_at)
    assert Hold.objects.get().left_at is None


def test_a_hold_that_stays_busy_keeps_no_page_from_opening(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    with rows_locked(HOLD, [held.hold_id]):
        stay(holder_id=ada.pk, showtime_id=showtime.pk)
    connection.close()
    assert Hold.objects.get().visited_at is None
