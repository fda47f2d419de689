"""Two reconcilers at once: a showtime is mended by one of them, and the other one passes it over."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis import Redis

from seating.locks import mending
from seating.services import reconcile_seats, reconciling
from tests.factories import make_showtime
from tests.support.asking import somebody_holds
from tests.support.locks import assert_redis_says_what_postgresql_says
from tests.support.rivals import DEADLINE, in_background

pytestmark = pytest.mark.django_db(transaction=True)


def menders_at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a reconciler come while another one is mending a showtime; return how many of them mend it."""
    there, go_on = threading.Event(), threading.Event()
    menders: list[str] = []
    mend = mending.mend

    def count(**given: Any) -> Any:
        menders.append(threading.current_thread().name)
        if len(menders) == 1:
            there.set()
            assert go_on.wait(DEADLINE)
        return mend(**given)

    monkeypatch.setattr(mending, "mend", count)
    with in_background() as start:
        first = start(reconcile_seats)
        assert there.wait(DEADLINE)
        second = start(reconcile_seats).result(DEADLINE)
        go_on.set()
        assert (first.result(DEADLINE).failures, second.failures) == ([], [])
    return len(menders)


def test_one_of_them_mends(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody_holds(make_showtime(), "A1")
    redis.flushdb()
    assert menders_at_once(monkeypatch) == 1
    assert_redis_says_what_postgresql_says(redis)


def test_without_the_claim_both_would(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control. It costs time and no truth: what the first has locked the second takes for busy."""
    somebody_holds(make_showtime(), "A1")
    redis.flushdb()
    monkeypatch.setattr(reconciling, "_alone_at", lambda _showtime_id: True)
    assert menders_at_once(monkeypatch) == 2
    assert_redis_says_what_postgresql_says(redis)
