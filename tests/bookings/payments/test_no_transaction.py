"""No provider is ever called while rows may be locked: it may take seconds to answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from bookings import payments
from bookings.models import Booking, Payment
from bookings.payments import Order, PaymentProvider, PaymentState, provider_named
from bookings.services import (
    ask_about_payment,
    ask_about_pending_payments,
    cancel_booking,
    cancel_booking_for_house,
    cancel_bookings_of_showtime,
    expire_payment,
    give_up_payment,
    settle_overdue_payments,
)
from bookings.services.purchases import order_of
from seating.models import Holder, Showtime
from tests.support.asking import hold
from tests.support.buying import FlakyDemo, buy, close_window, decide

pytestmark = pytest.mark.django_db(transaction=True)


class Watchful(FlakyDemo):
    """The demo provider, which notes whether each call came within a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.within: set[str] = set()

    def _call(self, name: str, order: Order) -> PaymentState:
        if connection.in_atomic_block:
            self.within.add(name)
        return super()._call(name, order)


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> Watchful:
    provider = Watchful()
    monkeypatch.setitem(payments.PROVIDERS, "demo", provider)
    return provider


def cancel(booking: Booking) -> None:
    cancel_booking(holder_id=booking.holder_id, reference=booking.reference)


def give_up(booking: Booking) -> None:
    give_up_payment(holder_id=booking.holder_id, reference=booking.reference)


def expire(booking: Booking) -> None:
    close_window(booking)
    expire_payment(reference=booking.reference)


def expire_by_the_clock(booking: Booking) -> None:
    close_window(booking)
    settle_overdue_payments()


def pay_and_cancel(booking: Booking) -> None:
    decide(booking)
    cancel(booking)


def ask_by_the_clock(booking: Booking) -> None:
    Payment.objects.filter(booking=booking).update(asked_at=booking.created_at.replace(year=2020))
    ask_about_pending_payments()


WAYS: list[tuple[Callable[[Booking], object], set[str]]] = [
    (cancel, {"cancel"}),
    (give_up, {"cancel"}),
    (expire, {"cancel"}),
    (expire_by_the_clock, {"cancel"}),
    (pay_and_cancel, {"refund"}),
    (lambda booking: cancel_booking_for_house(reference=booking.reference), {"cancel"}),
    (lambda booking: cancel_bookings_of_showtime(showtime_id=booking.showtime_id), {"cancel"}),
    (lambda booking: ask_about_payment(reference=booking.reference), {"ask"}),
    (ask_by_the_clock, {"ask"}),
]


@pytest.mark.parametrize(("way", "calls"), WAYS)
def test_no_way_calls_it_within_one(
    showtime: Showtime, ada: Holder, watchful: Watchful, way: Callable[[Booking], object], calls: set[str]
) -> None:
    booking = buy(hold(showtime, ada, "A1").hold, "stall").booking
    way(booking)
    assert set(watchful.calls) == {"create", *calls}
    assert not watchful.within


class TestTheDoor:
    CALLS = (PaymentProvider.create, PaymentProvider.cancel, PaymentProvider.ask, PaymentProvider.refund)

    @pytest.mark.parametrize("call", [call.__name__ for call in CALLS])
    def test_refuses_it(self, showtime: Showtime, ada: Holder, watchful: Watchful, call: str) -> None:
        booking = buy(hold(showtime, ada, "A1").hold, "stall").booking
        order, provider = order_of(booking.payment), provider_named("demo")
        watchful.calls.clear()
        with pytest.raises(transaction.TransactionManagementError, match="never called"), transaction.atomic():
            getattr(provider, call)(order)
        assert not watchful.calls
        getattr(provider, call)(order)
        assert watchful.calls == [call]
