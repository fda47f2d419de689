"""Bookings in Django's admin, and what it takes to cancel a showtime that people have paid for."""

from bookings.admin.bookings import BookingAdmin
from bookings.admin.payments import PaymentAdmin
from bookings.admin.reconciler import ReconcilerRunAdmin
from bookings.admin.showtimes import CancellableShowtimeAdmin

__all__ = ["BookingAdmin", "CancellableShowtimeAdmin", "PaymentAdmin", "ReconcilerRunAdmin"]
