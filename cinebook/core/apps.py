import importlib

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """What both apps stand on: users, errors, the doors to Redis, Celery and the channel layer."""

    name = "cinebook.core"
    label = "core"

    def ready(self) -> None:
        """Make Celery's application known to every process, or a task sent from the web would go to another broker.

        Nothing that is imported before Django, as the engines are, may load it: so not in `cinebook/__init__.py`.
        """
        importlib.import_module("cinebook.celery")
