"""The only door to the channel layer: messages to all processes, sent without waiting for anything.

Delivery is at most once and best effort; whoever listens finds a lost message by its version.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

import structlog
from channels.layers import get_channel_layer

log = structlog.get_logger(__name__)

_starting = threading.Lock()


def send_to_group(group: str, message: dict[str, Any]) -> None:
    """Send a message to every member of a group, from any thread; return at once.

    Args:
        group: its name.
        message: with a `type`, as Channels wants it; msgpack must be able to carry it.
    """
    asyncio.run_coroutine_threadsafe(_send(group, message), _loop())


async def _send(group: str, message: dict[str, Any]) -> None:
    try:
        await get_channel_layer().group_send(group, message)
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody waits for it
        log.warning("live.message_lost", group=group, error=str(error))


def _loop() -> asyncio.AbstractEventLoop:
    # The cache alone would let two threads in that send the first messages at the same moment.
    with _starting:
        return _started_loop()


@functools.cache
def _started_loop() -> asyncio.AbstractEventLoop:
    """One loop per process, in a thread of its own: `async_to_sync` would open a loop and a connection per message."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="live", daemon=True).start()
    return loop
