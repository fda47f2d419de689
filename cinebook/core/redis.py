"""The only door to redis-py for our own commands. Nobody ever waits long behind it.

redis-py by itself tries for seconds before it gives up. Here a command fails after a fifth of a second, and for a
second after a failure no other command is even tried, so that a broken Redis costs each process that fifth once a
second and not each request.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 0.15
ANSWER_SECONDS = 0.2
REST_SECONDS = 1.0

Answer = TypeVar("Answer")


class RedisAway(Exception):  # noqa: N818 - a state of the world, not a mistake
    """Redis did not answer, or is resting after it did not: go on with PostgreSQL alone."""


class Breaker:
    """Remembers that a server did not answer, and for how long it is left alone.

    Our own, because pybreaker holds its lock for the length of the call and so lets one thread at a time through.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def admits(self) -> bool:
        """Return whether a command may be tried now; while the server rests, one caller a second may."""
        if not self._rests_until:
            return True
        with self._lock:
            if time.monotonic() < self._rests_until:
                return False
            self._rests_until = time.monotonic() + REST_SECONDS
            return True

    def failed(self) -> None:
        """Leave the server alone for a while."""
        self._rests_until = time.monotonic() + REST_SECONDS

    def answered(self) -> None:
        """Let everybody through again."""
        self._rests_until = 0.0


@functools.cache
def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        # Whatever somebody has put there can be read, and sent back as it was.
        encoding_errors="surrogateescape",
    )


@functools.cache
def _breaker(url: str) -> Breaker:
    return Breaker()


@functools.cache
def _script(url: str, path: Path) -> Callable[..., Any]:
    return _client(url).register_script(path.read_text())


def _call(url: str, command: Callable[[], Answer]) -> Answer:
    breaker = _breaker(url)
    if not breaker.admits():
        raise RedisAway
    try:
        answer = command()
    except RedisError as error:
        breaker.failed()
        log.warning("redis.away", error=str(error))
        raise RedisAway from error
    breaker.answered()
    return answer


def run_script(path: Path, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
    """Run a Lua script in the database of the seat locks.

    Args:
        path: the script's file, in UTF-8; it is read once.
        keys: every key that the script touches.
        arguments: its other arguments.

    Returns:
        The script's reply.

    Raises:
        RedisAway: it did not run, or nobody knows whether it did.
    """
    url = settings.REDIS_URL
    return _call(url, lambda: _script(url, path)(keys=keys, args=arguments))


def locks_command(command: Callable[[Redis], Answer]) -> Answer:
    """Run a command in the database of the seat locks.

    Args:
        command: is given the client.

    Returns:
        What the command returns.

    Raises:
        RedisAway: it did not run, or nobody knows whether it did.
    """
    url = settings.REDIS_URL
    return _call(url, lambda: command(_client(url)))


def is_up(url: str) -> bool:
    """Return whether the Redis at a URL answers within `ANSWER_SECONDS`, asked afresh."""
    try:
        return bool(_client(url).ping())
    except RedisError:
        return False
