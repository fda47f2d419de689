from django.apps import AppConfig


class CoreConfig(AppConfig):
    """What both apps stand on: users, errors, the doors to Redis, Celery and the channel layer."""

    name = "cinebook.core"
    label = "core"
