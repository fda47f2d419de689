"""The URLs of the environment mean what their own clients take them to mean."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection
from pytest_django import Settings
from redis import Redis
from redis.connection import parse_url

from cinebook import service_urls


def test_database_url_is_read_as_libpq_reads_it() -> None:
    entry = service_urls.database(
        "postgresql://me:p%40ss@one:5432,two:5433/house?target_session_attrs=read-write&sslmode=require", pool_size=None
    )

    assert (entry["NAME"], entry["USER"], entry["PASSWORD"]) == ("house", "me", "p@ss")
    assert (entry["HOST"], entry["PORT"]) == ("one,two", "5432,5433")
    assert entry["OPTIONS"] == {
        "target_session_attrs": "read-write",
        "sslmode": "require",
        "connect_timeout": 5,
        "options": "-c lock_timeout=2000",
    }


def test_nobody_waits_for_a_row_for_ever_and_options_of_the_url_stay() -> None:
    entry = service_urls.database("postgresql://host/house?options=-c%20work_mem%3D8MB", pool_size=None)

    assert entry["OPTIONS"]["options"] == "-c lock_timeout=2000 -c work_mem=8MB"


def test_database_url_keeps_the_case_of_a_socket_folder() -> None:
    entry = service_urls.database("postgresql://cinebook@/cinebook?host=%2FUsers%2FMe%2Fvar", pool_size=12)

    assert entry["HOST"] == "/Users/Me/var"
    assert entry["OPTIONS"]["pool"]["max_size"] == 12


@pytest.mark.parametrize("url", ["mysql://me@host/house", "postgresql://host/house?no_such_option=1", "house"])
def test_another_database_is_refused_in_words(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        service_urls.database(url, pool_size=None)


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("redis://localhost", "redis://localhost/2"),
        ("redis://me:secret@host:6380/3", "redis://me:secret@host:6380/5"),
        ("rediss://host/0?ssl_cert_reqs=none", "rediss://host/2?ssl_cert_reqs=none"),
        ("unix:///run/my%20redis.sock?db=1", "unix:///run/my%20redis.sock?db=3"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=2"),
        ("unix://me:secret@/run/redis.sock?db=1", "unix://me:secret@/run/redis.sock?db=3"),
        # redis-py takes the database from the query where both name one.
        ("redis://host?db=3", "redis://host/5"),
        ("redis://host/1?db=3&protocol=3", "redis://host/5?protocol=3"),
    ],
)
def test_another_database_of_the_same_redis(url: str, beside: str) -> None:
    assert service_urls.redis_beside(url, 2) == beside
    assert parse_url(beside)["db"] == parse_url(url).get("db", 0) + 2


@pytest.mark.parametrize("url", ["http://host", "redis://host/locks", "unix:///run/redis.sock?db=x"])
def test_another_kind_of_redis_url_is_refused_in_words(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
        service_urls.redis_beside(url, 1)


def test_celery_finds_the_same_redis_database(settings: Settings) -> None:
    url = settings.BROKER_REDIS_URL
    with Connection(service_urls.celery_broker(url)) as broker, Redis.from_url(url) as redis:
        queue = broker.SimpleQueue("test-of-the-broker-url", no_ack=True)
        queue.clear()
        queue.put("a message")

        assert redis.llen("test-of-the-broker-url") == 1
        assert queue.get(timeout=5).payload == "a message"
