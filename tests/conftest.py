"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from django.test import Client, TransactionTestCase
from redis import Redis

from tests import settings as own
from tests.browser.house import House, running_house
from tests.factories import UserFactory
from tests.support.cleaning import delete_everything
from tests.support.clock import Clock
from tests.support.scheduling import TogetherScheduling


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure (used by .ci/run)")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherScheduling:
    return TogetherScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True, scope="session")
def quick_cleaning() -> Iterator[None]:
    """Tests that commit are as quick as those that do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", delete_everything)
        yield


@pytest.fixture(autouse=True)
def empty_redis(request: pytest.FixtureRequest) -> None:
    """Who may use the database finds Redis empty as well: the four databases of this test process, and no other."""
    # Without an address that was meant for tests it would be somebody's own Redis.
    if request.node.get_closest_marker("django_db") and "CINEBOOK_TESTS_REDIS" in os.environ:
        for url in (own.REDIS_URL, own.CACHE_REDIS_URL, own.LIVE_REDIS_URL, own.BROKER_REDIS_URL):
            with Redis.from_url(url) as client:
                client.flushdb()


@pytest.fixture(autouse=True)
def unnudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is told of what waits in the outbox: there is none."""
    monkeypatch.setattr("cinebook.core.outbox.nudge", lambda: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which a server that did not answer is left alone."""
    clock = Clock()
    monkeypatch.setattr("cinebook.core.breaker.time", clock)
    return clock


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens to the events."""
    monkeypatch.setattr("seating.services.announcing.broadcast.send", [].append)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The real server, sockets and all, with a demo cinema; each test takes showtimes of its own."""
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def staff(client: Client) -> Client:
    """The browser of somebody who may do everything in the admin."""
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def redis(empty_redis: None) -> Iterator[Redis]:
    """The Redis database of the seat locks, as an operator sees it."""
    with Redis.from_url(own.REDIS_URL, decode_responses=True) as client:
        yield client
