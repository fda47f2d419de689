"""An app that does nothing but plant a mistake as soon as a process has loaded all the others."""

from __future__ import annotations

import os

from django.apps import AppConfig

MUTANT = "CINEBOOK_TESTS_MUTANT"


class Planted(AppConfig):
    """Makes the mistake that the environment names, for as long as the process lives."""

    name = "tests.support.planted"

    def ready(self) -> None:
        """Plant it, after everything that it changes is there."""
        from tests.support.mutants import plant_for_good  # noqa: PLC0415 - it wants all models

        plant_for_good(os.environ[MUTANT])
