"""Two people, one seat, the same moment: each pair of operations, both ways round.

The rivals are lined up behind a row lock of PostgreSQL: both are on their way, and the one who is let go first has
started first. No test here depends on how fast anything is.
"""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Self

import pytest
from django.db import IntegrityError, connection

from cinebook.core.errors import ErrorCode, Refusal, SeatsRefused
from seating.models import Hold, Holder, SeatHold, Showtime
from seating.services import HoldAnswer, expire_holds, seat_changes
from tests import factories
from tests.support.asking import extend, held_codes, hold, release, seat
from tests.support.ledger import assert_sound
from tests.support.passing_time import let_pass, run_out, wait_for_the_clock
from tests.support.rivals import DEADLINE, Work, in_background, in_line, race, rows_locked, wait_for_waiters

pytestmark = pytest.mark.django_db(transaction=True)


def expiring(showtime: Showtime) -> Work:
    return functools.partial(expire_holds, showtime_id=showtime.pk)


def won(outcome: Any) -> bool:
    assert isinstance(outcome, HoldAnswer | Refusal), outcome
    return isinstance(outcome, HoldAnswer)


class TestHoldAndHold:
    @pytest.mark.usefixtures("either_way")
    def test_one_seat(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        for code in ("A1", "A2", "A3", "A4", "A5"):
            outcomes = race(lambda code=code: hold(showtime, ada, code), lambda code=code: hold(showtime, ben, code))
            assert sorted(map(won, outcomes)) == [False, True]
            lost = next(outcome for outcome in outcomes if not won(outcome))
            assert lost.code in {ErrorCode.SEAT_HELD, ErrorCode.SEAT_LOCKED}
            assert_sound(showtime.pk)

    @pytest.mark.usefixtures("either_way")
    def test_overlapping_seats_in_opposite_order(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        for row in "ABC":
            outcomes = race(
                lambda row=row: hold(showtime, ada, f"{row}3", f"{row}4", f"{row}5"),
                lambda row=row: hold(showtime, ben, f"{row}6", f"{row}5", f"{row}4"),
            )
            # With Redis, too, all or nothing: never both, and never half of it.
            assert sum(map(won, outcomes)) == 1
            assert len([code for code in held_codes(showtime) if code[0] == row]) == 3
            assert_sound(showtime.pk)

    @pytest.mark.usefixtures("without_redis")
    def test_who_waited_for_the_row_sees_who_has_it(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        first, second = in_line(showtime, lambda: hold(showtime, ada, "A1"), lambda: hold(showtime, ben, "A1", "A2"))
        assert won(first)
        assert isinstance(second, SeatsRefused)
        assert second.data["seats"] == {"A1": ErrorCode.SEAT_HELD}
        assert seat(showtime, "A2").status == "AVAILABLE"
        assert_sound(showtime.pk)

    @pytest.mark.usefixtures("either_way")
    def test_one_person_with_two_windows(self, showtime: Showtime, ada: Holder) -> None:
        outcomes = race(*[lambda code=code: hold(showtime, ada, "A1", code) for code in ("A2", "A3", "C1", "C2")])
        assert all(map(won, outcomes))
        assert len({outcome.hold.hold_id for outcome in outcomes}) == 1
        assert sum(outcome.token is not None for outcome in outcomes) == 1
        assert held_codes(showtime) == ["A1", "A2", "A3", "C1", "C2"]
        assert_sound(showtime.pk)

    @pytest.mark.usefixtures("either_way")
    def test_first_use_of_a_showtime_without_seats(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        showtime.seats.all().delete()
        showtime.sales.delete()
        outcomes = race(lambda: hold(showtime, ada, "A1"), lambda: hold(showtime, ben, "A2"))
        assert all(map(won, outcomes))
        assert showtime.seats.count() == 18
        assert_sound(showtime.pk)


class Unguarded:
    """A cursor whose reserving UPDATE does not ask any more how the seats stand."""

    GUARD = re.compile(r" AND \(\s+status = 'AVAILABLE'.*?\)(?=\s+RETURNING id, fence)", re.DOTALL)

    def __init__(self, removed: list[str]) -> None:
        self._cursor = connection.cursor()
        self._removed = removed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._cursor.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, sql: str, parameters: Any) -> Any:
        self._removed += self.GUARD.findall(sql)
        return self._cursor.execute(self.GUARD.sub("", sql), parameters)


@pytest.mark.usefixtures("without_redis")
class TestTheControl:
    """The same race, with and without its guards: so it is the guards that win it, and the test can see it lost."""

    @pytest.fixture
    def unguarded(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        removed: list[str] = []
        monkeypatch.setattr(seat_changes, "connection", SimpleNamespace(cursor=lambda: Unguarded(removed)))
        yield
        assert removed, "the guard was not found"

    def race(self, showtime: Showtime, ada: Holder, ben: Holder) -> tuple[Any, Any]:
        return in_line(showtime, lambda: hold(showtime, ada, "A1"), lambda: hold(showtime, ben, "A1"))

    def test_with_the_guard_one_of_them_has_the_seat(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        assert [won(outcome) for outcome in self.race(showtime, ada, ben)] == [True, False]
        assert_sound(showtime.pk)

    @pytest.mark.usefixtures("unguarded")
    def test_without_it_both_are_told_that_they_have_it(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        first, second = self.race(showtime, ada, ben)

        assert (won(first), won(second)) == (True, True)
        assert first.hold.seats == second.hold.seats == ("A1",)
        assert seat(showtime, "A1").hold_id == second.hold.hold_id
        with pytest.raises(AssertionError, match="before its time was over"):
            assert_sound(showtime.pk)

    @pytest.mark.usefixtures("unguarded")
    def test_two_live_holds_on_a_seat_are_refused_by_the_index(
        self, showtime: Showtime, ada: Holder, ben: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The second guard, which knows nothing of the first."""
        monkeypatch.setattr(seat_changes, "close_audit", lambda *_: None)
        with pytest.raises(IntegrityError, match="seat_is_in_one_live_hold"):
            self.race(showtime, ada, ben)
        monkeypatch.undo()
        assert_sound(showtime.pk)


@pytest.mark.usefixtures("either_way")
class TestReleaseAndHold:
    def test_at_the_same_moment(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        for code in ("A1", "A2", "A3"):
            hold(showtime, ada, code)
            released, taken = race(lambda: release(showtime, ada), lambda code=code: hold(showtime, ben, code))
            assert released.released == (code,)
            # Who came too early is refused; the seat is free or theirs, and nobody else's.
            assert seat(showtime, code).status == ("RESERVED" if won(taken) else "AVAILABLE")
            assert_sound(showtime.pk)

    def test_two_windows_release_the_same(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1", "A2")
        outcomes = race(*[lambda: release(showtime, ada).released] * 3)
        assert sorted(map(len, outcomes)) == [0, 0, 2]
        assert_sound(showtime.pk)

    def test_one_person_releases_while_they_hold_more(self, showtime: Showtime, ada: Holder) -> None:
        hold(showtime, ada, "A1")
        released, taken = race(lambda: release(showtime, ada), lambda: hold(showtime, ada, "A2"))
        assert won(taken)
        assert released.released in {("A1",), ("A1", "A2")}
        assert_sound(showtime.pk)


@pytest.mark.usefixtures("without_redis")
class TestReleaseBeforeHold:
    def test_who_waited_for_the_release_has_the_seat(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1")
        released, taken = in_line(showtime, lambda: release(showtime, ada), lambda: hold(showtime, ben, "A1"))
        assert released.released == ("A1",)
        assert won(taken)
        assert_sound(showtime.pk)


@pytest.mark.usefixtures("without_redis")
class TestTakeover:
    """A hold whose time is over, in the moment before anybody has ended it."""

    @pytest.fixture(autouse=True)
    def over(self, showtime: Showtime, ada: Holder) -> uuid.UUID:
        held = hold(showtime, ada, "A1", "A2").hold
        run_out(held.hold_id)
        return held.hold_id

    def test_two_take_it_over(self, showtime: Showtime, ben: Holder) -> None:
        cid = factories.HolderFactory()
        outcomes = in_line(showtime, lambda: hold(showtime, ben, "A1"), lambda: hold(showtime, cid, "A1"))
        assert list(map(won, outcomes)) == [True, False]
        assert_sound(showtime.pk)

    def test_expired_and_then_taken(self, showtime: Showtime, ben: Holder) -> None:
        freed, taken = in_line(showtime, expiring(showtime), lambda: hold(showtime, ben, "A1"))
        assert freed == 2
        assert won(taken)
        assert list(SeatHold.objects.filter(end_reason="overtaken")) == []
        assert_sound(showtime.pk)

    def test_taken_and_then_expired(self, showtime: Showtime, ben: Holder, over: uuid.UUID) -> None:
        taken, freed = in_line(showtime, lambda: hold(showtime, ben, "A1"), expiring(showtime))
        assert won(taken)
        # What it waited for is somebody else's now; only the other seat is left to free.
        assert freed == 1
        assert held_codes(showtime) == ["A1"]
        assert Hold.objects.get(pk=over).end_reason == "expired"
        assert_sound(showtime.pk)

    def test_its_holder_comes_too_late_to_extend(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        taken, extended = in_line(showtime, lambda: hold(showtime, ben, "A1"), lambda: extend(showtime, ada))
        assert won(taken)
        assert extended.code is ErrorCode.HOLD_EXPIRED
        assert held_codes(showtime) == ["A1"]
        assert_sound(showtime.pk)

    def test_at_the_same_moment(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        taken, extended, _freed = race(
            lambda: hold(showtime, ben, "A1"),
            lambda: extend(showtime, ada),
            expiring(showtime),
        )
        assert won(taken) or taken.code is ErrorCode.SEAT_LOCKED
        assert extended.code in {ErrorCode.HOLD_EXPIRED, ErrorCode.SEAT_LOCKED}
        assert_sound(showtime.pk)


@pytest.mark.usefixtures("without_redis")
class TestTimeRunsOutOnTheWay:
    """The holder asks in time, but has to wait for a seat; when it is their turn, the time is over."""

    # Long enough that everybody has taken their place, in seconds.
    LEFT = 1.0

    def late_extension(self, showtime: Showtime, ada: Holder, rival: Work, *, behind: str) -> tuple[Any, Any]:
        """Let a rival come first and wait for a seat of their own, `behind` the one that the extension waits for."""
        let_pass(900 - self.LEFT, Hold.objects.get(holder=ada).pk)
        ends_at = Hold.objects.get(holder=ada).expires_at
        with in_background() as start:
            with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s AND code = %s", [showtime.pk, behind]):
                taken = start(rival)
                wait_for_waiters(1)
                extended = start(lambda: extend(showtime, ada))
                wait_for_waiters(2)
                wait_for_the_clock(ends_at)
            return taken.result(DEADLINE), extended.result(DEADLINE)

    def test_a_rival_has_taken_all_of_their_seats(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1")
        taken, extended = self.late_extension(showtime, ada, lambda: hold(showtime, ben, "A1", "A2"), behind="A2")

        assert won(taken)
        assert extended.code is ErrorCode.HOLD_EXPIRED
        assert Hold.objects.get(holder=ada).end_reason == "expired"
        assert_sound(showtime.pk)

    def test_a_rival_has_taken_some(self, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        hold(showtime, ada, "A1", "B3")
        taken, extended = self.late_extension(showtime, ada, lambda: hold(showtime, ben, "A1", "A2"), behind="A2")

        # What is left is kept, and the answer says so.
        assert won(taken)
        assert extended.seats == ("B3",)
        assert seat(showtime, "A1").hold_id == taken.hold.hold_id
        assert seat(showtime, "B3").reserved_until == extended.expires_at

    def test_nobody_wants_them(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        let_pass(900 - self.LEFT, held.hold_id)
        ends_at = Hold.objects.get().expires_at
        with in_background() as start:
            with rows_locked("SELECT FROM seating_seat WHERE showtime_id = %s AND code = 'A1'", [showtime.pk]):
                extended = start(lambda: extend(showtime, ada))
                wait_for_waiters(1)
                wait_for_the_clock(ends_at)
                # Its holder is busy with it.
                assert expire_holds(showtime_id=showtime.pk) == 0
            assert extended.result(DEADLINE).hold_id == held.hold_id
        assert_sound(showtime.pk)


@pytest.mark.usefixtures("either_way")
class TestExtendAndExpire:
    def test_in_time(self, showtime: Showtime, ada: Holder) -> None:
        held = hold(showtime, ada, "A1").hold
        let_pass(800, held.hold_id)
        extended, freed = race(lambda: extend(showtime, ada), expiring(showtime))
        assert (extended.hold_id, freed) == (held.hold_id, 0)
        assert_sound(showtime.pk)

    def test_too_late(self, showtime: Showtime, ada: Holder) -> None:
        run_out(hold(showtime, ada, "A1").hold.hold_id)
        extended, _freed = race(lambda: extend(showtime, ada), expiring(showtime))
        assert extended.code in {ErrorCode.HOLD_EXPIRED, ErrorCode.SEAT_LOCKED}
        assert_sound(showtime.pk)
