"""A showtime is called off, by two of the staff, while others hold, pay and cancel: each ends in one allowed way."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import pytest
from django.db.models.functions import Now

from bookings.models import Booking, Payment
from bookings.services import call_off_showtime, cancel_booking, settle_overdue_payments
from bookings.services.mailing import MAIL
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.models import Effect
from cinebook.core.outbox import deliver_effects
from seating.models import Hold, Showtime
from seating.services import Withdrawn, selling
from tests.support.asking import hold, refused, somebody_holds
from tests.support.buying import (
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    buy,
    close_window,
    decide,
    now,
)
from tests.support.rivals import race, rival_transaction

pytestmark = pytest.mark.django_db(transaction=True)


def finish() -> None:
    """Let everybody come by who does what is left."""
    for _round in range(3):
        Effect.objects.filter(status="WAITING").update(next_attempt_at=Now())
        deliver_effects()
        Payment.objects.update(next_attempt_at=Now())
        settle_overdue_payments()


@pytest.mark.parametrize("turn", range(3))
def test_against_everything_at_once(showtime: Showtime, provider: FlakyDemo, turn: int) -> None:
    bought = buy(somebody_holds(showtime, "A1")).booking
    own = buy(somebody_holds(showtime, "A2")).booking
    pending = buy(somebody_holds(showtime, "A3"), "stall").booking
    held, about_to_pay = somebody_holds(showtime, "B1"), somebody_holds(showtime, "B2")
    newcomer = somebody_holds(showtime, "C1").holder_id
    call_off = functools.partial(call_off_showtime, showtime_id=showtime.pk)

    race(
        call_off,
        call_off,
        deliver_effects,
        lambda: buy(about_to_pay),
        lambda: decide(pending),
        lambda: cancel_booking(holder_id=own.holder_id, reference=own.reference),
        lambda: hold(showtime, Hold.objects.get(holder=newcomer).holder, "C2"),
    )
    finish()

    assert not Hold.objects.filter(ended_at=None).exists()
    assert Hold.objects.get(pk=held.hold_id).end_reason == "withdrawn"
    assert set(showtime.seats.values_list("status", flat=True)) == {"AVAILABLE"}
    for booking in showtime.bookings.select_related("payment"):
        assert booking.status in {"CANCELLED", "REFUNDED"}
        assert booking.payment.captured_amount == booking.payment.refunded_amount
    told = Counter(
        Effect.objects.filter(name=MAIL, arguments__mail__in=["showtime_cancelled", "cancelled"]).values_list(
            "arguments__reference", flat=True
        )
    )
    assert {bought.reference, own.reference} <= told.keys()
    assert set(told.values()) == {1}
    assert_bought_right(showtime)
    assert_provider_agrees()


class TestBuyingWhatIsLeft:
    """The hold was busy when the others were taken back, and everything else is done."""

    @pytest.fixture
    def outcome(self, showtime: Showtime, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch) -> Any:
        def buy_it() -> Any:
            held = somebody_holds(showtime, "A1")
            with monkeypatch.context() as busy:
                for place in ("seating.services.showtimes", "bookings.services.cancelling"):
                    busy.setattr(f"{place}.withdraw_holds", lambda **_given: Withdrawn(holds=0, seats=()))
                call_off_showtime(showtime_id=showtime.pk)
                deliver_effects()
            try:
                return buy(held).booking.status
            except Refusal as refusal:
                return refusal.code

        return buy_it

    def test_is_refused(self, outcome: Any) -> None:
        assert outcome() is ErrorCode.NOT_ON_SALE

    def test_without_the_guard_it_would_be_sold(self, outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("seating.services.selling._is_cancelled", lambda _showtime_id: False)
        # Its money is looked at once more when it comes.
        monkeypatch.setattr("bookings.services.settling._given_up", lambda _purchase: None)
        assert outcome() == "CONFIRMED"


class TestMoneyThatComesLateAtThatMoment:
    """Whoever settles it has found the showtime on sale; it is cancelled before the sale takes its counter."""

    @pytest.fixture
    def late(self, showtime: Showtime, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch) -> Booking:
        booking = buy(somebody_holds(showtime, "A1"), "stall").booking
        provider.away = {"cancel"}
        close_window(booking, grace=True)
        settle_overdue_payments()
        provider.away.clear()
        assert now(booking)[0] == "EXPIRED"
        take_again = selling.take_again

        def after_it_was_cancelled(**given: Any) -> Any:
            with rival_transaction() as rival, rival.cursor() as cursor:
                cursor.execute("UPDATE seating_showtime SET cancelled_at = now() WHERE id = %s", [showtime.pk])
                cursor.execute("UPDATE seating_showtimesales SET sales_open = false")
                rival.commit()
            return take_again(**given)

        monkeypatch.setattr(selling, "take_again", after_it_was_cancelled)
        return booking

    def test_goes_back_when_it_is_told_again(self, showtime: Showtime, late: Booking) -> None:
        with refused(ErrorCode.SEAT_LOCKED):
            decide(late)
        assert now(late)[0] == "EXPIRED"
        decide(late)
        assert now(late) == ("REFUNDED", "REFUNDED")
        assert_bought_right(showtime)
        assert_provider_agrees()

    def test_without_a_second_look_it_would_buy_tickets_for_nothing(
        self, late: Booking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selling, "_is_cancelled", lambda _showtime_id: False)
        decide(late)
        assert now(late)[0] == "CONFIRMED"
