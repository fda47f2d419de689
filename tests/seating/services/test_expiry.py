"""The end of a hold's time: whoever comes first ends it, and nobody else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from redis import Redis

from cinebook.core.errors import ErrorCode, Refusal
from seating.events import HoldChanged, HoldExpired, SeatsChanged
from seating.models import Hold, Holder, Seat, SeatChange, SeatEvent, SeatHold, Showtime, ShowtimeSales
from seating.selectors.holds import live_hold
from seating.services import expire_holds, holding, showtimes_with_lapsed_holds
from seating.services.row_locks import lock_seats
from seating.services.seat_changes import free
from tests import factories
from tests.support.asking import extend, held_codes, hold, refused, release, seat
from tests.support.ledger import assert_sound
from tests.support.passing_time import run_out, start_paying
from tests.support.rivals import race, rival_transaction, rows_locked, wait_for_waiters

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("either_way")
class TestExpire:
    def test_what_is_over_is_ended(self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any]) -> None:
        over = hold(showtime, ada, "A1", "A2").hold
        hold(showtime, ben, "A3")
        run_out(over.hold_id)
        events.clear()

        assert live_hold(holder_id=ada.pk, showtime_id=showtime.pk) is None
        assert showtimes_with_lapsed_holds() == [showtime.pk]
        assert expire_holds(showtime_id=showtime.pk) == 2
        assert showtimes_with_lapsed_holds() == []
        assert expire_holds(showtime_id=showtime.pk) == 0

        assert held_codes(showtime) == ["A3"]
        assert Hold.objects.get(pk=over.hold_id).end_reason == "expired"
        assert set(SeatHold.objects.filter(hold=over.hold_id).values_list("end_reason", flat=True)) == {"expired"}
        assert events == [
            HoldExpired(ada.pk, showtime.pk, over.hold_id, ("A1", "A2")),
            SeatsChanged(showtime.pk, 3, {"A1": "available", "A2": "available"}),
        ]
        assert_sound(showtime.pk)

    def test_several_at_once_share_a_version(self, showtime: Showtime, events: list[Any]) -> None:
        for code in ("A1", "B3", "C1"):
            run_out(hold(showtime, factories.HolderFactory(), code).hold.hold_id)
        events.clear()

        assert expire_holds(showtime_id=showtime.pk) == 3
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 4
        assert [type(event) for event in events] == [HoldExpired, HoldExpired, HoldExpired, SeatsChanged]
        assert_sound(showtime.pk)

    def test_what_is_being_paid_never_expires(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        start_paying(held.hold_id)
        run_out(held.hold_id)

        assert showtimes_with_lapsed_holds() == []
        assert expire_holds(showtime_id=showtime.pk) == 0
        assert live_hold(holder_id=ada.pk, showtime_id=showtime.pk) is not None
        with refused(ErrorCode.SEAT_HELD):
            hold(showtime, ben, "A1")
        assert_sound(showtime.pk)

    def test_other_showtimes_are_left_alone(self, showtime: Showtime, ada: Holder) -> None:
        run_out(hold(showtime, ada, "A1").hold.hold_id)

        assert expire_holds(showtime_id=factories.make_showtime().pk) == 0
        assert held_codes(showtime) == ["A1"]

    def test_sales_that_are_closed_do_not_keep_seats_from_expiring(self, showtime: Showtime, ada: Holder) -> None:
        run_out(hold(showtime, ada, "A1").hold.hold_id)
        ShowtimeSales.objects.update(sales_open=False)

        assert expire_holds(showtime_id=showtime.pk) == 1

    def test_a_hold_that_somebody_is_busy_with_is_passed_over(
        self, showtime: Showtime, ada: Holder, ben: Holder
    ) -> None:
        busy, over = hold(showtime, ada, "A1").hold, hold(showtime, ben, "A2").hold
        run_out(busy.hold_id)
        run_out(over.hold_id)
        with rows_locked("SELECT FROM seating_hold WHERE id = %s", [busy.hold_id]):
            assert expire_holds(showtime_id=showtime.pk) == 1
        assert held_codes(showtime) == ["A1"]
        assert expire_holds(showtime_id=showtime.pk) == 1

    def test_of_two_at_once_one_does_it(self, showtime: Showtime, events: list[Any]) -> None:
        for row in "ABC":
            for number in (3, 4, 5):
                run_out(hold(showtime, factories.HolderFactory(), f"{row}{number}").hold.hold_id)
        events.clear()
        counts = race(*[lambda: expire_holds(showtime_id=showtime.pk)] * 3)

        assert sum(counts) == 9
        assert len([event for event in events if isinstance(event, HoldExpired)]) == 9
        assert_sound(showtime.pk)


@pytest.mark.usefixtures("either_way")
class TestTakeover:
    def test_a_seat_whose_time_is_over_can_be_taken(
        self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any]
    ) -> None:
        old = hold(showtime, ada, "A1", "A2").hold
        run_out(old.hold_id)
        before = Hold.objects.filter(pk=old.hold_id).values().get()
        events.clear()
        new = hold(showtime, ben, "A1", "A3").hold

        assert seat(showtime, "A1").hold_id == new.hold_id
        audit = SeatHold.objects.filter(hold=old.hold_id)
        assert dict(audit.values_list("seat__code", "end_reason")) == {"A1": "overtaken", "A2": ""}
        # The other hold is left to its own end.
        assert Hold.objects.filter(pk=old.hold_id).values().get() == before
        causes = SeatEvent.objects.filter(seq=2).values_list("seat__code", "from_status", "cause", "hold")
        assert sorted(causes) == [
            ("A1", "RESERVED", "overtaken", new.hold_id), ("A3", "AVAILABLE", "held", new.hold_id),
        ]  # fmt: skip
        assert events == [
            SeatsChanged(showtime.pk, 2, {"A1": "locked", "A3": "locked"}),
            HoldChanged(ben.pk, showtime.pk),
        ]
        assert sorted(SeatHold.objects.filter(ended_at=None).values_list("seat__code", flat=True)) == ["A1", "A2", "A3"]

        events.clear()
        assert expire_holds(showtime_id=showtime.pk) == 1
        assert held_codes(showtime) == ["A1", "A3"]
        assert events[0] == HoldExpired(ada.pk, showtime.pk, old.hold_id, ("A2", "A1"))
        assert_sound(showtime.pk)

    def test_who_lost_all_seats_is_told_as_well(
        self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any]
    ) -> None:
        old = hold(showtime, ada, "A1").hold
        run_out(old.hold_id)
        hold(showtime, ben, "A1")
        events.clear()

        assert showtimes_with_lapsed_holds() == [showtime.pk]
        assert expire_holds(showtime_id=showtime.pk) == 0
        assert events == [HoldExpired(ada.pk, showtime.pk, old.hold_id, ("A1",))]
        assert Hold.objects.get(pk=old.hold_id).end_reason == "expired"
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 2
        assert showtimes_with_lapsed_holds() == []
        assert_sound(showtime.pk)

    def test_who_lost_all_seats_has_nothing_to_release_and_may_hold_again(
        self, showtime: Showtime, ada: Holder, ben: Holder
    ) -> None:
        old = hold(showtime, ada, "A1").hold
        run_out(old.hold_id)
        hold(showtime, ben, "A1")

        assert release(showtime, ada).released == ()
        assert hold(showtime, ada, "A2").hold.hold_id != old.hold_id
        assert_sound(showtime.pk)

    def test_ones_own_lapsed_hold_ends_before_a_new_one_begins(
        self, showtime: Showtime, ada: Holder, events: list[Any]
    ) -> None:
        old = hold(showtime, ada, "A1", "A2").hold
        run_out(old.hold_id)
        events.clear()
        answer = hold(showtime, ada, "A2", "A3")

        assert answer.hold.hold_id != old.hold_id
        assert answer.token is not None
        assert answer.hold.seats == ("A2", "A3")
        assert held_codes(showtime) == ["A2", "A3"]
        assert Hold.objects.get(pk=old.hold_id).end_reason == "expired"
        assert [type(event) for event in events] == [HoldExpired, SeatsChanged, SeatsChanged, HoldChanged]
        assert_sound(showtime.pk)

    def test_who_is_ended_again_and_again_by_somebody_who_never_finishes_is_asked_to_wait(
        self, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = hold(showtime, ada, "A1").hold
        run_out(old.hold_id)

        def expire_in_vain(*, showtime_id: int) -> int:
            with rows_locked("SELECT FROM seating_hold WHERE id = %s", [old.hold_id]):
                return expire_holds(showtime_id=showtime_id)

        monkeypatch.setattr(holding, "expire_holds", expire_in_vain)
        with refused(ErrorCode.SEAT_LOCKED) as data:
            extend(showtime, ada)
        assert data == {"retry_after": 1}


def test_a_seat_that_left_its_hold_in_the_meantime_is_passed_over(showtime: Showtime, ada: Holder) -> None:
    """The guard of `free` alone: whatever its caller believed, it judges the row."""
    held = hold(showtime, ada, "A1").hold
    with transaction.atomic():
        seats = lock_seats(showtime_id=showtime.pk, hold_ids=[held.hold_id])
        assert free(showtime_id=showtime.pk, seats=seats, cause=SeatChange.EXPIRED) is None
    assert Seat.objects.get(pk=seats[0].seat_id).hold_id == held.hold_id


def test_the_locks_end_with_the_hold_and_the_new_ones_stay(
    showtime: Showtime, ada: Holder, ben: Holder, redis: Redis
) -> None:
    old = hold(showtime, ada, "A1", "A2").hold
    run_out(old.hold_id)
    new = hold(showtime, ben, "A1").hold
    expire_holds(showtime_id=showtime.pk)

    tag = f"{{{showtime.pk}}}"
    assert redis.keys("seat_lock:*") == [f"seat_lock:{tag}:A1"]
    assert str(new.hold_id) in redis.get(f"seat_lock:{tag}:A1")
    assert redis.keys("seat_hold:*") == [f"seat_hold:{tag}:{new.hold_id}"]


def test_whoever_waits_for_a_seat_sees_what_it_is_afterwards(showtime: Showtime, ada: Holder) -> None:
    """An expirer that had to wait for the seat judges its new row, not the old one."""
    held = hold(showtime, ada, "A1").hold
    run_out(held.hold_id)
    with rival_transaction() as rival:
        with rival.cursor() as cursor:
            cursor.execute("UPDATE seating_seat SET reserved_until = now() + interval '1 hour' WHERE code = 'A1'")
        outcome = race(lambda: expire_holds(showtime_id=showtime.pk), lambda: _commit_when_waited_for(rival))[0]
    assert outcome == 0
    assert not isinstance(outcome, Refusal)
    # Its hold cannot be ended either, since it still has a seat.
    assert Hold.objects.get().ended_at is None
    connection.close()


def _commit_when_waited_for(rival: Any) -> None:
    wait_for_waiters(1)
    with rival.wrap_database_errors:
        rival.connection.commit()
