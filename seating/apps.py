from django.apps import AppConfig


class SeatingConfig(AppConfig):
    """Who has which seat, right now."""

    name = "seating"
