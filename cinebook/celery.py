"""The Celery application: `celery -A cinebook worker`, `celery -A cinebook beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")

app = Celery("cinebook")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect  # type: ignore[untyped-decorator] # Celery has no types
def reconcile_at_the_start(sender: Any, **kwargs: Any) -> None:
    """Put right at once what happened while no worker ran, rather than at beat's next turn."""
    app.send_task("bookings.tasks.reconcile", expires=app.conf.beat_schedule["reconcile"]["options"]["expires"])
