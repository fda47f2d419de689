"""Clients of an HTTP server that cost as little as they can, for they share the machine with what is measured.

A client is a generator: it yields a request, and is sent the reply. Each has a connection of its own, which is kept
open for as long as the server keeps it, and opened anew when it does not.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, cast

import uvloop

# How long a reply may take, in seconds, before the run is given up.
PATIENCE = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes over the line. Those that are not `counted` only prepare others."""

    content: bytes
    counted: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What came back: when the request went out and how long it took, in seconds."""

    status: int
    content: bytes
    etag: str
    sent: float
    seconds: float
    counted: bool

    def json(self) -> Any:
        """Return the body, which is JSON."""
        return json.loads(self.content)


Client = Generator[Request, Reply, None]


def request(
    method: str, path: str, *, token: str = "", body: Any = None, etag: str = "", counted: bool = True
) -> Request:
    """Return a request.

    Args:
        token: of who asks; empty for nobody.
        body: what is sent as JSON.
        etag: of what is known already.
        counted: whether it is what is measured.
    """
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if method != "GET":
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if etag:
        lines.append(f"If-None-Match: {etag}")
    return Request("\r\n".join([*lines, "", ""]).encode() + content, counted)


def run(port: int, clients: Iterable[Client], *, seconds: float) -> list[Reply]:
    """Let clients ask, each one thing after the other; return the replies that count.

    Args:
        port: of the server, on this machine.
        clients: all at the same time.
        seconds: after which no new request is begun; a client may come to its end earlier.
    """
    return uvloop.run(_run(port, list(clients), seconds))


async def _run(port: int, clients: Sequence[Client], seconds: float) -> list[Reply]:
    lines = [_Line(port, client, time.monotonic() + seconds) for client in clients]
    for line in lines:
        line.begin()
    async with asyncio.timeout(seconds + PATIENCE):
        await asyncio.gather(*(line.done for line in lines))
    return sorted((reply for line in lines for reply in line.replies if reply.counted), key=lambda reply: reply.sent)


class _Line:
    """What a client asks and is told, over one connection after the other."""

    def __init__(self, port: int, client: Client, until: float) -> None:
        self.replies: list[Reply] = []
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._port = port
        self._client = client
        self._until = until
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._request: Request
        self._sent = 0.0

    def begin(self) -> None:
        """Ask for the first thing."""
        self._ask(lambda: next(self._client))

    def _ask(self, next_request: Callable[[], Request]) -> None:
        if time.monotonic() >= self._until:
            self._end()
            return
        try:
            self._request = next_request()
        except StopIteration:
            self._end()
            return
        self._sent = time.monotonic()
        self._send()

    def _send(self) -> None:
        if self._connection:
            self._connection.write(self._request.content)
        else:
            self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            _transport, self._connection = await self._loop.create_connection(
                lambda: _Connection(self), "127.0.0.1", self._port
            )
        except OSError as error:
            self._fail(error)
        else:
            self._connection.write(self._request.content)

    def lost(self, connection: _Connection) -> None:
        """Ask anew, over a new connection, if the server has closed this one before it answered."""
        if connection is self._connection:
            self._connection = None
            if not self.done.done():
                self._send()

    def take(self, head: bytes, content: bytes) -> None:
        """Take a whole reply, and go on."""
        now = time.monotonic()
        reply = Reply(
            status=int(head[9:12]),
            content=content,
            etag=header(head, b"etag"),
            sent=self._sent,
            seconds=now - self._sent,
            counted=self._request.counted,
        )
        self.replies.append(reply)
        if header(head, b"connection") == "close" and self._connection:
            connection, self._connection = self._connection, None
            connection.close()
        self._ask(lambda: self._client.send(reply))

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        if self._connection:
            self._connection.close()

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._transport: asyncio.Transport
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect a whole reply."""
        self._unread += data
        head, end, content = self._unread.partition(b"\r\n\r\n")
        if end and len(content) >= int(header(head, b"content-length") or 0):
            self._unread = b""
            self._line.take(head, content)

    def connection_lost(self, error: Exception | None) -> None:
        """Say so."""
        self._line.lost(self)

    def write(self, content: bytes) -> None:
        """Send a request."""
        self._transport.write(content)

    def close(self) -> None:
        """End it."""
        self._transport.close()


def header(head: bytes, name: bytes) -> str:
    """Return the value of a header of a reply; empty if it is not there."""
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return ""
    start = at + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip().decode()
