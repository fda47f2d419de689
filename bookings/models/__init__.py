"""What was bought: bookings, their tickets and their payments."""

from bookings.models.bookings import LIVE, Booking, BookingStatus, Ticket, new_reference
from bookings.models.payments import DemoPayment, Payment, PaymentEvent, PaymentStatus
from bookings.models.reconciler import ReconcilerRun

__all__ = [
    "LIVE",
    "Booking",
    "BookingStatus",
    "DemoPayment",
    "Payment",
    "PaymentEvent",
    "PaymentStatus",
    "ReconcilerRun",
    "Ticket",
    "new_reference",
]
