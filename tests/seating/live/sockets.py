"""Sockets to test with: clients of the real consumer, on a hub of the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer

from cinebook.asgi import application
from cinebook.core.sockets import OFFER
from seating.live.hub import LiveUpdates, hub
from seating.live.threads import DatabaseThreads
from seating.live.viewer import Offer

SECONDS = 10.0
TEST_SECONDS = 60.0
_threads = DatabaseThreads(4, "test")
# What a service does that a test calls: in a thread, as everywhere.
in_thread = _threads.run


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test, with a hub that hears from the channel layer."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def with_hub() -> None:
            updates = LiveUpdates()
            updates.start()
            try:
                async with asyncio.timeout(TEST_SECONDS):
                    await until(lambda: hub()._listener.healthy)
                    await test(*args, **kwargs)
            finally:
                await asyncio.to_thread(updates.stop)

        asyncio.run(with_hub())

    return run


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Return as soon as the condition is true; fail when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


async def tell_from_elsewhere(group: str, message: dict[str, Any]) -> None:
    """Send a message as another process does."""
    await get_channel_layer().group_send(group, {**message, "group": group, "sender": "another process"})


class Refused(Exception):  # noqa: N818
    """The socket was closed instead of being accepted; `status` is the HTTP answer's, if there was one."""

    def __init__(self, status: int | None, headers: dict[bytes, bytes]) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


class Socket:
    """A client that keeps a map as docs/protocol.md says, of the one showtime that it has joined."""

    def __init__(
        self,
        path: str,
        headers: dict[str, str],
        subprotocols: Iterable[str],
        scheme: str,
        *,
        client: str | None = None,
        offer: Offer | None = None,
    ) -> None:
        scope = {
            "type": "websocket",
            "scheme": scheme,
            "path": path,
            "server": ("localhost", 8000),
            "client": (client, 50_000) if client else None,
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}} | ({OFFER: offer} if offer else {}),
        }
        self._app = ApplicationCommunicator(application, scope)
        self.subprotocol: str | None = None
        self.raw: list[str] = []
        self.seats: dict[str, str] = {}
        self.version: int | None = None
        self.resyncs = 0

    async def open(self) -> None:
        await self._app.send_input({"type": "websocket.connect"})
        answer = await self._app.receive_output(SECONDS)
        if answer["type"] != "websocket.accept":
            raise Refused(answer.get("status"), dict(answer.get("headers", ())))
        self.subprotocol = answer["subprotocol"]

    async def send(self, event: str, frame_id: Any = None, **data: Any) -> None:
        frame = {"event": event, "data": data} | ({} if frame_id is None else {"id": frame_id})
        await self.send_raw({"text": json.dumps(frame)})

    async def send_raw(self, message: dict[str, Any]) -> None:
        await self._app.send_input({"type": "websocket.receive", **message})

    async def receive(self, *events: str) -> dict[str, Any]:
        """Return the next frame that is one of the events; the others before it are taken, too."""
        while True:
            frame = await self.next()
            if not events or frame["event"] in events:
                return frame

    async def next(self) -> dict[str, Any]:
        message = await self._app.receive_output(SECONDS)
        assert message["type"] == "websocket.send", message
        self.raw.append(message["text"])
        frame: dict[str, Any] = json.loads(message["text"])
        self._apply(frame)
        return frame

    async def waits(self) -> bool:
        """Return whether a frame waits to be read."""
        return not await self._app.receive_nothing(timeout=0)

    async def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Send a frame, and return its answer."""
        frame_id = f"ask {len(self.raw)}"
        await self.send(event, frame_id, **data)
        while True:
            frame = await self.next()
            if frame.get("id") == frame_id:
                return frame

    async def closing_code(self) -> int:
        """Return the code with which the server closes."""
        while True:
            message = await self._app.receive_output(SECONDS)
            if message["type"] == "websocket.close":
                code: int = message["code"]
                return code

    async def reach(self, version: int) -> None:
        """Take frames until the map is at a version."""
        while self.version != version:
            await self.next()

    def _apply(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        if frame["event"] == "seats:availability":
            # What this client holds itself is `locked` in the changes, which are the same for everybody.
            self.seats = {code: status.replace("selected", "locked") for code, status in data["seats"].items()}
            self.version = data["version"]
        elif frame["event"] == "seat:status:changed" and self.version is not None:
            if data["from_version"] == self.version:
                self.seats |= data["changes"]
                self.version = data["version"]
            elif data["version"] > self.version:
                self.resyncs += 1

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            await self._app.send_input({"type": "websocket.disconnect", "code": 1001})
            await self._app.wait(SECONDS)


@contextlib.asynccontextmanager
async def socket(
    token: str | None = None,
    *,
    join: int | None = None,
    path: str = "/ws/seats/",
    headers: dict[str, str] | None = None,
    subprotocols: Iterable[str] = (),
    scheme: str = "ws",
    client: str | None = None,
    offer: Offer | None = None,
) -> AsyncIterator[Socket]:
    """A client of the socket, that has joined the showtime `join`; its server takes frames by `offer`, if it can."""
    bearer = {"authorization": f"Bearer {token}"} if token else {}
    shown = {"host": "localhost:8000", **bearer, **(headers or {})}
    opened = Socket(path, shown, subprotocols, scheme, client=client, offer=offer)
    await opened.open()
    try:
        if join:
            assert (await opened.ask("join:showtime", showtime_id=join))["event"] == "seats:availability"
        yield opened
    finally:
        await opened.close()
