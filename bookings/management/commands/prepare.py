"""`manage.py prepare`: all that must be done once before a new version serves."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Bring the database up to date, load the demo cinema where it is wanted, and build the static files."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the steps; every one of them is harmless when it is run again.

        Raises:
            CommandError: nothing could be sold, for there is nobody who takes the money.
        """
        if not settings.PAYMENT_PROVIDERS:
            raise CommandError(
                "Nobody takes the money. Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRETS (see docs/payments.md), "
                "or PAYMENT_PROVIDERS=demo to try CineBook, which gives tickets away."
            )
        call_command("migrate", interactive=False, verbosity=0)
        if settings.DEMO_CINEMA:
            call_command("load_demo")
        call_command("collectstatic", interactive=False, verbosity=0)
