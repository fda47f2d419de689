from django.apps import AppConfig


class BookingsConfig(AppConfig):
    """What was bought."""

    name = "bookings"
