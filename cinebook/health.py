"""`GET /api/v1/health`: whether seats can be sold, for load balancers, containers and operators."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from cinebook.core import redis

log = structlog.get_logger(__name__)


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """Say what works.

    Returns:
        200 while sales work: `ok`, or `degraded` when a part that only saves time is away. 503 and `down` without
        PostgreSQL, for then nothing can be sold.
    """
    parts = {
        "database": _database_is_up(),
        "redis": redis.is_up(settings.REDIS_URL),
        "channel_layer": redis.is_up(settings.LIVE_REDIS_URL),
    }
    status = "down" if not parts["database"] else "ok" if all(parts.values()) else "degraded"
    if status != "ok":
        log.warning("health.not_ok", status=status, **parts)
    answer = {"status": status, **{part: "up" if works else "down" for part, works in parts.items()}}
    return JsonResponse(answer, status=503 if status == "down" else 200)


def _database_is_up() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
