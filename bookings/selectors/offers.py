"""What is offered to whoever lost their seats by paying too late."""

from __future__ import annotations

from django.utils import timezone

from bookings.models import LIVE, Booking
from seating.selectors.best_seats import equal_seats
from seating.selectors.programme import sales_state


def seats_offered_instead(booking: Booking) -> list[list[str]]:
    """Return groups of free seats equal to those that a booking has lost because its money came too late.

    It is advice and reserves nothing: who wants one of the groups holds it as any other seats.

    Args:
        booking: any.

    Returns:
        The codes, group by group, best first; empty if nothing was lost so, nothing fits, the showtime sells nothing
        now, or the buyer has bought other seats since.
    """
    if not booking.paid_too_late or sales_state(booking.showtime, timezone.now()):
        return []
    since = Booking.objects.filter(
        holder=booking.holder_id,
        showtime=booking.showtime_id,
        status__in=LIVE,
        pk__gt=booking.pk,
    )
    if since.exists():
        return []
    return equal_seats(
        showtime_id=booking.showtime_id, codes=[ticket.seat.code for ticket in booking.tickets.select_related("seat")]
    )
