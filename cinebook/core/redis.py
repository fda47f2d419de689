"""The only door to redis-py for our own commands. Nobody ever waits long behind it.

redis-py by itself tries for seconds before it gives up, and its timeouts count anew with each byte that comes. Here a
command has a fifth of a second for everything – to connect, to sign in, to be sent and answered – and the commands of a
request, or of a frame of a socket, have it together. For a second after a failure no other command is even tried, so
that a broken Redis costs each process that fifth once a second and not each request.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError
from redis.retry import Retry

from cinebook.core.breaker import Breaker

log = structlog.get_logger(__name__)

# What a command may take, and what all commands of a request may.
ANSWER_SECONDS = 0.2
# What a healthy Redis takes for a command at the most; however many there are, such ones do not count.
HEALTHY_SECONDS = 0.01
# Whoever takes longer costs more time than it saves, and is left alone like one that does not answer. Half of it says
# nothing of Redis: on a busy machine it is we who come late to read the answer.
SLOW_SECONDS = 0.1
REST_SECONDS = 1.0

Answer = TypeVar("Answer")


class RedisAway(Exception):  # noqa: N818 - a state of the world, not a mistake
    """Redis did not answer, or is resting after it did not: go on with PostgreSQL alone."""


class RedisBreaker(Breaker):
    """Counts as well what was left undone: what those commands would have written is missing."""

    def __init__(self) -> None:
        super().__init__(REST_SECONDS)
        # How many commands have failed or were left out since this process began.
        self.failures = 0

    def failed(self) -> bool:
        """Leave the server alone for a while; return whether it was thought to be well until now."""
        self.left_undone()
        return super().failed()

    def left_undone(self) -> None:
        """Count a command that failed, or was left out for lack of time."""
        with self._lock:
            self.failures += 1


# --- Time ------------------------------------------------------------------------------------------------------------


class _Patience:
    """What a request may still wait."""

    def __init__(self) -> None:
        self.left = ANSWER_SECONDS


_patience: contextvars.ContextVar[_Patience | None] = contextvars.ContextVar("patience", default=None)
_ends_at: contextvars.ContextVar[float] = contextvars.ContextVar("ends_at")


@contextlib.contextmanager
def limited_patience() -> Iterator[None]:
    """Let everything within wait for Redis for `ANSWER_SECONDS` in all: somebody waits for the answer.

    Outside of it each command has its own time, and there may be any number of them.
    """
    token = _patience.set(_Patience())
    try:
        yield
    finally:
        _patience.reset(token)


def _seconds_left() -> float:
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError("Redis took too long.")
    return left


class _HurriedSocket:
    """A socket on which everything is over when the command's time is: redis-py's own timeout is for each `recv`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._blocks = True

    def settimeout(self, seconds: float | None) -> None:
        """Obey only the wish not to wait at all."""
        self._blocks = seconds != 0
        self._socket.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        """Read what is there."""
        if self._blocks:
            self._socket.settimeout(_seconds_left())
        return self._socket.recv(size)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(_seconds_left())
        self._socket.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _Hurried(AbstractConnection):
    """A connection of redis-py that has as long as its command."""

    def _connect(self) -> Any:
        # A name may have two addresses, which are tried one after the other.
        self.socket_connect_timeout = _seconds_left() / 2
        return _HurriedSocket(super()._connect())  # type: ignore[safe-super, no-untyped-call] # the TCP one, for example


class _HurriedTcp(_Hurried, Connection):
    pass


class _HurriedTls(_Hurried, SSLConnection):
    pass


class _HurriedUnix(_Hurried, UnixDomainSocketConnection):
    # redis-py wants to tell it when nobody takes the connection in time, also of a socket that has none.
    port = 0


_CONNECTIONS = {"redis": _HurriedTcp, "rediss": _HurriedTls, "unix": _HurriedUnix}


# --- Commands --------------------------------------------------------------------------------------------------------


@functools.cache
def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        connection_class=_CONNECTIONS[urlsplit(url).scheme],
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        # Whatever somebody has put there can be read, and sent back as it was.
        encoding_errors="surrogateescape",
        # Of version 3, and of a client that says its name, we need nothing; each would be another way there and back.
        protocol=2,
        driver_info=None,
    )


@functools.cache
def _breaker(url: str) -> RedisBreaker:
    return RedisBreaker()


@functools.cache
def _script(url: str, path: Path) -> Callable[..., Any]:
    return _client(url).register_script(path.read_text())


def _call(url: str, command: Callable[[], Answer], seconds: float) -> Answer:
    breaker, patience = _breaker(url), _patience.get()
    if patience and patience.left <= 0:
        breaker.left_undone()
        raise RedisAway
    if not breaker.admits():
        raise RedisAway
    began = time.monotonic()
    token = _ends_at.set(began + (min(seconds, patience.left) if patience else seconds))
    try:
        answer = command()
    # Who speaks another language than Redis is answered by whatever redis-py stumbles over.
    except (RedisError, OSError, ValueError) as error:
        # One key with a value that is none of ours says nothing of the others.
        if "WRONGTYPE" in str(error):
            log.warning("redis.foreign_value", error=str(error))
        elif breaker.failed():
            log.warning("redis.away", error=str(error) or type(error).__name__)
        raise RedisAway from error
    finally:
        _ends_at.reset(token)
        took = time.monotonic() - began
        if patience and took > HEALTHY_SECONDS:
            patience.left -= took
    if seconds <= ANSWER_SECONDS and took > SLOW_SECONDS:
        if breaker.failed():
            log.warning("redis.away", error=f"It took {took:.3f} s to answer.")
    elif breaker.answered():
        log.info("redis.back")
    return answer


def run_script(path: Path, keys: Sequence[str], arguments: Sequence[str | int], *, seconds: float | None = None) -> Any:
    """Run a Lua script in the database of the seat locks.

    Args:
        path: the script's file, in UTF-8; it is read once.
        keys: every key that the script touches.
        arguments: its other arguments.
        seconds: how long it may take; `ANSWER_SECONDS`, unless nobody waits for it.

    Returns:
        The script's reply.

    Raises:
        RedisAway: it did not run, or nobody knows whether it did.
    """
    url = settings.REDIS_URL
    return _call(url, lambda: _script(url, path)(keys=keys, args=arguments), seconds or ANSWER_SECONDS)


def locks_command(command: Callable[[Redis], Answer], *, seconds: float | None = None) -> Answer:
    """Run a command in the database of the seat locks.

    Args:
        command: is given the client.
        seconds: how long it may take; `ANSWER_SECONDS`, unless nobody waits for it.

    Returns:
        What the command returns.

    Raises:
        RedisAway: it did not run, or nobody knows whether it did.
    """
    url = settings.REDIS_URL
    return _call(url, lambda: command(_client(url)), seconds or ANSWER_SECONDS)


def locks_failures() -> int:
    """Return how many commands the Redis of the seat locks has left undone since this process began."""
    return _breaker(settings.REDIS_URL).failures


def is_up(url: str) -> bool:
    """Return whether the Redis at a URL answers, asked afresh; it waits for half of `ANSWER_SECONDS`."""
    return _asked(lambda: _client(url).ping())


def takes_writes(url: str) -> bool:
    """Return whether the Redis at a URL does what it is told, asked afresh; it waits for half of `ANSWER_SECONDS`.

    One that is full, that loads its data, or that is a replica answers, and is of no use.
    """
    return _asked(lambda: _client(url).set("health", "1", px=1000))


def _asked(question: Callable[[], Any]) -> bool:
    # Who wants to know asks two of them.
    token = _ends_at.set(time.monotonic() + ANSWER_SECONDS / 2)
    try:
        return bool(question())
    except (RedisError, OSError, ValueError):
        return False
    finally:
        _ends_at.reset(token)
