"""What `bench/live.py` compares CineBook with: a server that only writes one prepared frame to each of its sockets.

It has no versions, no database, no showtimes, and nobody can do anything: it cannot be beaten by a server that has.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

CHANNEL = "yardstick"
Send = Callable[[dict[str, Any]], Awaitable[None]]
_sends: dict[Send, None] = {}


async def _pass_on() -> None:
    """Write what is published to every socket of this process, as it is."""
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]).pubsub() as heard:
        await heard.subscribe(CHANNEL)
        while True:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None:
                continue
            frame = {"type": "websocket.send", "text": message["data"].decode()}
            for send in list(_sends):
                await send(frame)


async def application(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
    """Serve sockets; answer every request that all is well."""
    if scope["type"] == "lifespan":
        await receive()
        passing = asyncio.ensure_future(_pass_on())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        passing.cancel()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
    else:
        await receive()
        await send({"type": "websocket.accept"})
        _sends[send] = None
        while (await receive())["type"] != "websocket.disconnect":
            # Whoever joins is in, for there is but one showtime.
            await send({"type": "websocket.send", "text": '{"event":"seats:availability","data":{"version":0}}'})
        del _sends[send]
