"""How the seats stand, read at one version, as one viewer sees them."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from cinebook.core.errors import ErrorCode
from seating.models import Hold, Holder, Seat, SeatHold, Showtime, ShowtimeSales
from seating.selectors.programme import price_list
from seating.selectors.seat_map import current_version, seat_map, seat_snapshot, seats_of_others
from tests import factories
from tests.support.asking import hold, refused
from tests.support.passing_time import run_out, start_paying

pytestmark = pytest.mark.django_db(transaction=True)


def seen(showtime: Showtime, viewer: Holder | None, *codes: str) -> list[str]:
    snapshot = seat_snapshot(showtime_id=showtime.pk, holder_id=viewer.pk if viewer else None)
    return [snapshot.seats[code].value for code in codes]


class TestSnapshot:
    def test_everybody_sees_their_own(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1")
        hold(showtime, ben, "A2")
        Seat.objects.filter(showtime=showtime, code="A3").update(status="BLOCKED", block_reason="broken")

        codes = ("A1", "A2", "A3", "A4")
        assert seen(showtime, ada, *codes) == ["selected", "locked", "blocked", "available"]
        assert seen(showtime, ben, *codes) == ["locked", "selected", "blocked", "available"]
        assert seen(showtime, None, *codes) == ["locked", "locked", "blocked", "available"]

    def test_what_one_has_bought_is_occupied_for_oneself_as_well(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        now = timezone.now()
        SeatHold.objects.filter(hold=held.hold_id).update(ended_at=now, end_reason="sold")
        Hold.objects.filter(pk=held.hold_id).update(ended_at=now, end_reason="sold")
        Seat.objects.filter(hold=held.hold_id).update(status="SOLD", sold_at=now, reserved_at=None, reserved_until=None)
        assert seen(showtime, ada, "A1") == ["occupied"]

    def test_what_is_being_paid_stays_ones_own(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        start_paying(hold(showtime, ada, "A1").hold.hold_id)
        assert (seen(showtime, ada, "A1"), seen(showtime, ben, "A1")) == (["selected"], ["locked"])

    def test_in_the_order_of_the_layout_with_its_version_and_clock(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "C6")
        snapshot = seat_snapshot(showtime_id=showtime.pk, holder_id=None)

        assert list(snapshot.seats) == [f"{row}{number}" for row in "ABC" for number in range(1, 7)]
        assert (snapshot.version, snapshot.sale) == current_version(showtime_id=showtime.pk) == (1, "open")
        assert abs(snapshot.server_time - timezone.now()) < dt.timedelta(seconds=5)
        assert len(snapshot.available) == 17

    def test_a_showtime_without_seats(self, showtime: Showtime) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()
        snapshot = seat_snapshot(showtime_id=showtime.pk, holder_id=None)
        assert (snapshot.seats, snapshot.version, snapshot.sale) == ({}, 0, "open")
        assert current_version(showtime_id=showtime.pk) == (0, "open")

    def test_a_showtime_that_there_is_not(self) -> None:
        with refused(ErrorCode.NOT_FOUND):
            seat_snapshot(showtime_id=987_654_321, holder_id=None)
        with refused(ErrorCode.NOT_FOUND):
            current_version(showtime_id=987_654_321)

    def test_one_statement(self, showtime: Showtime, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(1):
            seat_snapshot(showtime_id=showtime.pk, holder_id=7)


def test_the_map_puts_places_prices_and_statuses_together(showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "A1")
    showtime.prices.filter(category="premium").delete()
    found = seat_map(
        showtime=showtime,
        prices=price_list(showtime),
        snapshot=seat_snapshot(showtime_id=showtime.pk, holder_id=ada.pk),
    )

    assert [(label, len(seats)) for label, seats in found.rows] == [("A", 6), ("B", 6), ("C", 6)]
    first, second = found.rows[0][1][:2]
    assert (first.place.code, first.amount, first.status) == ("A1", 1200, "selected")
    assert (second.status, found.rows[2][1][0].status) == ("available", "blocked")
    assert found.kinds == {"seat", "wheelchair", "companion"}
    assert found.available == 11
    assert found.version == 1


def test_of_others_is_what_somebody_else_holds_now(showtime: Showtime, ada: Holder, ben: Holder) -> None:
    hold(showtime, ada, "A1")
    cid, dan = factories.HolderFactory(), factories.HolderFactory()
    run_out(hold(showtime, ben, "A2").hold.hold_id)
    paid = hold(showtime, cid, "A3").hold
    start_paying(paid.hold_id)
    run_out(paid.hold_id)
    Seat.objects.filter(showtime=showtime, code="A4").update(status="BLOCKED", block_reason="broken")
    hold(showtime, dan, "A6")

    asked = ["A1", "A2", "A3", "A4", "A5"]
    assert seats_of_others(showtime_id=showtime.pk, codes=asked, holder_id=dan.pk) == {"A1", "A3"}
    assert seats_of_others(showtime_id=showtime.pk, codes=asked, holder_id=ada.pk) == {"A3"}
