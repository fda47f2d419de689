"""What lives and ends with a web process, beside its requests."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Companion(Protocol):
    """Something that runs as long as the process serves."""

    def start(self) -> None:
        """Begin; at once."""

    def stop(self) -> None:
        """End; it may take some seconds."""


class Lifespan:
    """The ASGI application of the protocol `lifespan`: starts companions before the first request, stops them last."""

    def __init__(self, *companions: Companion) -> None:
        self.companions = companions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one life of the process."""
        await receive()
        for companion in self.companions:
            companion.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for companion in reversed(self.companions):
            await asyncio.to_thread(companion.stop)
        await send({"type": "lifespan.shutdown.complete"})
