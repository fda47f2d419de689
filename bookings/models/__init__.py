"""What was bought: bookings, their tickets and their payments."""

from bookings.models.bookings import Booking, BookingStatus, Ticket, new_reference
from bookings.models.idempotency import IdempotencyRecord
from bookings.models.payments import DemoPayment, Payment, PaymentEvent, PaymentStatus

__all__ = [
    "Booking",
    "BookingStatus",
    "DemoPayment",
    "IdempotencyRecord",
    "Payment",
    "PaymentEvent",
    "PaymentStatus",
    "Ticket",
    "new_reference",
]
