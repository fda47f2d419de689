"""The settings of a house that has a mistake in it: each of its processes plants the one of CINEBOOK_TESTS_MUTANT."""

from __future__ import annotations

from cinebook.settings import *  # noqa: F403
from cinebook.settings import INSTALLED_APPS as THE_HOUSES_OWN

INSTALLED_APPS = [*THE_HOUSES_OWN, "tests.support.planted.Planted"]
