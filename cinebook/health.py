"""`GET /api/v1/health`: whether seats can be sold, for load balancers, containers and operators."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import time
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bookings.selectors.reconciler import ReconcilerState, reconciler_state
from cinebook.core import redis

log = structlog.get_logger(__name__)

# Whoever asks for health wants an answer, also when PostgreSQL gives none: neither to a connection nor to a question.
PATIENCE_SECONDS = 2.0
# After so many runs that failed, or never came, something is wrong with the reconciler.
MISSED_RUNS = 3

_began = time.monotonic()
# The database is asked from a thread that may be left hanging; while it hangs, nobody else is sent after it.
_asker = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")


class _Down(Exception):  # noqa: N818 - a state of the world
    """PostgreSQL did not answer."""


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """Say what works.

    Returns:
        200 while sales work: `ok`, or `degraded` when a part that only saves time or tidies up is away. 503 and `down`
        without PostgreSQL, for then nothing can be sold.
    """
    try:
        database, reconciler = True, _ask_database()
    except _Down:
        database, reconciler = False, None
    parts = {
        "database": database,
        "redis": redis.is_up(settings.REDIS_URL),
        "channel_layer": redis.is_up(settings.LIVE_REDIS_URL),
    }
    well = all(parts.values()) and not _reconciler_is_missed(reconciler)
    status = "down" if not database else "ok" if well else "degraded"
    answer = {
        "status": status,
        **{part: "up" if works else "down" for part, works in parts.items()},
        "reconciler": _told(reconciler),
    }
    if status != "ok":
        log.warning("health.not_ok", **answer)
    return JsonResponse(answer, status=503 if status == "down" else 200)


def _ask_database() -> ReconcilerState | None:
    """Return how the reconciler is doing, which PostgreSQL only knows when it works.

    Raises:
        _Down: it does not.
    """
    asked = _asker.submit(_reconciler_state)
    try:
        return asked.result(PATIENCE_SECONDS)
    except (TimeoutError, DatabaseError, InterfaceError) as error:
        asked.cancel()
        raise _Down from error


def _reconciler_state() -> ReconcilerState | None:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(PATIENCE_SECONDS * 1000))])
            return reconciler_state()
    finally:
        connection.close()


def _reconciler_is_missed(state: ReconcilerState | None) -> bool:
    """Return whether no run has succeeded for too long; before the first run, this process's own life counts."""
    too_long = MISSED_RUNS * settings.RECONCILE_EVERY
    if state is None:
        return dt.timedelta(seconds=time.monotonic() - _began) > too_long
    return state.good_ago is None or state.good_ago > too_long


def _told(state: ReconcilerState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "last_run": state.run.finished_at,
        "seconds_ago": round(state.finished_ago.total_seconds()),
        "took_ms": state.run.took_ms,
        "status": state.run.outcome,
        "findings": len(state.run.findings),
    }
