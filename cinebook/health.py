"""`GET /api/v1/health`: whether seats can be sold, for load balancers, containers and operators."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cinebook.core import redis
from cinebook.core.api_views import ApiView

log = structlog.get_logger(__name__)


class HealthAnswer(serializers.Serializer[None]):
    """What works."""

    status = serializers.ChoiceField(["ok", "degraded", "down"])
    database = serializers.ChoiceField(["up", "down"])
    redis = serializers.ChoiceField(["up", "down"])
    channel_layer = serializers.ChoiceField(["up", "down"])


class Health(ApiView):
    """What works."""

    # A probe says nothing of who it is, and must be answered without the database.
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(operation_id="get_health", responses={200: HealthAnswer, 503: HealthAnswer})
    def get(self, request: Request) -> Response:
        """Return 200 while sales work: `ok`, or `degraded` when a part that only saves time is away; else 503."""
        parts = {
            "database": _database_is_up(),
            "redis": redis.is_up(settings.REDIS_URL),
            "channel_layer": redis.is_up(settings.LIVE_REDIS_URL),
        }
        # Without PostgreSQL nothing can be sold.
        status = "down" if not parts["database"] else "ok" if all(parts.values()) else "degraded"
        if status != "ok":
            log.warning("health.not_ok", status=status, **parts)
        answer = {"status": status, **{part: "up" if works else "down" for part, works in parts.items()}}
        return Response(answer, status=503 if status == "down" else 200)


def _database_is_up() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
