"""How the people of the soak reach the house: HTTP on a connection that stays open, and the socket."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.protocol import State

from cinebook.core.error_responses import ERRORS
from cinebook.core.errors import ErrorCode

# After this a person gives up; longer than anything the house is allowed to take.
PATIENCE = 30.0
MOST_SILENCE = 3.0
SERVER_ERROR = 500
# What the socket calls the operations, and its word for a failure.
EVENTS = {"lock": "seat:hold", "unlock": "seat:release", "extend": "hold:extend"}


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: its status, None if nobody answered; and when it was sent and over."""

    status: int | None
    body: Any
    sent: float
    received: float
    server: str
    etag: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it says what was done."""
        return self.status is not None and self.status < SERVER_ERROR

    @property
    def is_success(self) -> bool:
        """Whether it was done."""
        return self.status is not None and self.status < 400

    @property
    def code(self) -> str:
        """The contract's code of an error."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class HttpLine:
    """One person's connection to one web process. One request at a time."""

    def __init__(self, server: str, port: int) -> None:
        self.server = server
        self._port = port
        self._spoken_at = 0.0
        self.silent_at = 0.0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: Any = None, token: str = "", patience: float = PATIENCE, **headers: str
    ) -> Answer:
        """Send a request of the API; return its answer, or that there was none."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /api/v1/{path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(payload)}"]
        lines += ["Content-Type: application/json"] if payload else []
        lines += [f"Authorization: Bearer {token}"] if token else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        sent = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                status, said, content = await self._exchange("\r\n".join([*lines, "", ""]).encode() + payload)
        except (OSError, EOFError, TimeoutError):
            self.close()
            self.silent_at = time.monotonic()
            return Answer(None, None, sent, time.monotonic(), self.server)
        told = json.loads(content) if content else None
        return Answer(status, told, sent, time.monotonic(), self.server, said.get("etag", ""))

    def close(self) -> None:
        """Hang up."""
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        # A server hangs up on who is silent for 5 s. A request that meets it on the way would be nobody's fault.
        if self._streams and (self._streams[0].at_eof() or time.monotonic() - self._spoken_at > MOST_SILENCE):
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        content = await reader.readexactly(int(said.get("content-length", 0)))
        self._spoken_at = time.monotonic()
        if said.get("connection", "").lower() == "close":
            self.close()
        return int(head[0].split(" ", 2)[1]), said, content


class SocketLine:
    """One person's socket to one web process. What it is told unasked is passed over."""

    def __init__(self, server: str, port: int) -> None:
        self.server = server
        self._port = port
        self._socket: ClientConnection | None = None
        self._numbers = itertools.count(1)

    async def ask(self, kind: str, data: dict[str, Any], token: str) -> Answer:
        """Send a frame; return its answer as if it had been HTTP."""
        sent = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                frame = await self._exchange({"event": EVENTS[kind], "data": data, "id": next(self._numbers)}, token)
        except (OSError, EOFError, TimeoutError, WebSocketException):
            await self.close()
            return Answer(None, None, sent, time.monotonic(), self.server)
        told = frame["data"]
        failed = frame["event"].endswith(":failed") or frame["event"] == "error"
        status = ERRORS[ErrorCode(told["code"])].status if failed else 200
        return Answer(status, told, sent, time.monotonic(), self.server)

    async def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.transport.abort()
            self._socket = None

    async def _exchange(self, frame: dict[str, Any], token: str) -> dict[str, Any]:
        if self._socket is None or self._socket.state is not State.OPEN:
            self._socket = await opened(self._port, token)
        await self._socket.send(json.dumps(frame))
        while True:
            answer: dict[str, Any] = json.loads(await self._socket.recv())
            if answer.get("id") == frame["id"]:
                return answer


async def opened(port: int, token: str = "") -> ClientConnection:
    """Return an open socket; raises OSError, WebSocketException or TimeoutError."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await connect(
        f"ws://127.0.0.1:{port}/ws/seats/",
        additional_headers=headers,
        proxy=None,
        open_timeout=5,
        ping_interval=None,
        compression=None,
        max_size=None,
    )


async def pause(seconds: float, over: asyncio.Event) -> None:
    """Return after so many seconds, or when it is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()
