"""What `bench/live.py` compares CineBook with: a server that only writes one prepared frame to each of its sockets.

It has no versions, no database, no showtimes, no bounds, and nobody can do anything. It makes a frame of what is
published once per process, and hands the same bytes to every socket: it cannot be beaten by a server that does more.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
import re
import signal
import socket
from typing import cast

import redis.asyncio
import uvloop

CHANNEL = "yardstick"
KEY = re.compile(rb"\r\nSec-WebSocket-Key: *(\S+)", re.IGNORECASE)
# RFC 6455, section 1.3.
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SNAPSHOT = b'{"event":"seats:availability","data":{"version":0}}'


def frame(text: bytes) -> bytes:
    """Return a text of less than 64 KiB as the frame that a server sends."""
    short = len(text) < 126  # noqa: PLR2004 - RFC 6455, section 5.2
    return b"\x81" + (bytes([len(text)]) if short else b"\x7e" + len(text).to_bytes(2, "big")) + text


class Socket(asyncio.Protocol):
    """A socket; or a request, which is answered that all is well."""

    all: dict[Socket, None] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        self.transport = cast("asyncio.Transport", transport)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        """Open the socket; whatever it says later, it has joined, for there is but one showtime."""
        if self in self.all:
            self.transport.write(frame(SNAPSHOT))
            return
        self._request += data
        if b"\r\n\r\n" not in self._request:
            return
        if key := KEY.search(self._request):
            accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())  # noqa: S324 - RFC 6455 says so
            head = [b"HTTP/1.1 101 ", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept]
            self.transport.write(b"\r\n".join([*head, b"", b""]))
            self.all[self] = None
        else:
            self.transport.write(b"HTTP/1.1 200 \r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self.all.pop(self, None)


async def serve(listening: socket.socket) -> None:
    """Write what is published to every socket of this process."""
    await asyncio.get_running_loop().create_server(Socket, sock=listening)
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]).pubsub() as heard:
        await heard.subscribe(CHANNEL)
        while True:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=None)
            if message:
                prepared = frame(message["data"])
                for one in Socket.all:
                    one.transport.write(prepared)


def main() -> None:
    """Serve in as many processes as asked for, until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    asked = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", asked.port), backlog=2048)
    listening.settimeout(0)
    children = []
    for _number in range(asked.workers):
        child = os.fork()
        if not child:
            return uvloop.run(serve(listening))
        children.append(child)

    def end(*_signal: object) -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    for child in children:
        os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    main()
