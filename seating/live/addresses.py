"""How many sockets each address has open in this process, so that one machine cannot take all its memory."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from cinebook.core.errors import ErrorCode, Refusal

# Of IPv6 each household has a network of this size to itself.
HOUSEHOLD = 64
RETRY_SECONDS = 10

_open: Counter[str] = Counter()


@contextlib.contextmanager
def one_of_its_address(scope: Mapping[str, Any]) -> Iterator[None]:
    """Count a socket, for as long as it lives, among those of the address that it comes from.

    Args:
        scope: ASGI's, of a WebSocket.

    Raises:
        Refusal: `rate_limited` if that has SOCKETS_PER_ADDRESS already, unless there are to be no limits.
    """
    address = _household(scope)
    if address and settings.RATE_LIMITS and _open[address] >= settings.SOCKETS_PER_ADDRESS:
        raise Refusal(ErrorCode.RATE_LIMITED, retry_after=RETRY_SECONDS)
    _open[address] += 1
    try:
        yield
    finally:
        _open[address] -= 1
        if not _open[address]:
            del _open[address]


def _household(scope: Mapping[str, Any]) -> str:
    """Return the address, or what stands for it; nothing for a line that has none."""
    address: str = (scope.get("client") or ("",))[0]
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], HOUSEHOLD), strict=False))
    except ValueError:
        # What a proxy has said is no address.
        return address
