"""How many may wait for a provider at a time, so that one that hangs does not take the whole process with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bookings.payments.provider import ProviderAway
from cinebook.core.breaker import Breaker

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
        self.breaker = Breaker(REST_SECONDS)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn for a call.

        Raises:
            ProviderAway: it rests, or too many wait for it already.
            NoAnswer: what the call itself raises; then the provider is left alone.
        """
        if not self.breaker.admits():
            raise ProviderAway
        if not self._free.acquire(timeout=QUEUE_SECONDS):
            raise ProviderAway
        try:
            yield
        except NoAnswer:
            self.breaker.failed()
            raise
        except Exception:
            # An error is an answer: nobody has to wait for it.
            self.breaker.answered()
            raise
        else:
            self.breaker.answered()
        finally:
            self._free.release()
