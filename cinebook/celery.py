"""The Celery application: `celery -A cinebook worker`, `celery -A cinebook beat`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")

app = Celery("cinebook")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
