"""How a purchase may end: with tickets, with the money back, or with nothing paid; exactly one of them."""

from __future__ import annotations

from enum import Enum

from django.utils import timezone

from bookings.models import Booking, BookingStatus, DemoPayment, PaymentStatus
from bookings.services import settle_overdue_payments
from seating.models import Hold, Seat, SeatStatus
from seating.services import expire_holds
from tests.support.buying import (
    FlakyDemo,
    assert_bought_right,
    assert_provider_agrees,
    close_window,
    let_try_again,
    notify,
)
from tests.support.passing_time import run_out


class End(Enum):
    """What a buyer is left with."""

    TICKETS = "tickets"
    REFUND = "the money back, for it was given up"
    OFFER = "the money back, and other seats are offered"
    NOTHING = "nothing was paid"


def come_to_rest(booking: Booking, provider: FlakyDemo) -> None:
    """Let everything happen that is still to happen: the provider is back, and all has been told and tried again."""
    provider.away, provider.lost = set(), set()
    there = DemoPayment.objects.filter(order=booking.reference).first()
    if there and there.status == PaymentStatus.CAPTURED:
        notify(booking)
    if Booking.objects.get(pk=booking.pk).status == BookingStatus.PENDING:
        close_window(booking)
    let_try_again(booking)
    settle_overdue_payments()
    hold = Hold.objects.get(pk=booking.hold_id)
    # One that has run out may have been overtaken, and must not seem to have lived longer than that.
    if hold.ended_at is None and not hold.paying and hold.expires_at > timezone.now():
        run_out(hold.pk)
    expire_holds(showtime_id=booking.showtime_id)


def end_of(booking: Booking) -> End:
    """Return how a purchase has ended; fail unless it has in exactly one way, with money, seats and tickets right."""
    booking = Booking.objects.select_related("payment", "showtime").get(pk=booking.pk)
    state = (BookingStatus(booking.status), PaymentStatus(booking.payment.status))
    tickets = list(booking.tickets.select_related("seat"))
    good = [ticket for ticket in tickets if ticket.issued_at and not ticket.cancelled_at]
    open_tickets = [ticket for ticket in tickets if not ticket.cancelled_at]
    seats = Seat.objects.filter(hold=booking.hold_id)
    there = DemoPayment.objects.filter(order=booking.reference).first()
    kept = there is not None and there.status == PaymentStatus.CAPTURED

    ends = []
    if state == (BookingStatus.CONFIRMED, PaymentStatus.CAPTURED):
        assert kept
        assert good == tickets
        assert {ticket.seat_id for ticket in good} == set(seats.values_list("pk", flat=True))
        assert {seat.status for seat in seats} == {SeatStatus.SOLD}
        ends.append(End.TICKETS)
    if state == (BookingStatus.REFUNDED, PaymentStatus.REFUNDED):
        assert there is not None
        assert (there.status, there.refunded_amount) == (PaymentStatus.REFUNDED, booking.total_amount)
        ends.append(End.OFFER if booking.paid_too_late else End.REFUND)
    if state[0] in (BookingStatus.EXPIRED, BookingStatus.CANCELLED):
        assert state[1] in (PaymentStatus.CANCELLED, PaymentStatus.DECLINED)
        assert not kept
        ends.append(End.NOTHING)
    assert len(ends) == 1, f"{state} is no end"
    if ends != [End.TICKETS]:
        assert not open_tickets
        assert not seats.filter(status=SeatStatus.SOLD).exclude(hold__bookings__status=BookingStatus.CONFIRMED).exists()
        assert not seats.filter(paying=True).exclude(hold__bookings__status=BookingStatus.PENDING).exists()
    assert_bought_right(booking.showtime)
    assert_provider_agrees()
    return ends[0]
