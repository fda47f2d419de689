"""Writes. Every door (REST, socket, page, admin, task, command line) comes through here."""

from bookings.services.adopting import adopt_bookings

__all__ = ["adopt_bookings"]
