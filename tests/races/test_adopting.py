"""Somebody signs in while something else happens to what they hold: nothing is lost, doubled, or taken while paid."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from pytest_django import Settings

from bookings.identity import visitor
from bookings.services import adopt_bookings
from cinebook.core.errors import ErrorCode
from cinebook.core.redis import locks_command
from seating import locks
from seating.identity import GUEST_KEY, Claimant
from seating.models import Hold, Holder, Showtime
from seating.services import adopt_holds, adopting, expire_holds
from tests.factories import BookingFactory, HolderFactory, UserFactory
from tests.support.asking import NOWHERE, extend, hold, refused, release
from tests.support.buying import buy
from tests.support.ledger import assert_sound
from tests.support.passing_time import let_pass, run_out, start_paying
from tests.support.rivals import in_background, race, rows_locked, wait_for_waiters

pytestmark = pytest.mark.django_db(transaction=True)

HOLDER = "SELECT id FROM seating_holder WHERE id = %s"


@pytest.fixture
def guest() -> Holder:
    return HolderFactory()


@pytest.fixture
def user() -> Holder:
    return HolderFactory(guest_key=None, user=UserFactory())


def adopt(guest: Holder, user: Holder) -> bool:
    return adopt_holds(guest_id=guest.pk, holder_id=user.pk)


def live(showtime: Showtime) -> dict[Holder, set[str]]:
    """Whose the live holds are, and with which seats."""
    holds = Hold.objects.filter(showtime=showtime, ended_at=None).select_related("holder").prefetch_related("seats")
    return {hold.holder: {seat.code for seat in hold.seats.all()} for hold in holds}


def assert_redis_agrees(showtime: Showtime) -> None:
    """I8: every lock is its seat's holder's, and there is no other."""
    held = {code: holder for holder, codes in live(showtime).items() for code in codes}
    assert set(locks.locked_codes(showtime_id=showtime.pk)) == set(held)
    for code, holder in held.items():
        lock: Any = locks.read(showtime_id=showtime.pk, code=code)
        assert (lock["owner"], lock["user_id"]) == (str(holder.pk), holder.user_id)


class TestAGuestWhoStillPicks:
    def test_before_the_sign_in_brings_all_of_it_along(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        hold(showtime, guest, "A1")
        with in_background() as start, rows_locked(HOLDER, [guest.pk]) as rival:
            picking = start(lambda: hold(showtime, guest, "A2"))
            wait_for_waiters(1)
            signing_in = start(lambda: adopt(guest, user))
            wait_for_waiters(2)
            rival.commit()
            assert picking.result().taken == ("A2",)
            assert signing_in.result() is True
        assert live(showtime) == {user: {"A1", "A2"}}
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)

    def test_after_the_sign_in_holds_as_the_guest_they_were(
        self, showtime: Showtime, guest: Holder, user: Holder
    ) -> None:
        hold(showtime, guest, "A1")
        with in_background() as start, rows_locked(HOLDER, [guest.pk]) as rival:
            signing_in = start(lambda: adopt(guest, user))
            wait_for_waiters(1)
            picking = start(lambda: hold(showtime, guest, "A2"))
            wait_for_waiters(2)
            rival.commit()
            assert signing_in.result() is True
            picking.result()
        assert live(showtime) == {user: {"A1"}, guest: {"A2"}}
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)


class TestAPaymentThatBegins:
    """It begins while the sign-in waits for the rows: what is being paid must neither move nor go."""

    def begin(self, showtime: Showtime, payer: Holder, guest: Holder, user: Holder) -> bool:
        """Sign in while a payment of this holder begins; return whether all was adopted."""
        hold_id = Hold.objects.get(showtime=showtime, holder=payer, ended_at=None).pk
        with in_background() as start, rows_locked(HOLDER, [payer.pk]) as rival:
            signing_in = start(lambda: adopt(guest, user))
            wait_for_waiters(1)
            with rival.cursor() as cursor:
                cursor.execute("UPDATE seating_hold SET paying = true WHERE id = %s", [hold_id])
                cursor.execute("UPDATE seating_seat SET paying = true WHERE hold_id = %s", [hold_id])
            rival.commit()
            outcome: bool = signing_in.result()
        return outcome

    def test_of_the_guest_keeps_the_hold_the_guests(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        hold(showtime, guest, "A1")
        assert self.begin(showtime, guest, guest, user) is False
        assert live(showtime) == {guest: {"A1"}}
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)

    def test_of_the_user_wins_over_the_newer_hold(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        hold(showtime, user, "C1")
        hold(showtime, guest, "A1")
        assert self.begin(showtime, user, guest, user) is True
        assert live(showtime) == {user: {"C1"}}
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)

    def test_would_be_robbed_without_the_locks(
        self, showtime: Showtime, guest: Holder, user: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: judged by what was read before the wait, the hold moves while it is being paid."""
        hold(showtime, guest, "A1")
        early = adopting.lock_contending_holds(holder_ids=[guest.pk], showtime_id=showtime.pk)
        monkeypatch.setattr(adopting, "lock_contending_holds", lambda **_asked: early)
        assert self.begin(showtime, guest, guest, user) is True
        assert live(showtime) == {user: {"A1"}}
        assert Hold.objects.get(holder=user).paying

    def test_is_adopted_once_it_is_over(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        hold_id = hold(showtime, guest, "A1").hold.hold_id
        start_paying(hold_id)
        assert adopt(guest, user) is False
        with connection.cursor() as cursor:
            cursor.execute("UPDATE seating_hold SET paying = false WHERE id = %s", [hold_id])
            cursor.execute("UPDATE seating_seat SET paying = false WHERE hold_id = %s", [hold_id])
        assert adopt(guest, user) is True
        assert live(showtime) == {user: {"A1"}}
        assert_redis_agrees(showtime)


class TestABookingThatIsBusy:
    def test_does_not_stand_in_the_way_of_signing_in(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        """It is being settled, which takes its time: the next page brings it along."""
        booking = buy(hold(showtime, guest, "A1").hold).booking
        session = SessionStore()
        session[GUEST_KEY] = str(guest.guest_key)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        with rows_locked("SELECT FROM bookings_booking WHERE id = %s", [booking.pk]):
            assert visitor(session, user.user) == Claimant(holder_id=user.pk, user_id=user.user_id)
        connection.close()
        assert GUEST_KEY in session
        visitor(session, user.user)
        assert GUEST_KEY not in session
        booking.refresh_from_db()
        assert booking.holder == user


class TestALockThatWasLostOnTheWay:
    @pytest.fixture
    def lost(self, showtime: Showtime, guest: Holder, user: Holder, settings: Settings) -> None:
        """Redis was away when the hold moved, so the lock still says that it is the guest's."""
        hold(showtime, guest, "A1")
        there = settings.REDIS_URL
        settings.REDIS_URL = NOWHERE
        assert adopt(guest, user)
        settings.REDIS_URL = there

    @pytest.mark.usefixtures("lost")
    def test_does_not_keep_the_user_from_their_own_seat(self, showtime: Showtime, user: Holder) -> None:
        assert hold(showtime, user, "A1", "A2").hold.seats == ("A1", "A2")
        assert_redis_agrees(showtime)

    @pytest.mark.usefixtures("lost")
    def test_still_keeps_others_from_it(self, showtime: Showtime) -> None:
        with refused(ErrorCode.SEAT_HELD):
            hold(showtime, HolderFactory(), "A1")


class TestTwoAtOnce:
    def test_the_same_sign_in_twice_is_one(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        hold(showtime, guest, "A1")
        BookingFactory(
            hold__showtime=showtime, hold__holder=guest, hold__ended_at="2026-01-01T00:00Z", hold__end_reason="released"
        )
        with in_background() as start, rows_locked(HOLDER, [guest.pk]) as rival:
            both = [start(lambda: adopt(guest, user)) for _time in range(2)]
            wait_for_waiters(2)
            rival.commit()
            assert [signing_in.result() for signing_in in both] == [True, True]
        assert live(showtime) == {user: {"A1"}}
        assert sorted(race(*[lambda: adopt_bookings(guest_id=guest.pk, holder_id=user.pk)] * 2)) == [0, 1]
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)

    def test_two_browsers_of_one_user_leave_one_hold(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        other = HolderFactory()
        hold(showtime, other, "B3")
        hold(showtime, guest, "A1")
        assert race(lambda: adopt(guest, user), lambda: adopt(other, user)) == [True, True]
        assert live(showtime) == {user: {"A1"}}
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)


class TestTimeThatIsOver:
    def test_is_over_for_the_user_too(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        run_out(hold(showtime, guest, "A1").hold.hold_id)
        with in_background() as start, rows_locked(HOLDER, [guest.pk]) as rival:
            signing_in = start(lambda: adopt(guest, user))
            wait_for_waiters(1)
            assert expire_holds(showtime_id=showtime.pk) == 1
            rival.commit()
            assert signing_in.result() is True
        assert live(showtime) == {}
        assert_sound(showtime.pk)

    def test_is_no_rival_to_a_hold_that_lives(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        older = hold(showtime, user, "C1").hold.hold_id
        let_pass(800, older)
        extend(showtime, user)
        let_pass(800, older)
        run_out(hold(showtime, guest, "A1").hold.hold_id)
        adopt(guest, user)
        assert live(showtime) == {user: {"C1"}}
        assert_sound(showtime.pk)

    def test_of_the_users_own_gives_way(self, showtime: Showtime, guest: Holder, user: Holder) -> None:
        hold(showtime, guest, "A1")
        run_out(hold(showtime, user, "C1").hold.hold_id)
        adopt(guest, user)
        assert live(showtime) == {user: {"A1"}}
        assert_sound(showtime.pk)
        assert_redis_agrees(showtime)

    def test_when_others_took_every_seat_there_is_nothing_left(
        self, showtime: Showtime, guest: Holder, user: Holder
    ) -> None:
        run_out(hold(showtime, guest, "A1").hold.hold_id)
        locks_command(lambda redis: redis.flushdb())
        hold(showtime, HolderFactory(), "A1")
        assert adopt(guest, user) is True
        assert user not in live(showtime) or live(showtime)[user] == set()
        assert_sound(showtime.pk)


def test_a_crowd_neither_deadlocks_nor_loses_a_seat(
    showtime: Showtime, guest: Holder, user: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    """Two devices of one person, and others, all at once; afterwards every account of it is the same."""
    other = HolderFactory()
    hold(showtime, guest, "A1", "A2")
    works = [
        lambda: adopt(guest, user),
        lambda: hold(showtime, user, "C1"),
        lambda: hold(showtime, guest, "B3"),
        lambda: release(showtime, user, "A1"),
        lambda: extend(showtime, guest),
        lambda: adopt(other, user),
        lambda: hold(showtime, other, "A3"),
    ]
    for _round in range(4):
        race(*works)
    assert "sale.deadlock_retried" not in caplog.text
    adopt(guest, user)
    adopt(other, user)
    assert set(live(showtime)) <= {user}
    assert_sound(showtime.pk)
    assert_redis_agrees(showtime)
