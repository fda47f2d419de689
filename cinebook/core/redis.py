"""The only door to redis-py for our own commands: clients that never make anybody wait."""

from __future__ import annotations

import functools

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

# A broken Redis must never hold a person up: a request waits for it at most 0.2 s, whereas redis-py by itself tries
# for seconds.
CONNECT_SECONDS = 0.15
ANSWER_SECONDS = 0.2

__all__ = ["RedisError", "is_up", "locks_redis"]


@functools.cache
def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def locks_redis() -> Redis:
    """Return the client of the database in which the seat locks live.

    Its connections are pooled and shared by all threads of the process. Every command may raise `RedisError`, which
    the caller answers by going on with PostgreSQL alone.
    """
    return _client(settings.REDIS_URL)


def is_up(url: str) -> bool:
    """Return whether the Redis at a URL answers within `ANSWER_SECONDS`."""
    try:
        return bool(_client(url).ping())
    except RedisError:
        return False
