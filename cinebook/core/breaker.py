"""Leaving a server alone that does not answer, so that nobody waits for it only to hear nothing."""

from __future__ import annotations

import threading
import time


class Breaker:
    """Remembers that a server did not answer, and for how long it is left alone; then one caller tries for all.

    Our own, because pybreaker holds its lock for the length of the call and so lets one thread at a time through.

    Args:
        rest_seconds: how long it is left alone, and whoever tries has to hear something.
    """

    def __init__(self, rest_seconds: float) -> None:
        self.rest_seconds = rest_seconds
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def admits(self) -> bool:
        """Return whether the server may be asked now; while it rests, one caller in `rest_seconds` may."""
        if not self._rests_until:
            return True
        with self._lock:
            if time.monotonic() < self._rests_until:
                return False
            self._rests_until = time.monotonic() + self.rest_seconds
            return True

    def failed(self) -> bool:
        """Leave the server alone for a while; return whether it was thought to be well until now."""
        with self._lock:
            first = not self._rests_until
            self._rests_until = time.monotonic() + self.rest_seconds
            return first

    def answered(self) -> bool:
        """Let everybody through again; return whether it was thought to be away until now."""
        if not self._rests_until:
            return False
        with self._lock:
            first = bool(self._rests_until)
            self._rests_until = 0.0
            return first
