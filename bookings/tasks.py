"""What Celery runs for bookings."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from bookings.demo import load_demo
from bookings.services import reconcile as run_reconciler


@shared_task  # type: ignore[untyped-decorator] # Celery has no types
def top_up_demo_showtimes() -> None:
    """Keep the demo cinema's coming week full. Does nothing in a real cinema."""
    if settings.DEMO_CINEMA:
        load_demo()


# A run that takes longer than that is stuck: the next one is due.
@shared_task(time_limit=settings.RECONCILE_EVERY.total_seconds())  # type: ignore[untyped-decorator] # Celery has no types
def reconcile() -> None:
    """Free what has run out, put right what is stuck, make Redis say what PostgreSQL says, and check the invariants."""
    run_reconciler()
