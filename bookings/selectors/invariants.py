"""What must always be true of bookings and their seats; `seating.selectors.invariants` says how it is asked."""

from __future__ import annotations

from seating.selectors.invariants import Invariant

BOOKING_INVARIANTS = (
    Invariant(
        "I1",
        "a seat is in two live bookings",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM bookings_ticket AS ticket
        JOIN bookings_booking AS booking ON booking.id = ticket.booking_id
        JOIN seating_seat AS seat ON seat.id = ticket.seat_id
        WHERE ticket.cancelled_at IS NULL AND booking.status IN ('PENDING', 'CONFIRMED')
        GROUP BY seat.id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I3",
        "a confirmed ticket's seat is not sold",
        """
        SELECT booking.reference || ', seat ' || seat.code
        FROM bookings_ticket AS ticket
        JOIN bookings_booking AS booking ON booking.id = ticket.booking_id
        JOIN seating_seat AS seat ON seat.id = ticket.seat_id
        WHERE ticket.cancelled_at IS NULL AND booking.status = 'CONFIRMED' AND seat.status <> 'SOLD'
        """,
    ),
    Invariant(
        "I3",
        "a sold seat has no ticket",
        """
        SELECT 'showtime ' || seat.showtime_id || ', seat ' || seat.code
        FROM seating_seat AS seat
        WHERE seat.status = 'SOLD'
          AND NOT EXISTS (
              SELECT FROM bookings_ticket AS ticket WHERE ticket.seat_id = seat.id AND ticket.cancelled_at IS NULL
          )
        """,
    ),
)
