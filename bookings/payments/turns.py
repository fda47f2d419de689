"""How many may wait for a provider at a time, so that one that hangs does not take the whole process with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bookings.payments.provider import ProviderAway

# How long somebody waits for their turn, in seconds: their thread is missing elsewhere.
QUEUE_SECONDS = 0.5
# How long a provider that did not answer is left alone, in seconds.
REST_SECONDS = 5.0


class NoAnswer(ProviderAway):
    """Nothing was heard in time, or the connection broke; an error is an answer."""


class Turns:
    """Lets only so many threads call a provider at a time, and nobody for a while after it has not answered.

    While it rests, one caller every `REST_SECONDS` may try. Whoever is turned away is told so at once.

    Args:
        at_once: how many may call it at a time.
    """

    def __init__(self, *, at_once: int) -> None:
        self._free = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._rests_until = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn for a call.

        Raises:
            ProviderAway: it rests, or too many wait for it already.
            NoAnswer: what the call itself raises; then the provider is left alone.
        """
        self._demand_awake()
        if not self._free.acquire(timeout=QUEUE_SECONDS):
            raise ProviderAway
        try:
            yield
        except NoAnswer:
            self._rests_until = time.monotonic() + REST_SECONDS
            raise
        except Exception:
            # An error is an answer: nobody has to wait for it.
            self._rests_until = 0.0
            raise
        else:
            self._rests_until = 0.0
        finally:
            self._free.release()

    def _demand_awake(self) -> None:
        if not self._rests_until:
            return
        with self._lock:
            if time.monotonic() < self._rests_until:
                raise ProviderAway
            self._rests_until = time.monotonic() + REST_SECONDS
