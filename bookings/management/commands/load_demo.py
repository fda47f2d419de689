"""`manage.py load_demo`: bring the demo cinema into the database."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.core.management.base import BaseCommand

from bookings.demo import load_demo


class Command(BaseCommand):
    """Make what is missing of the demo cinema, and say what that was."""

    help = "Loads the demo cinema: rooms and films once, showtimes for the coming week. Safe to run again."

    def handle(self, *args: Any, **options: Any) -> None:
        """Load, and print one line."""
        made = {name: count for name, count in dataclasses.asdict(load_demo()).items() if count}
        words = ", ".join(f"{count} {name}" for name, count in made.items())
        self.stdout.write(f"Demo cinema: made {words}." if words else "Demo cinema: everything is there.")
