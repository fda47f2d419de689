"""Taking seats: all of them or none, at the price of the moment, and nobody else's."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from cinebook.core.errors import ErrorCode, SeatsRefused
from seating.events import HoldChanged, SeatsChanged
from seating.models import Hold, Holder, Seat, SeatEvent, SeatHold, SeatStatus, Showtime, ShowtimeSales
from seating.selectors.seat_map import seat_snapshot
from seating.services import (
    announcing,
    hold_best_seats,
    hold_seats,
    holding,
    make_missing_seats,
    seat_changes,
    token_hash,
)
from tests.support.asking import hold, refused, release, seat
from tests.support.ledger import assert_sound, replay
from tests.support.passing_time import let_pass, start_paying

pytestmark = pytest.mark.django_db(transaction=True)
SECOND = dt.timedelta(seconds=1)


def block(showtime: Showtime, code: str) -> None:
    Seat.objects.filter(showtime=showtime, code=code).update(status=SeatStatus.BLOCKED, block_reason="broken")


def sell(showtime: Showtime, holder: Holder, code: str) -> None:
    """Sell a seat by hand, as far as a hold must know it."""
    sold = hold(showtime, holder, code).hold
    now = timezone.now()
    SeatHold.objects.filter(hold=sold.hold_id).update(ended_at=now, end_reason="sold")
    Hold.objects.filter(pk=sold.hold_id).update(ended_at=now, end_reason="sold")
    Seat.objects.filter(hold=sold.hold_id).update(
        status=SeatStatus.SOLD, sold_at=now, reserved_at=None, reserved_until=None
    )


@pytest.mark.usefixtures("either_way")
class TestSuccess:
    def test_the_answer_says_what_is_held(self, showtime: Showtime, ada: Holder) -> None:
        answer = hold(showtime, ada, "A2", "A1")

        held = answer.hold
        assert (held.seats, held.holder_id, held.user_id, held.paying) == (("A1", "A2"), ada.pk, None, False)
        assert (held.amount, held.currency) == (2400, "EUR")
        assert held.expires_at - held.locked_at == 900 * SECOND
        assert held.max_expires_at - held.locked_at == 2700 * SECOND
        assert held.expires_in in (899, 900)
        assert set(answer.taken) == {"A1", "A2"}

    def test_the_rows_say_the_same(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1", "C6").hold

        row = seat(showtime, "A1")
        assert (row.status, row.hold_id, row.reserved_at, row.reserved_until, row.fence, row.paying) == (
            SeatStatus.RESERVED, held.hold_id, held.locked_at, held.expires_at, 1, False,
        )  # fmt: skip
        audit = SeatHold.objects.filter(hold=held.hold_id)
        assert dict(audit.values_list("seat__code", "price_amount")) == {"A1": 1200, "C6": 1500}
        assert set(audit.values_list("held_at", "ended_at", "end_reason")) == {(held.locked_at, None, "")}
        assert seat(showtime, "A2").status == SeatStatus.AVAILABLE

    def test_the_token_is_stored_as_a_hash_and_told_once(self, showtime: Showtime, ada: Holder) -> None:
        answer = hold(showtime, ada, "A1")

        assert answer.token is not None
        row = Hold.objects.get()
        assert row.token_hash == token_hash(answer.token) != answer.token
        assert hold(showtime, ada, "A2").token is None

    def test_every_change_has_its_line_in_the_ledger(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1", "A2")
        hold(showtime, ben, "C1")
        hold(showtime, ada, "A3")
        release(showtime, ada, "A1")

        lines = SeatEvent.objects.values_list("seq", "seat__code", "cause").order_by("seq", "seat")
        assert list(lines) == [
            (1, "A1", "held"), (1, "A2", "held"), (2, "C1", "held"), (3, "A3", "held"), (4, "A1", "released"),
        ]  # fmt: skip
        assert replay(showtime.pk)["A1"] == (SeatStatus.AVAILABLE, None)
        assert_sound(showtime.pk)

    def test_a_hold_grows_and_its_time_is_renewed(self, showtime: Showtime, ada: Holder) -> None:
        first = hold(showtime, ada, "A1").hold
        let_pass(600, first.hold_id)
        answer = hold(showtime, ada, "A2")

        assert answer.hold.hold_id == first.hold_id
        assert (answer.hold.seats, answer.taken) == (("A1", "A2"), ("A2",))
        assert answer.hold.expires_at - answer.hold.server_time > 899 * SECOND
        assert_sound(showtime.pk)

    def test_what_is_ones_own_already_is_no_obstacle(self, showtime: Showtime, ada: Holder) -> None:
        first = hold(showtime, ada, "A1", "A2").hold
        again = hold(showtime, ada, "A2", "A1")
        more = hold(showtime, ada, "A2", "A3")

        assert (again.taken, again.hold.seats) == ((), ("A1", "A2"))
        assert again.hold.expires_at > first.expires_at
        assert (more.taken, more.hold.seats) == (("A3",), ("A1", "A2", "A3"))
        assert ShowtimeSales.objects.get(showtime=showtime).seq == 2
        assert SeatHold.objects.count() == 3

    def test_the_price_is_that_of_the_moment(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        showtime.prices.filter(category="standard").update(amount=9900)

        assert hold(showtime, ada, "A1").hold.amount == 1200
        assert hold(showtime, ada, "A2").hold.amount == 1200 + 9900

    def test_a_showtime_without_seats_gets_them_on_first_use(self, showtime: Showtime, ada: Holder) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()

        assert hold(showtime, ada, "A1").hold.seats == ("A1",)
        assert Seat.objects.filter(showtime=showtime).count() == 18
        assert_sound(showtime.pk)
        assert make_missing_seats(showtime_id=showtime.pk) == 0

    @pytest.mark.parametrize("seconds", [300, 600, 900])
    def test_a_hold_is_as_long_as_the_house_says(
        self, showtime: Showtime, ada: Holder, settings: Settings, seconds: int
    ) -> None:
        settings.SEAT_HOLD_SECONDS = seconds

        held = hold(showtime, ada, "A1").hold

        assert held.expires_at - held.locked_at == seconds * SECOND

    def test_or_as_the_showtime_says_but_never_past_the_cap(
        self, showtime: Showtime, ada: Holder, ben: Holder, settings: Settings
    ) -> None:
        Showtime.objects.filter(pk=showtime.pk).update(hold_seconds=77)
        short = hold(showtime, ada, "A1").hold
        Showtime.objects.filter(pk=showtime.pk).update(hold_seconds=90_000)
        long = hold(showtime, ben, "A2").hold

        assert short.expires_at - short.locked_at == 77 * SECOND
        assert long.expires_at == long.max_expires_at == long.locked_at + settings.SEAT_HOLD_MAX_SECONDS * SECOND


@pytest.mark.usefixtures("either_way")
class TestRefusal:
    def test_one_taken_seat_and_none_is_taken(self, showtime: Showtime, ada: Holder, ben: Holder, redis: Redis) -> None:
        hold(showtime, ben, "A3")
        keys = set(redis.keys("seat_lock:*"))
        with refused(ErrorCode.SEAT_HELD) as data:
            hold(showtime, ada, "A2", "A3", "A4")

        assert data["seats"] == {"A3": ErrorCode.SEAT_HELD}
        assert seat(showtime, "A2").status == SeatStatus.AVAILABLE
        assert not Hold.objects.filter(holder=ada).exists()
        assert set(redis.keys("seat_lock:*")) == keys
        assert_sound(showtime.pk)

    def test_each_seat_says_why_and_the_first_reason_counts(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        sell(showtime, ben, "A2")
        block(showtime, "A3")
        with refused(ErrorCode.SEAT_BOOKED) as data:
            hold(showtime, ada, "A1", "A2", "A3")
        assert data["seats"] == {"A2": ErrorCode.SEAT_BOOKED, "A3": ErrorCode.SEAT_BLOCKED}
        with refused(ErrorCode.SEAT_BLOCKED):
            hold(showtime, ada, "A3")

    def test_alternatives_are_free_together_and_near(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ben, "A5")
        with refused(ErrorCode.SEAT_HELD) as data:
            hold(showtime, ada, "A5", "A6")

        free = seat_snapshot(showtime_id=showtime.pk, holder_id=None).available
        assert data["alternatives"][0] == ["B5", "B6"]
        assert all(len(group) == 2 and free.issuperset(group) for group in data["alternatives"])

    def test_a_refused_growth_leaves_the_hold_as_it_was(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        before = hold(showtime, ada, "A1").hold
        hold(showtime, ben, "A3")
        with refused(ErrorCode.SEAT_HELD):
            hold(showtime, ada, "A2", "A3")

        after = Hold.objects.get(pk=before.hold_id)
        assert after.expires_at == before.expires_at
        assert_sound(showtime.pk)

    def test_too_many_at_once_or_over_two_calls(
        self, showtime: Showtime, ada: Holder, settings: Settings, redis: Redis
    ) -> None:
        settings.MAX_SEATS_PER_HOLD = 3
        with refused(ErrorCode.TOO_MANY_SEATS) as data:
            hold(showtime, ada, "A1", "A2", "A3", "A4")
        assert data == {"limit": 3}

        hold(showtime, ada, "A1", "A2")
        with refused(ErrorCode.TOO_MANY_SEATS):
            hold(showtime, ada, "A3", "A4")
        assert hold(showtime, ada, "A1", "A3").hold.seats == ("A1", "A2", "A3")
        assert not redis.exists(f"seat_lock:{{{showtime.pk}}}:A4")

    def test_a_seat_that_the_room_does_not_have(self, showtime: Showtime, ada: Holder) -> None:
        with refused(ErrorCode.UNKNOWN_SEAT) as data:
            hold(showtime, ada, "A1", "Z9")
        assert data["seats"] == {"Z9": ErrorCode.UNKNOWN_SEAT}

    def test_a_showtime_that_there_is_not(self, ada: Holder) -> None:
        with refused(ErrorCode.NOT_FOUND):
            hold_seats(holder_id=ada.pk, user_id=None, showtime_id=987_654_321, codes=["A1"])

    def test_a_holder_that_there_is_not(self, showtime: Showtime, redis: Redis) -> None:
        with refused(ErrorCode.NOT_AUTHENTICATED):
            hold_seats(holder_id=987_654_321, user_id=None, showtime_id=showtime.pk, codes=["A1"])
        assert not redis.keys("seat_lock:*")

    @pytest.mark.parametrize("case", ["not yet", "closed", "cancelled", "sales closed"])
    def test_not_on_sale(self, showtime: Showtime, ada: Holder, case: str) -> None:
        held = hold(showtime, ada, "A1").hold
        now = timezone.now()
        if case == "sales closed":
            ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        else:
            change: dict[str, Any] = {
                "not yet": {"sales_open_at": now + 60 * SECOND},
                "closed": {"sales_close_at": now - SECOND},
                "cancelled": {"cancelled_at": now},
            }[case]
            Showtime.objects.filter(pk=showtime.pk).update(**change)

        with refused(ErrorCode.NOT_ON_SALE):
            hold(showtime, ada, "A2")
        # What somebody has, they may keep and pay.
        assert hold(showtime, ada, "A1").hold.hold_id == held.hold_id
        assert_sound(showtime.pk)

    def test_a_hold_that_is_being_paid_does_not_change(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        start_paying(held.hold_id)

        for codes in (["A2"], ["A1"]):
            with refused(ErrorCode.HOLD_PAYING):
                hold(showtime, ada, *codes)
        with refused(ErrorCode.SEAT_HELD):
            hold(showtime, ben, "A1")

    def test_a_seat_without_a_price_cannot_be_had(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ben, "A1")
        showtime.prices.filter(category="premium").delete()
        with refused(ErrorCode.SEAT_BLOCKED) as data:
            hold(showtime, ada, "A2", "C1")
        assert data["seats"] == {"C1": ErrorCode.SEAT_BLOCKED}
        assert not any(code.startswith("C") for group in data["alternatives"] for code in group)


def test_sales_that_close_in_the_middle_stop_the_hold(
    showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    """The counter's row is the last guard: whoever closes sales does it there."""
    open_audit = seat_changes._open_audit_at_todays_prices

    def close_sales_then_go_on(*args: Any) -> None:
        ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        open_audit(*args)

    monkeypatch.setattr(seat_changes, "_open_audit_at_todays_prices", close_sales_then_go_on)
    with refused(ErrorCode.NOT_ON_SALE):
        hold(showtime, ada, "A1")

    assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
    assert not SeatHold.objects.exists()
    assert not redis.keys("seat_lock:*")


class TestBestSeats:
    def test_takes_the_best_of_the_room(self, showtime: Showtime, ada: Holder) -> None:
        answer = hold_best_seats(holder_id=ada.pk, user_id=None, showtime_id=showtime.pk, quantity=3)

        assert answer.hold.seats in {("B4", "B5", "B6"), ("C1", "C2", "C3"), ("C4", "C5", "C6")}

    def test_none_together(self, showtime: Showtime, ada: Holder) -> None:
        with refused(ErrorCode.SEAT_HELD) as data:
            hold_best_seats(holder_id=ada.pk, user_id=None, showtime_id=showtime.pk, quantity=4)
        assert data == {"alternatives": []}

    def test_too_many(self, showtime: Showtime, ada: Holder) -> None:
        with refused(ErrorCode.TOO_MANY_SEATS):
            hold_best_seats(holder_id=ada.pk, user_id=None, showtime_id=showtime.pk, quantity=11)

    def test_who_was_too_slow_is_offered_others_and_at_last_told(
        self, showtime: Showtime, ada: Holder, ben: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offered = holding.offered_seats
        calls: list[list[str]] = []

        def offer_then_snatch(**asked: Any) -> list[list[str]]:
            groups = offered(**asked)
            if "near" not in asked:
                for group in groups:
                    hold(showtime, ben, *group)
                calls.append(groups[0])
            return groups

        monkeypatch.setattr(holding, "offered_seats", offer_then_snatch)
        monkeypatch.setattr(holding.settings, "MAX_SEATS_PER_HOLD", 18)
        with pytest.raises(SeatsRefused):
            hold_best_seats(holder_id=ada.pk, user_id=None, showtime_id=showtime.pk, quantity=1)
        assert len(calls) == holding.BEST_SEATS_ATTEMPTS

    def test_after_a_lost_race_the_next_group_is_taken(
        self, showtime: Showtime, ada: Holder, ben: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        offered, snatched = holding.offered_seats, []

        def offer_then_snatch_once(**asked: Any) -> list[list[str]]:
            groups = offered(**asked)
            if not snatched:
                snatched.append(hold(showtime, ben, *groups[0]).hold.seats)
            return groups

        monkeypatch.setattr(holding, "offered_seats", offer_then_snatch_once)
        answer = hold_best_seats(holder_id=ada.pk, user_id=None, showtime_id=showtime.pk, quantity=2)

        assert len(answer.hold.seats) == 2
        assert set(answer.hold.seats).isdisjoint(snatched[0])


class TestLocksInRedis:
    def test_the_keys_are_those_of_the_contract(self, showtime: Showtime, ada: Holder, redis: Redis) -> None:
        held = hold(showtime, ada, "A1", "A2").hold

        tag = f"{{{showtime.pk}}}"
        locks = {f"seat_lock:{tag}:A1", f"seat_lock:{tag}:A2"}
        record = f"seat_hold:{tag}:{held.hold_id}"
        # Beside the index, one entry for each seat and one for the hold.
        assert set(redis.keys("*")) == locks | {record, f"locked_seats:{tag}"}
        for name in locks:
            lock = json.loads(redis.get(name))
            assert lock["user_id"] is None
            assert lock["hold_id"] == str(held.hold_id)
            assert lock["showtime_id"] == showtime.pk
            assert dt.datetime.fromisoformat(lock["locked_at"]) == held.locked_at
            assert lock["fence"] == 1
            assert 895_000 < redis.pttl(name) <= 900_000
        assert json.loads(redis.get(record)) == {
            "hold_id": str(held.hold_id),
            "user_id": None,
            "showtime_id": showtime.pk,
            "seats": ["A1", "A2"],
            "expires_at": held.expires_at.isoformat(),
        }
        assert 895_000 < redis.pttl(record) <= 900_000
        assert redis.zrange(f"locked_seats:{tag}", 0, -1) == ["A1", "A2"]
        assert 895_000 < redis.pttl(f"locked_seats:{tag}") <= 900_000

    def test_a_user_is_named_to_operators(self, showtime: Showtime, ben: Holder, redis: Redis) -> None:
        hold(showtime, ben, "A1")
        assert json.loads(redis.get(f"seat_lock:{{{showtime.pk}}}:A1"))["user_id"] == ben.user_id

    def test_a_growing_hold_renews_all_of_its_locks(self, showtime: Showtime, ada: Holder, redis: Redis) -> None:
        held = hold(showtime, ada, "A1").hold
        for name in redis.keys("seat_*"):
            redis.pexpire(name, 5000)
        hold(showtime, ada, "A2")

        assert all(redis.pttl(name) > 895_000 for name in redis.keys("*"))
        assert len(redis.keys("seat_*")) == 3
        assert json.loads(redis.get(f"seat_hold:{{{showtime.pk}}}:{held.hold_id}"))["seats"] == ["A1", "A2"]

    @pytest.mark.parametrize("case", ["sold", "blocked", "too many", "not on sale", "paying"])
    def test_who_is_refused_by_postgresql_leaves_nothing(
        self, showtime: Showtime, people: tuple[Holder, Holder], redis: Redis, settings: Settings, case: str
    ) -> None:
        ada, ben = people
        match case:
            case "sold":
                sell(showtime, ben, "A2")
            case "blocked":
                block(showtime, "A2")
            case "too many":
                hold(showtime, ada, "B3")
                settings.MAX_SEATS_PER_HOLD = 2
            case "not on sale":
                ShowtimeSales.objects.update(sales_open=False)
            case "paying":
                start_paying(hold(showtime, ada, "B3").hold.hold_id)
        redis.delete(f"seat_lock:{{{showtime.pk}}}:A2")
        before = sorted(redis.keys("seat_*"))
        with pytest.raises(Exception, match=r"seat_|too_many|not_on_sale|hold_paying"):
            hold(showtime, ada, "A1", "A2")

        assert sorted(redis.keys("seat_*")) == before


class TestEvents:
    def test_a_hold_tells_everybody_the_seats_and_the_holder_that_it_changed(
        self, showtime: Showtime, ada: Holder, events: list[Any]
    ) -> None:
        hold(showtime, ada, "A1", "A2")
        assert events == [
            SeatsChanged(showtime.pk, 1, {"A1": "locked", "A2": "locked"}),
            HoldChanged(ada.pk, showtime.pk),
        ]
        assert events[0].from_version == 0

        events.clear()
        hold(showtime, ada, "A2", "A3")
        assert events == [SeatsChanged(showtime.pk, 2, {"A3": "locked"}), HoldChanged(ada.pk, showtime.pk)]

    def test_nothing_is_told_before_the_commit(self, showtime: Showtime, ada: Holder, events: list[Any]) -> None:
        def take() -> None:
            holding._take(holder_id=ada.pk, showtime_id=showtime.pk, codes=["A1"], nonce=uuid.uuid4())
            assert events == []

        with transaction.atomic():
            take()
        assert [type(event) for event in events] == [SeatsChanged, HoldChanged]

    def test_nothing_is_told_after_a_rollback(
        self, showtime: Showtime, ada: Holder, events: list[Any], redis: Redis
    ) -> None:
        with transaction.atomic():
            holding._take(holder_id=ada.pk, showtime_id=showtime.pk, codes=["A1"], nonce=uuid.uuid4())
            transaction.set_rollback(True)
        assert events == []
        assert not redis.keys("*")

    def test_snapshot_and_events_make_the_next_snapshot(
        self, showtime: Showtime, ada: Holder, ben: Holder, events: list[Any]
    ) -> None:
        before = seat_snapshot(showtime_id=showtime.pk, holder_id=None)
        hold(showtime, ada, "A1", "A2")
        hold(showtime, ben, "C1")
        release(showtime, ada, "A1")
        after = seat_snapshot(showtime_id=showtime.pk, holder_id=None)

        seats, version = dict(before.seats), before.version
        for event in events:
            if isinstance(event, SeatsChanged):
                assert event.from_version == version
                version = event.version
                seats.update(event.changes)
        assert (seats, version) == (after.seats, after.version)

    def test_who_comes_late_writes_no_lock(
        self, showtime: Showtime, ada: Holder, redis: Redis, monkeypatch: pytest.MonkeyPatch, events: list[Any]
    ) -> None:
        """A process that was stopped before its commit for longer than its word is good for."""
        clock = iter([100.0, 100.0 + announcing.TRUE_FOR_SECONDS])
        monkeypatch.setattr(announcing, "time", type("Clock", (), {"monotonic": lambda: next(clock)}))
        hold(showtime, ada, "A1")

        assert not redis.keys("seat_hold:*")
        # The provisional lock ends by itself.
        assert 0 < redis.pttl(f"seat_lock:{{{showtime.pk}}}:A1") <= 10_000
        assert len(events) == 2


class TestStatements:
    """Each count is with BEGIN and COMMIT."""

    def test_a_new_hold(
        self, showtime: Showtime, ada: Holder, ben: Holder, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        hold(showtime, ben, "C1")
        with django_assert_num_queries(10):
            hold(showtime, ada, "A1", "A2", "A3")

    def test_a_growing_hold(
        self, showtime: Showtime, ada: Holder, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        hold(showtime, ada, "A1")
        with django_assert_num_queries(10):
            hold(showtime, ada, "A2", "A3")

    def test_a_conflict_that_redis_knows(
        self, showtime: Showtime, ada: Holder, ben: Holder, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        hold(showtime, ben, "A1")
        # The first is compared with PostgreSQL; each asks for alternatives.
        with django_assert_num_queries(2), refused(ErrorCode.SEAT_HELD):
            hold(showtime, ada, "A1", "A2")
        with django_assert_num_queries(1), refused(ErrorCode.SEAT_HELD):
            hold(showtime, ada, "A1", "A2")

    def test_a_snapshot(
        self, showtime: Showtime, ada: Holder, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        hold(showtime, ada, "A1")
        with django_assert_num_queries(1):
            snapshot = seat_snapshot(showtime_id=showtime.pk, holder_id=ada.pk)
        assert snapshot.seats["A1"] == "selected"
