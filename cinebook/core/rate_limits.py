"""How often somebody may ask: one atomic bucket of tokens per person, in Redis for all processes together.

Without Redis each process counts for itself, so that an outage neither locks people out nor opens the gates.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import OrderedDict
from pathlib import Path

from django.conf import settings

from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.redis import RedisAway, run_script

_SCRIPT = Path(__file__).parent / "lua" / "token_bucket.lua"
# How many people a process counts by itself; who has not asked for longest is forgotten first.
_REMEMBERED = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `burst` requests at once, and `per_second` in the long run."""

    name: str
    burst: int
    per_second: float


# Seats, per holder. A person who clicks as fast as they can stays below it.
SEAT_OPERATIONS = RateLimit("seats", burst=60, per_second=10)
# Signing in, per address and name: slow enough that guessing is hopeless, with room for a few typing errors.
SIGN_INS = RateLimit("sign-ins", burst=20, per_second=0.2)
# Signing in, per address whatever the name: trying one password on many names, and each try costs a slow hash.
SIGN_INS_OF_ADDRESS = RateLimit("sign-ins-of-address", burst=100, per_second=1)
# Links for a forgotten password, per mailbox: whoever asks in somebody else's name shall not fill it.
PASSWORD_MAILS = RateLimit("password-mails", burst=4, per_second=1 / 600)
# New guests, per address: a hall full of phones may share one.
NEW_GUESTS = RateLimit("guests", burst=300, per_second=5)


class LocalBuckets:
    """The same buckets in this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, limit: RateLimit, key: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        with self._lock:
            now = time.monotonic()
            tokens, counted_at = self._buckets.pop(key, (float(limit.burst), now))
            tokens = min(limit.burst, tokens + (now - counted_at) * limit.per_second)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / limit.per_second
            self._buckets[key] = (tokens if wait else tokens - 1, now)
            if len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
            return wait


_local = LocalBuckets()


def count_request(limit: RateLimit, who: str) -> None:
    """Count a request of somebody against a limit.

    Args:
        limit: which.
        who: names the person, or the address; not told to anybody.

    Raises:
        Refusal: `rate_limited`, with `retry_after` in whole seconds.
    """
    if not settings.RATE_LIMITS:
        return
    key = f"rate:{{{limit.name}:{who}}}"
    try:
        wait = run_script(_SCRIPT, [key], [limit.burst, str(limit.per_second)]) / 1000
    except RedisAway:
        wait = _local.take(limit, key)
    if wait:
        raise Refusal(ErrorCode.RATE_LIMITED, retry_after=max(1, math.ceil(wait)))
