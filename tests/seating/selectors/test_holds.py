"""What a holder holds: nothing of others, and nothing whose time is over."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid

import pytest
from pytest_django import DjangoAssertNumQueries

from cinebook.core.errors import ErrorCode
from seating.models import Holder, Showtime
from seating.selectors.holds import live_hold, live_holds, own_hold, unended_hold
from seating.services import expire_holds
from tests import factories
from tests.support.asking import hold, refused, release
from tests.support.passing_time import run_out, start_paying

pytestmark = pytest.mark.django_db(transaction=True)


def test_all_of_a_holders_oldest_first(
    showtime: Showtime, ada: Holder, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    others = factories.make_showtime()
    first = hold(others, ada, "A1").hold
    second = hold(showtime, ada, "A2", "A1").hold
    hold(showtime, factories.HolderFactory(), "C1")

    with django_assert_num_queries(1):
        held = live_holds(holder_id=ada.pk)
    assert [one.hold_id for one in held] == [first.hold_id, second.hold_id]
    assert held[1].seats == ("A1", "A2")
    assert held[1].server_time >= second.server_time


def test_only_the_seats_that_are_still_in_it(showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "A1", "A2", "C1")
    release(showtime, ada, "A2")
    held = live_hold(holder_id=ada.pk, showtime_id=showtime.pk)

    assert held is not None
    assert (held.seats, held.fences, held.amount) == (("A1", "C1"), (2, 2), 2700)


def test_what_has_run_out_is_nobodys_though_nobody_has_ended_it(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold
    run_out(held.hold_id)

    assert live_hold(holder_id=ada.pk, showtime_id=showtime.pk) is None
    assert live_holds(holder_id=ada.pk) == []
    with refused(ErrorCode.HOLD_EXPIRED):
        own_hold(holder_id=ada.pk, hold_id=held.hold_id)
    unended = unended_hold(held.hold_id)
    assert unended is not None
    assert (unended.lives_for, unended.expires_in) == (dt.timedelta(0), 0)

    expire_holds(showtime_id=showtime.pk)
    assert unended_hold(held.hold_id) is None
    with refused(ErrorCode.HOLD_EXPIRED):
        own_hold(holder_id=ada.pk, hold_id=held.hold_id)


def test_what_is_being_paid_has_no_end(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold
    start_paying(held.hold_id)
    run_out(held.hold_id)

    assert own_hold(holder_id=ada.pk, hold_id=held.hold_id).paying


def test_somebody_elses_is_not_there(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold

    assert own_hold(holder_id=ada.pk, hold_id=held.hold_id).hold_id == held.hold_id
    for holder_id, hold_id in ((factories.HolderFactory().pk, held.hold_id), (ada.pk, uuid.uuid4())):
        with refused(ErrorCode.NOT_FOUND):
            own_hold(holder_id=holder_id, hold_id=hold_id)


def test_whole_seconds_are_counted_down(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold
    almost = dataclasses.replace(held, expires_at=held.server_time + dt.timedelta(seconds=9.9))

    assert almost.expires_in == 9
