"""Writes. Every door (REST, socket, page, admin, task, command line) comes through here."""

from seating.services.programme import make_seats, publish_layout, schedule_showtime

__all__ = ["make_seats", "publish_layout", "schedule_showtime"]
