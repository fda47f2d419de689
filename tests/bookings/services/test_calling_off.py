"""Calling off a showtime: the caller is not kept waiting, and whatever breaks off on the way is taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from bookings.models import BookingStatus, Payment
from bookings.selectors.purchases import REFUNDS_A_ROUND, cancelled_bookings_at, payments_due
from bookings.services import call_off_showtime, cancel_booking, reconcile, settle_overdue_payments
from bookings.services.cancelling import CALL_OFF
from bookings.services.mailing import MAIL
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.models import Effect
from cinebook.core.outbox import deliver_effects
from seating.models import Hold, HoldEnd, Holder, Showtime
from tests import factories
from tests.support.asking import hold, refused, somebody_holds
from tests.support.buying import (
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    buy,
    capture_silently,
    close_window,
    notify,
    now,
)

pytestmark = pytest.mark.django_db(transaction=True)

CHECKOUT = Path(__file__).resolve().parents[3]
DEADLINE = 20


@pytest.fixture
def full(showtime: Showtime, provider: FlakyDemo) -> Showtime:
    """A showtime with four bookings that are paid, two that are being paid, and two holds."""
    for code in ("A1", "A2", "A3", "A4"):
        buy(somebody_holds(showtime, code))
    for code in ("B1", "B2"):
        buy(somebody_holds(showtime, code), "stall")
    for code in ("C1", "C2"):
        somebody_holds(showtime, code)
    Effect.objects.all().delete()
    return showtime


def let_lease_end() -> None:
    Effect.objects.filter(status="WAITING").update(next_attempt_at=Now())


def assert_called_off(showtime: Showtime) -> None:
    """Assert that all has come to its end, and that everybody was told once."""
    assert Counter(showtime.bookings.values_list("status", flat=True)) == {"REFUNDED": 4, "CANCELLED": 2}
    assert not Hold.objects.filter(ended_at=None).exists()
    assert set(showtime.seats.values_list("status", flat=True)) == {"AVAILABLE"}
    mails = Effect.objects.filter(name=MAIL).order_by("pk").values_list("arguments__reference", "arguments__mail")
    told: dict[str, list[str]] = {}
    for reference, mail in mails:
        told.setdefault(reference, []).append(mail)
    for booking in showtime.bookings.all():
        paid = ["refunded"] if booking.status == BookingStatus.REFUNDED else []
        assert told[booking.reference] == ["showtime_cancelled", *paid]
    assert_bought_right(showtime)
    assert_provider_agrees()


def finish() -> None:
    """Let everybody come by who does what is left, as often as it takes."""
    for _round in range(3):
        let_lease_end()
        deliver_effects()
        Payment.objects.update(next_attempt_at=Now())
        settle_overdue_payments()
        deliver_effects()


def test_the_caller_asks_no_provider(full: Showtime, provider: FlakyDemo) -> None:
    provider.calls.clear()
    done = call_off_showtime(showtime_id=full.pk)
    assert (done.holds, done.bookings) == (2, 6)
    assert provider.calls == []
    state = cancelled_bookings_at(full.pk)
    assert (state.to_cancel, state.to_refund, state.refunded) == (6, 0, 0)
    finish()
    state = cancelled_bookings_at(full.pk)
    assert (state.to_cancel, state.to_refund, state.refunded) == (0, 0, 4)
    assert Counter(provider.calls) == {"cancel": 2, "refund": 4}
    assert_called_off(full)


def test_pressed_twice_is_as_once(full: Showtime) -> None:
    call_off_showtime(showtime_id=full.pk)
    assert call_off_showtime(showtime_id=full.pk).holds == 0
    finish()
    assert call_off_showtime(showtime_id=full.pk).bookings == 0
    finish()
    assert_called_off(full)


def test_money_that_comes_after_that_goes_back(full: Showtime) -> None:
    call_off_showtime(showtime_id=full.pk)
    finish()
    late = full.bookings.filter(status="CANCELLED")[0]
    capture_silently(late)
    notify(late, times=2)
    assert now(late)[0] == BookingStatus.REFUNDED
    assert_bought_right(full)


def test_money_that_came_just_before_goes_back(full: Showtime) -> None:
    call_off_showtime(showtime_id=full.pk)
    paid = full.bookings.filter(status="PENDING")[0]
    capture_silently(paid)
    finish()
    assert now(paid)[0] == BookingStatus.REFUNDED
    assert_bought_right(full)
    assert_provider_agrees()


def test_a_provider_that_is_away_is_come_back_to(full: Showtime, provider: FlakyDemo) -> None:
    provider.away = {"cancel", "refund"}
    call_off_showtime(showtime_id=full.pk)
    deliver_effects()
    settle_overdue_payments()
    state = cancelled_bookings_at(full.pk)
    assert (state.to_cancel, state.to_refund, state.refunded) == (2, 4, 0)
    effect = Effect.objects.get(name=CALL_OFF)
    assert (effect.status, effect.error.partition(" ")[0]) == ("WAITING", "StillToDo")
    provider.away.clear()
    finish()
    assert_called_off(full)


def test_a_hold_that_is_busy_is_come_back_to(full: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**given: Any) -> None:
        raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)

    with monkeypatch.context() as moment:
        moment.setattr("seating.services.showtimes.withdraw_holds", busy)
        done = call_off_showtime(showtime_id=full.pk)
    assert (done.holds, done.bookings) == (0, 6)
    finish()
    assert_called_off(full)


def test_what_could_not_be_begun_has_changed_nothing(full: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*given: Any, **more: Any) -> None:
        raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)

    monkeypatch.setattr("seating.services.showtimes._write_cancelled", busy)
    with refused(ErrorCode.SEAT_LOCKED):
        call_off_showtime(showtime_id=full.pk)
    with refused(ErrorCode.SEAT_LOCKED):
        call_off_showtime(showtime_id=0)
    assert not Effect.objects.exists()


class Killed(BaseException):
    """The process is gone: nothing after this is done."""


@pytest.mark.parametrize(
    "point",
    [
        "seating.services.showtimes.withdraw_holds",
        "bookings.services.cancelling.live_bookings_at",
        "bookings.services.cancelling.withdraw_holds",
        "bookings.services.cancelling.cancel_bookings_of_showtime",
        "bookings.services.cancelling.run_sale",
        "bookings.services.refunding.run_sale",
    ],
)
@pytest.mark.parametrize("by", ["the outbox", "the reconciler"])
def test_a_process_that_dies_on_the_way_leaves_nothing_undone(
    full: Showtime, point: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each point where something is committed and something else is not."""
    with monkeypatch.context() as kill:

        def die(*given: Any, **more: Any) -> None:
            raise Killed

        kill.setattr(point, die)
        with pytest.raises(Killed):  # noqa: PT012 - whichever of the three it is
            call_off_showtime(showtime_id=full.pk)
            deliver_effects()
            settle_overdue_payments()
    assert Showtime.objects.get(pk=full.pk).cancelled_at
    if by == "the reconciler":
        let_lease_end()
        Payment.objects.update(next_attempt_at=Now())
        assert reconcile().outcome == "ok"
    finish()
    assert_called_off(full)


# Finishes the cancelling of a showtime, and stands still at its third booking.
KILLED = """
import sys, time
import django
from django.conf import settings
django.setup()
from django.db import connection
settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = sys.argv[1]
from bookings.services import cancelling
from cinebook.core.outbox import deliver_effects
cancel, done = cancelling._write_cancelled, []
def write(*given, **more):
    done.append(cancel(*given, **more))
    if len(done) == 3:
        # Within the transaction: the third is rolled back by PostgreSQL.
        print("there", flush=True)
        time.sleep(600)
    return done[-1]
cancelling._write_cancelled = write
deliver_effects()
"""


def test_kill_minus_nine_in_the_middle(full: Showtime) -> None:
    call_off_showtime(showtime_id=full.pk)
    command = [sys.executable, "-c", KILLED, connection.settings_dict["NAME"]]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout
    assert process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    process.stdout.close()

    assert cancelled_bookings_at(full.pk).to_refund == 2
    finish()
    assert_called_off(full)


def test_who_cancels_their_own_booking_meanwhile_is_told_once(full: Showtime) -> None:
    own = full.bookings.filter(status="CONFIRMED")[0]
    call_off_showtime(showtime_id=full.pk)
    cancel_booking(holder_id=own.holder_id, reference=own.reference)
    finish()
    told = Effect.objects.filter(name=MAIL, arguments__reference=own.reference).order_by("pk")
    assert [effect.arguments["mail"] for effect in told] == ["cancelled", "refunded"]
    assert_bought_right(full)


def test_holders_are_told_that_their_hold_is_over(
    showtime: Showtime, ada: Holder, provider: FlakyDemo, events: list[Any]
) -> None:
    held = hold(showtime, ada, "A1").hold
    events.clear()
    call_off_showtime(showtime_id=showtime.pk)
    assert Hold.objects.get(pk=held.hold_id).end_reason == HoldEnd.WITHDRAWN
    assert ada.pk in {getattr(event, "holder_id", None) for event in events}


def test_a_full_house_keeps_no_other_payment_waiting(provider: FlakyDemo) -> None:
    showtime = factories.make_showtime()
    for code in ("A1", "A2", "A3", "A4", "A5", "A6", "B3", "B4", "B5", "B6", "C1", "C2"):
        buy(somebody_holds(showtime, code))
    overdue = buy(somebody_holds(factories.make_showtime(), "A1"), "stall").booking
    call_off_showtime(showtime_id=showtime.pk)
    deliver_effects()
    assert cancelled_bookings_at(showtime.pk).to_refund == 12
    close_window(overdue)
    # Who waits for the end of a payment does not wait for every refund.
    assert [due.is_refund for due in payments_due()] == [False] + [True] * REFUNDS_A_ROUND
    assert [settle_overdue_payments() for _round in range(3)] == [1 + REFUNDS_A_ROUND, 12 - REFUNDS_A_ROUND, 0]
    assert REFUNDS_A_ROUND <= 10
