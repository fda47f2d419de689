"""The house blocks seats and takes holds back; what somebody holds or has bought it does not touch by the way."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries
from redis import Redis

from cinebook.core.errors import ErrorCode
from seating.events import HoldChanged, SeatsChanged
from seating.models import BlockReason, Hold, Holder, Seat, SeatEvent, SeatHold, Showtime, ShowtimeSales
from seating.services import block_seats, unblock_seats, withdraw_hold, withdraw_holds
from tests import factories
from tests.support.asking import held_codes, hold, refused, seat
from tests.support.ledger import assert_sound
from tests.support.passing_time import run_out, start_paying

pytestmark = pytest.mark.django_db(transaction=True)


def block(showtime: Showtime, *codes: str) -> tuple[str, ...]:
    return block_seats(showtime_id=showtime.pk, codes=codes, reason=BlockReason.BROKEN)


def unblock(showtime: Showtime, *codes: str) -> tuple[str, ...]:
    return unblock_seats(showtime_id=showtime.pk, codes=codes)


def sell(held: uuid.UUID) -> None:
    """Let the seats of a hold be sold, as far as their rows say so."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_seat SET status = 'SOLD', sold_at = now(), reserved_at = NULL, reserved_until = NULL
            WHERE hold_id = %s
            """,
            [held],
        )


class TestBlock:
    def test_seats_are_kept_back_with_a_reason(self, showtime: Showtime, ada: Holder, events: list[Any]) -> None:
        assert block(showtime, "A1", "A2") == ("A1", "A2")

        assert (seat(showtime, "A1").status, seat(showtime, "A1").block_reason) == ("BLOCKED", "broken")
        assert seat(showtime, "A1").fence == 1
        assert events == [SeatsChanged(showtime.pk, 1, {"A1": "blocked", "A2": "blocked"})]
        assert set(SeatEvent.objects.values_list("from_status", "to_status", "cause")) == {
            ("AVAILABLE", "BLOCKED", "blocked")
        }
        with refused(ErrorCode.SEAT_BLOCKED) as data:
            hold(showtime, ada, "A1", "A3")
        assert data["seats"] == {"A1": ErrorCode.SEAT_BLOCKED}
        assert_sound(showtime.pk)

    def test_all_or_nothing_and_each_seat_is_told(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1")
        sell(hold(showtime, ben, "A2").hold.hold_id)
        for change in (block, unblock):
            with refused(ErrorCode.SEAT_BOOKED) as data:
                change(showtime, "A1", "A2", "A3")
            assert data["seats"] == {"A1": ErrorCode.SEAT_HELD, "A2": ErrorCode.SEAT_BOOKED}
        assert seat(showtime, "A3").status == "AVAILABLE"
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 2

    def test_what_is_blocked_already_keeps_its_reason(self, showtime: Showtime, events: list[Any]) -> None:
        block(showtime, "A1")
        events.clear()

        again = block_seats(showtime_id=showtime.pk, codes=["A1", "A2"], reason=BlockReason.HOUSE_SEAT)
        assert again == ("A2",)
        assert seat(showtime, "A1").block_reason == "broken"
        assert events == [SeatsChanged(showtime.pk, 2, {"A2": "blocked"})]
        assert block(showtime, "A1", "A2") == ()
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 2
        assert_sound(showtime.pk)

    def test_a_hold_that_has_run_out_is_no_obstacle(self, showtime: Showtime, ada: Holder) -> None:
        run_out(hold(showtime, ada, "A1").hold.hold_id)

        assert block(showtime, "A1") == ("A1",)
        assert Hold.objects.get().end_reason == "expired"
        assert_sound(showtime.pk)

    def test_seats_that_are_not_made_yet_are_made(self, showtime: Showtime) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()

        assert block(showtime, "A1") == ("A1",)
        assert showtime.seats.count() == 18
        assert_sound(showtime.pk)

    def test_nonsense(self, showtime: Showtime) -> None:
        with refused(ErrorCode.UNKNOWN_SEAT) as data:
            block(showtime, "A1", "Z9")
        assert data["seats"] == {"Z9": ErrorCode.UNKNOWN_SEAT}
        with refused(ErrorCode.INVALID_DATA):
            block(showtime)
        with refused(ErrorCode.NOT_FOUND):
            block_seats(showtime_id=0, codes=["A1"], reason=BlockReason.BROKEN)
        with pytest.raises(ValueError, match="sabotage"):
            block_seats(showtime_id=showtime.pk, codes=["A1"], reason="sabotage")  # type: ignore[arg-type]

    def test_unblocked_seats_are_sold_again(self, showtime: Showtime, ada: Holder, events: list[Any]) -> None:
        block(showtime, "A1", "A2")
        events.clear()

        assert unblock(showtime, "A1", "A3") == ("A1",)
        assert events == [SeatsChanged(showtime.pk, 2, {"A1": "available"})]
        assert (seat(showtime, "A1").status, seat(showtime, "A1").block_reason) == ("AVAILABLE", "")
        assert SeatEvent.objects.filter(seq=2).values_list("from_status", "to_status", "cause").get() == (
            "BLOCKED", "AVAILABLE", "unblocked",
        )  # fmt: skip
        assert hold(showtime, ada, "A1").taken == ("A1",)
        assert_sound(showtime.pk)

    def test_many_seats_cost_as_many_statements_as_one(
        self, showtime: Showtime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        block(showtime, "C6")
        codes = list(showtime.seats.exclude(code="C6").values_list("code", flat=True))
        # The holds that have run out; then the seats' locks, their UPDATE and the ledger. And two times BEGIN, COMMIT.
        with django_assert_num_queries(8):
            block(showtime, *codes)


class TestWithdraw:
    def test_the_hold_ends_and_its_seats_are_free(
        self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any], redis: Redis
    ) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        events.clear()

        assert withdraw_hold(hold_id=held.hold_id) == ("A1", "A2")
        ended = Hold.objects.get()
        assert (ended.end_reason, ended.paying) == ("withdrawn", False)
        assert set(SeatHold.objects.values_list("end_reason", flat=True)) == {"withdrawn"}
        assert set(SeatEvent.objects.filter(seq=2).values_list("cause", flat=True)) == {"withdrawn"}
        assert events == [
            HoldChanged(ada.pk, showtime.pk),
            SeatsChanged(showtime.pk, 2, {"A1": "available", "A2": "available"}),
        ]
        assert redis.keys("seat_lock:*") == redis.keys("seat_hold:*") == []
        assert hold(showtime, ben, "A1").taken == ("A1",)
        assert_sound(showtime.pk)

    def test_a_hold_that_is_being_paid_stays(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        start_paying(held.hold_id)

        with refused(ErrorCode.HOLD_PAYING):
            withdraw_hold(hold_id=held.hold_id)
        assert held_codes(showtime) == ["A1"]

    def test_once_is_enough(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        withdraw_hold(hold_id=held.hold_id)

        with refused(ErrorCode.HOLD_EXPIRED):
            withdraw_hold(hold_id=held.hold_id)
        with refused(ErrorCode.NOT_FOUND):
            withdraw_hold(hold_id=uuid.uuid4())

    def test_one_that_others_have_taken_over_just_ends(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        lapsed = hold(showtime, ada, "A1").hold
        run_out(lapsed.hold_id)
        hold(showtime, ben, "A1")

        assert withdraw_hold(hold_id=lapsed.hold_id) == ()
        assert Hold.objects.get(pk=lapsed.hold_id).end_reason == "withdrawn"
        assert held_codes(showtime) == ["A1"]

    def test_all_of_a_showtime_with_one_version(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        other = factories.make_showtime()
        hold(showtime, ada, "A1", "A2")
        hold(showtime, ben, "B1")
        hold(other, ada, "A1")
        buyer = factories.HolderFactory()
        start_paying(hold(showtime, buyer, "C1").hold.hold_id)

        withdrawn = withdraw_holds(showtime_id=showtime.pk)
        assert (withdrawn.holds, withdrawn.seats) == (2, ("A1", "A2", "B1"))
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 4
        assert (held_codes(showtime), held_codes(other)) == (["C1"], ["A1"])
        assert withdraw_holds(showtime_id=showtime.pk).holds == 0
        assert_sound(showtime.pk)

    def test_many_holds_cost_as_many_statements_as_one(
        self, showtime: Showtime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for code in ("A1", "A2", "A3", "A4", "A5"):
            hold(showtime, factories.HolderFactory(), code)
        # Locks of holds and of seats; seats, audit, ledger, holds; BEGIN and COMMIT.
        with django_assert_num_queries(8):
            withdraw_holds(showtime_id=showtime.pk)
