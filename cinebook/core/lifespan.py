"""What lives as long as the server does, beside the requests: started before the first, ended after the last."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Part = Callable[[], contextlib.AbstractAsyncContextManager[None]]


class Lifespan:
    """ASGI's lifespan: enters each part in order, and leaves them in reverse.

    Args:
        parts: make the context managers to enter.
    """

    def __init__(self, *parts: Part) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the parts for as long as the server serves."""
        await receive()
        async with contextlib.AsyncExitStack() as running:
            try:
                for part in self._parts:
                    await running.enter_async_context(part())
            except Exception as error:
                log.exception("server.not_started")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
