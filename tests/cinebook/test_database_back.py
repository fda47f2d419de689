"""PostgreSQL goes away and comes back: then the pool of a web process serves again at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from cinebook import service_urls
from cinebook.engines.throwaway import Engines, running_engines

# Long enough that patience which doubles with each failure would outlast the outage by as much again, in seconds.
OUTAGE = 7.0
SOON = 3.0


@pytest.fixture
def engines() -> Iterator[Engines]:
    with running_engines() as engines:
        yield engines


@pytest.mark.django_db
def test_it_serves_as_soon_as_postgresql_does(engines: Engines) -> None:
    handler = ConnectionHandler({"default": service_urls.database(engines.postgres.url, pool_size=3)})
    connection = handler["default"]

    def ask() -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT true")
                return bool(cursor.fetchone()[0])
        except OperationalError:
            return False
        finally:
            connection.close()

    try:
        assert ask()
        engines.postgres.kill()
        gone_at = time.monotonic()
        while time.monotonic() - gone_at < OUTAGE:
            assert not ask()
        engines.postgres.start()
        back_at = time.monotonic()
        while not ask():
            assert time.monotonic() - back_at < SOON
    finally:
        connection.close_pool()
