"""Short ways to buy, a provider that can be away, and what must be true of money and seats at every moment (I1, I6)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from bookings.models import Booking, BookingStatus, DemoPayment, Payment, PaymentStatus, Ticket
from bookings.payments import Order, PaymentState, ProviderAway
from bookings.payments.demo import DemoProvider, demo_notice
from bookings.selectors.purchases import GRACE_SECONDS
from bookings.services import (
    Attendee,
    BookingAnswer,
    Contact,
    Purchase,
    confirm_seats,
    demo_decide,
    receive_notice,
    start_booking,
)
from bookings.services.purchases import order_of
from bookings.services.settling import settle_answer
from cinebook.core.errors import ErrorCode
from seating.models import Holder, Seat, SeatHold, SeatStatus, Showtime
from seating.selectors.holds import HeldSeats
from tests.support.asking import refused
from tests.support.ledger import assert_sound
from tests.support.passing_time import run_out

CONTACT = Contact(name="Ada Example", email="ada@example.org")

# How a booking and its payment stand, as `now` tells it.
PENDING = (BookingStatus.PENDING, PaymentStatus.PENDING)
CONFIRMED = (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED)
DECLINED = (BookingStatus.CANCELLED, PaymentStatus.DECLINED)
GIVEN_UP = (BookingStatus.CANCELLED, PaymentStatus.CANCELLED)
EXPIRED = (BookingStatus.EXPIRED, PaymentStatus.CANCELLED)
REFUND_DUE = (BookingStatus.REFUND_DUE, PaymentStatus.REFUND_DUE)
REFUNDED = (BookingStatus.REFUNDED, PaymentStatus.REFUNDED)


def purchase(token: str = "", attendees: Collection[Attendee] = (), **given: Any) -> Purchase:
    return Purchase(**{"provider": "demo", "token": token, "contact": CONTACT, "attendees": tuple(attendees), **given})


def buy(held: HeldSeats, token: str = "", **given: Any) -> BookingAnswer:
    """Buy a hold for its holder."""
    return start_booking(
        holder_id=held.holder_id, user_id=held.user_id, hold_id=held.hold_id, purchase=purchase(token, **given)
    )


def begin(held: HeldSeats, provider: FlakyDemo, token: str) -> tuple[Booking, Callable[[], object]]:
    """Begin a purchase whose web process then hangs; return it, and what lets the provider's answer arrive."""
    provider.lost = {"create"}
    with refused(ErrorCode.UNAVAILABLE):
        buy(held, token)
    provider.lost = set()
    booking = Booking.objects.select_related("payment").get(hold=held.hold_id, status=BookingStatus.PENDING)
    order = order_of(booking.payment)
    state = DemoProvider().create(order)
    return booking, lambda: settle_answer(provider="demo", order=order, state=state)


def confirm(showtime: Showtime, holder: Holder, *codes: str, token: str = "", **given: Any) -> BookingAnswer:
    """Buy seats that somebody holds."""
    return confirm_seats(
        holder_id=holder.pk,
        user_id=holder.user_id,
        showtime_id=showtime.pk,
        codes=codes,
        purchase=purchase(token, **given),
    )


def books(booking: Booking) -> DemoPayment:
    """Return what the demo provider has in its own books of a booking."""
    return DemoPayment.objects.get(order=booking.reference)


def decide(booking: Booking, outcome: PaymentStatus = PaymentStatus.CAPTURED) -> None:
    """Be the person on the demo provider's page."""
    demo_decide(reference=books(booking).reference, outcome=outcome)


def capture_silently(booking: Booking) -> None:
    """Let the money be taken, and the notice be lost on its way."""
    DemoPayment.objects.filter(order=booking.reference).update(status=PaymentStatus.CAPTURED)


def capture_and_tell(booking: Booking) -> None:
    """Let the provider have the money, whatever it has said before, and tell so; once more if it has given it back."""
    there = books(booking)
    if there.status != PaymentStatus.REFUNDED:
        capture_silently(booking)
    there.status = PaymentStatus.CAPTURED
    notice = demo_notice(there)
    assert notice is not None
    receive_notice(provider="demo", body=notice.body, headers=notice.headers)


def notify(booking: Booking, *, times: int = 1) -> None:
    """Let the demo provider tell how a payment was decided, so many times."""
    notice = demo_notice(books(booking))
    assert notice is not None
    for _ in range(times):
        receive_notice(provider="demo", body=notice.body, headers=notice.headers)


def close_window(booking: Booking, *, grace: bool = False) -> None:
    """Let the time for a payment be over, and the grace for its provider too; whoever asked it last did so long ago."""
    run_out(booking.hold_id)
    over = dt.timedelta(seconds=GRACE_SECONDS + 1 if grace else 1)
    Booking.objects.filter(pk=booking.pk).update(pay_by=timezone.now() - over)
    let_try_again(booking)


def let_try_again(booking: Booking) -> None:
    """Let the provider have been asked long ago."""
    Payment.objects.filter(booking=booking).update(next_attempt_at=timezone.now() - dt.timedelta(seconds=1))


def now(booking: Booking) -> tuple[BookingStatus, PaymentStatus]:
    """Return how a booking and its payment stand now."""
    status, paid = Booking.objects.values_list("status", "payment__status").get(pk=booking.pk)
    return BookingStatus(status), PaymentStatus(paid)


class FlakyDemo(DemoProvider):
    """The demo provider, which may be away for some of the calls, and remembers all of them.

    `lost` calls do what they are asked, but nobody hears the answer.
    """

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.lost: set[str] = set()
        self.calls: list[str] = []

    def create(self, order: Order) -> PaymentState:
        return self._call("create", order)

    def cancel(self, order: Order) -> PaymentState:
        return self._call("cancel", order)

    def ask(self, order: Order) -> PaymentState:
        return self._call("ask", order)

    def refund(self, order: Order) -> PaymentState:
        return self._call("refund", order)

    def _call(self, name: str, order: Order) -> PaymentState:
        self.calls.append(name)
        if name in self.away:
            raise ProviderAway
        state: PaymentState = getattr(super(), name)(order)
        if name in self.lost:
            raise ProviderAway
        return state


def assert_money_adds_up() -> None:
    """Assert that what was captured less what was refunded is what is confirmed, or owed (I6)."""
    standing = {
        BookingStatus.CONFIRMED: (PaymentStatus.CAPTURED, True),
        BookingStatus.REFUND_DUE: (PaymentStatus.REFUND_DUE, True),
        BookingStatus.REFUNDED: (PaymentStatus.REFUNDED, False),
    }
    expected = 0
    for payment in Payment.objects.select_related("booking"):
        status, kept = standing.get(BookingStatus(payment.booking.status), (None, False))
        kept_amount = payment.captured_amount - payment.refunded_amount
        assert kept_amount == (payment.booking.total_amount if kept else 0), payment.booking
        if status:
            assert payment.status == status, payment.booking
        expected += kept_amount
    confirmed = Booking.objects.filter(status__in=[BookingStatus.CONFIRMED, BookingStatus.REFUND_DUE])
    assert expected == (confirmed.aggregate(sum=Sum("total_amount"))["sum"] or 0)


def assert_provider_agrees() -> None:
    """Assert that the provider's own books say the same, once everything has been told."""
    kept = DemoPayment.objects.filter(status=PaymentStatus.CAPTURED).values_list("order", flat=True)
    paid = Booking.objects.filter(payment__status__in=[PaymentStatus.CAPTURED, PaymentStatus.REFUND_DUE])
    assert sorted(kept) == sorted(paid.values_list("reference", flat=True))


def assert_bought_right(showtime: Showtime) -> None:
    """Assert that a seat is sold exactly if a confirmed booking has a good ticket for it (I1), and that all adds up."""
    good = Ticket.objects.filter(cancelled_at=None, issued_at__isnull=False, booking__showtime=showtime)
    tickets = sorted(good.values_list("seat__code", "booking__hold"))
    sold = Seat.objects.filter(showtime=showtime, status=SeatStatus.SOLD)
    assert tickets == sorted(sold.values_list("code", "hold"))
    assert not good.exclude(booking__status=BookingStatus.CONFIRMED).exists()
    strangers = SeatHold.objects.filter(seat__showtime=showtime, end_reason="sold").exclude(hold__end_reason="sold")
    assert not strangers.exists(), "sold out of a hold that bought nothing"
    assert_sound(showtime.pk)
    assert_money_adds_up()
