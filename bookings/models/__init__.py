"""What was bought: bookings, their tickets and their payments."""

from bookings.models.bookings import Booking, BookingStatus, Ticket, new_reference
from bookings.models.payments import Payment, PaymentStatus

__all__ = ["Booking", "BookingStatus", "Payment", "PaymentStatus", "Ticket", "new_reference"]
