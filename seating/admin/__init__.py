"""The house in Django's admin: a door like the others, so every change of seats goes through a service.

`ShowtimeAdmin` is registered by bookings, which adds what a cancelled showtime means for those who have paid.
"""

from seating.admin.auditoriums import AuditoriumAdmin, LayoutAdmin, SeatCategoryAdmin
from seating.admin.confirming import ask
from seating.admin.holds import HoldAdmin, HolderAdmin, SeatEventAdmin, SeatHoldAdmin
from seating.admin.movies import MovieAdmin
from seating.admin.refusing import in_words
from seating.admin.showtimes import ShowtimeAdmin

__all__ = [
    "AuditoriumAdmin",
    "HoldAdmin",
    "HolderAdmin",
    "LayoutAdmin",
    "MovieAdmin",
    "SeatCategoryAdmin",
    "SeatEventAdmin",
    "SeatHoldAdmin",
    "ShowtimeAdmin",
    "ask",
    "in_words",
]
