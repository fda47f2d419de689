"""A cinema in real processes, which is well when a test begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cinema import Cinema, running_cinema, wait_until

SHOWTIMES = 40
PREPARE = f"""
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.factories import make_showtime
for _ in range({SHOWTIMES}):
    make_showtime()
"""


@pytest.fixture(scope="package")
def house() -> Iterator[Cinema]:
    # The settings of the tests: pages without hashed names of files, which take half a minute to make.
    settings = {"DJANGO_SETTINGS_MODULE": "tests.settings", "RATE_LIMITS": "on"}
    with running_cinema(prepare=PREPARE, worker=False, **settings) as cinema:
        yield cinema


@pytest.fixture
def cinema(house: Cinema) -> Iterator[Cinema]:
    """Two web processes and their engines; what a test has broken is mended after it."""
    yield house
    for road in house.roads.values():
        road.heal()
    for part in (house.postgres, house.redis, house.messages, *house.web):
        part.resume()
        part.start()
    for part in (house.worker, *house.beats):
        part.stop()
    for web in house.web:
        wait_until(lambda web=web: web.health()["status"] == "ok", f"{web.name} to be well", 20)


@pytest.fixture(scope="package")
def showtimes(house: Cinema) -> Iterator[int]:
    """Showtimes that nobody has touched."""
    return iter([row[0] for row in house.sql("SELECT id FROM seating_showtime ORDER BY id")])


@pytest.fixture
def showtime(showtimes: Iterator[int]) -> int:
    """A showtime that nobody has touched."""
    return next(showtimes)
