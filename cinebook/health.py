"""`GET /api/v1/health`: whether seats can be sold, for load balancers, containers and operators."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import time
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bookings.selectors.reconciler import ReconcilerState, reconciler_state
from cinebook.core import redis
from cinebook.core.api_views import ApiView
from cinebook.core.fields import UtcDateTimeField
from cinebook.core.outbox import OutboxState, outbox_state

log = structlog.get_logger(__name__)

# Whoever asks for health wants an answer, also when PostgreSQL gives none: neither to a connection nor to a question.
PATIENCE_SECONDS = 2.0
# After so many runs that failed, or never came, something is wrong with the reconciler.
MISSED_RUNS = 3
# What has been due for so long in the outbox is delivered by nobody.
OUTBOX_OVERDUE = dt.timedelta(minutes=5)

_began = time.monotonic()
# The database is asked from a thread that may be left hanging; while it hangs, nobody else is sent after it.
_asker = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")


class _Down(Exception):  # noqa: N818 - a state of the world
    """PostgreSQL did not answer."""


class ReconcilerHealth(serializers.Serializer[None]):
    """How the reconciler is doing."""

    last_run = UtcDateTimeField(allow_null=True, help_text="When the last run ended.")
    seconds_ago = serializers.IntegerField()
    took_ms = serializers.IntegerField()
    status = serializers.CharField()
    findings = serializers.IntegerField(help_text="How many things the last run found that must never be.")


class OutboxHealth(serializers.Serializer[None]):
    """How the mails and other side effects are doing."""

    waiting = serializers.IntegerField(help_text="How many wait, be it for another attempt.")
    overdue_seconds = serializers.IntegerField(help_text="For how long nobody has come for one that is due.")
    dead = serializers.IntegerField(help_text="How many were given up: staff may have them tried again.")


class HealthAnswer(serializers.Serializer[None]):
    """What works."""

    status = serializers.ChoiceField(["ok", "degraded", "down"])
    database = serializers.ChoiceField(["up", "down"])
    redis = serializers.ChoiceField(["up", "down"])
    channel_layer = serializers.ChoiceField(["up", "down"])
    reconciler = ReconcilerHealth(allow_null=True, help_text="Null before its first run, or without the database.")
    outbox = OutboxHealth(allow_null=True, help_text="Null without the database.")


class Health(ApiView):
    """What works."""

    # A probe says nothing of who it is, and must be answered without the database.
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="get_health", responses={200: HealthAnswer, 503: HealthAnswer})
    def get(self, request: Request) -> Response:
        """Return 200 while sales work: `ok`, or `degraded` when what saves time or tidies up is away; else 503."""
        try:
            database, (reconciler, outbox) = True, _ask_database()
        except _Down:
            database, reconciler, outbox = False, None, None
        parts = {
            "database": database,
            "redis": redis.takes_writes(settings.REDIS_URL),
            "channel_layer": redis.is_up(settings.LIVE_REDIS_URL),
        }
        delivering = outbox is None or outbox.overdue < OUTBOX_OVERDUE
        well = all(parts.values()) and delivering and not _reconciler_is_missed(reconciler)
        # Without PostgreSQL nothing can be sold.
        status = "down" if not database else "ok" if well else "degraded"
        answer = {
            "status": status,
            **{part: "up" if works else "down" for part, works in parts.items()},
            "reconciler": _told(reconciler),
            "outbox": _told_of_outbox(outbox),
        }
        if status != "ok":
            log.warning("health.not_ok", **answer)
        return Response(answer, status=503 if status == "down" else 200)


def _ask_database() -> tuple[ReconcilerState | None, OutboxState]:
    """Return how the reconciler and the outbox are doing, which PostgreSQL only knows when it works.

    Raises:
        _Down: it does not.
    """
    asked = _asker.submit(_states)
    try:
        return asked.result(PATIENCE_SECONDS)
    except (TimeoutError, DatabaseError, InterfaceError) as error:
        asked.cancel()
        raise _Down from error


def _states() -> tuple[ReconcilerState | None, OutboxState]:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(PATIENCE_SECONDS * 1000))])
            return reconciler_state(), outbox_state()
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
        "last_run": UtcDateTimeField().to_representation(state.run.finished_at) if state.run.finished_at else None,
        "seconds_ago": round(state.finished_ago.total_seconds()),
        "took_ms": state.run.took_ms,
        "status": state.run.outcome,
        "findings": len(state.run.findings),
    }


def _told_of_outbox(state: OutboxState | None) -> dict[str, int] | None:
    if state is None:
        return None
    return {"waiting": state.waiting, "overdue_seconds": round(state.overdue.total_seconds()), "dead": state.dead}
