"""How many people look at each showtime, over all web processes, and nothing about who they are.

Each process tells all others every few seconds whom it sees, as *marks*: six bytes that only our processes can make. So
whoever looks through two tabs, or two processes, counts once. Nothing is kept in Redis, no request waits for it, and a
process that hears nothing of the others counts its own.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.conf import settings

# The name of the group of all web processes.
PRESENCE_GROUP = "presence"
REPORT_SECONDS = 5.0
# A process that has not reported for so long is no more: three reports may be lost.
REPORTED_SECONDS = 16.0
# Who asks how the seats stand, instead of watching through a socket, counts for so long: pages ask every 10 s.
ASKED_SECONDS = 25.0
_MARK_LENGTH = 6

Report = list[tuple[int, bytes]]


def mark_of(holder_id: int | None) -> bytes:
    """Return what stands for a person: the same for a holder in every process, and any for a stranger."""
    if holder_id is None:
        return secrets.token_bytes(_MARK_LENGTH)
    key = settings.SECRET_KEY.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return hashlib.blake2b(str(holder_id).encode(), key=key, person=b"presence", digest_size=_MARK_LENGTH).digest()


class Presence:
    """Who looks at what, as far as this process knows; from any thread.

    Args:
        now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._process = secrets.token_hex(8)
        # By showtime: how many sockets each mark has here, and when it asked last.
        self._watching: dict[int, Counter[bytes]] = {}
        self._asked: dict[int, dict[bytes, float]] = {}
        # By process: when it reported last, and what.
        self._elsewhere: dict[str, tuple[float, dict[int, frozenset[bytes]]]] = {}

    def come(self, showtime_id: int, mark: bytes) -> None:
        """Count somebody who begins to watch a showtime through a socket."""
        with self._lock:
            self._watching.setdefault(showtime_id, Counter())[mark] += 1

    def go(self, showtime_id: int, mark: bytes) -> None:
        """Count a socket no more that has come."""
        with self._lock:
            watching = self._watching[showtime_id]
            watching[mark] -= 1
            if not watching[mark]:
                del watching[mark]
            if not watching:
                del self._watching[showtime_id]

    def ask(self, showtime_id: int, mark: bytes) -> None:
        """Count somebody who asked how the seats stand, for a while."""
        with self._lock:
            self._asked.setdefault(showtime_id, {})[mark] = self._now()

    def count(self, showtime_id: int) -> int:
        """Return how many people look at a showtime."""
        with self._lock:
            marks = self._here(showtime_id)
            since = self._now() - REPORTED_SECONDS
            for reported_at, showtimes in self._elsewhere.values():
                if reported_at > since:
                    marks |= showtimes.get(showtime_id, frozenset())
            return len(marks)

    def report(self) -> Report:
        """Return whom this process sees, by showtime, and forget what is long over."""
        with self._lock:
            now = self._now()
            for showtime_id, asked in tuple(self._asked.items()):
                fresh = {mark: at for mark, at in asked.items() if at > now - ASKED_SECONDS}
                if fresh:
                    self._asked[showtime_id] = fresh
                else:
                    del self._asked[showtime_id]
            for process, (reported_at, _showtimes) in tuple(self._elsewhere.items()):
                if reported_at <= now - REPORTED_SECONDS:
                    del self._elsewhere[process]
            seen = self._watching.keys() | self._asked.keys()
            return [(showtime_id, b"".join(self._here(showtime_id))) for showtime_id in seen]

    def message(self, report: Report, *, wants_answers: bool) -> dict[str, Any]:
        """Return a report as it goes to the other processes.

        Args:
            report: what `report` returned.
            wants_answers: whether they shall report at once, for this process has just begun.
        """
        return {
            "type": "presence.report",
            "process": self._process,
            "wants_answers": wants_answers,
            "seen": [list(line) for line in report],
        }

    def hear(self, message: dict[str, Any]) -> bool:
        """Take the message of a process; return whether it wants an answer."""
        if message["process"] == self._process:
            return False
        showtimes = {showtime_id: frozenset(_marks(joined)) for showtime_id, joined in message["seen"]}
        with self._lock:
            self._elsewhere[message["process"]] = (self._now(), showtimes)
        return bool(message["wants_answers"])

    def _here(self, showtime_id: int) -> set[bytes]:
        since = self._now() - ASKED_SECONDS
        asked = {mark for mark, at in self._asked.get(showtime_id, {}).items() if at > since}
        return asked | self._watching.get(showtime_id, {}).keys()


def _marks(joined: bytes) -> list[bytes]:
    return [joined[start : start + _MARK_LENGTH] for start in range(0, len(joined), _MARK_LENGTH)]


@functools.cache
def presence() -> Presence:
    """Return what this process knows."""
    return Presence()
