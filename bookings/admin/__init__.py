"""Bookings in Django's admin, and what it takes to cancel a showtime that people have paid for."""

from bookings.admin.showtimes import ShowtimeAdmin

__all__ = ["ShowtimeAdmin"]
