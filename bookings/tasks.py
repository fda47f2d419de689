"""What Celery runs for bookings."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from bookings.demo import load_demo


@shared_task  # type: ignore[untyped-decorator] # Celery has no types
def top_up_demo_showtimes() -> None:
    """Keep the demo cinema's coming week full. Does nothing in a real cinema."""
    if settings.DEMO_CINEMA:
        load_demo()
