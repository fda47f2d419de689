"""uvicorn's side of a socket, which can also be given frames that were made once for many sockets.

Where the same text goes to a thousand sockets, what ASGI does for each of them (a coroutine, a message, a frame) costs
more than what the kernel does to send it (docs/adr/0011). So a socket of this server has an extension in its scope,
`cinebook.offer`; where it is missing, whoever would use it sends messages as everywhere, and all is as well but slower.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

OFFER = "cinebook.offer"
# What a socket that has ended is given to send what was written to it, in seconds.
LAST_SECONDS = 10.0
# How much may wait to be read, in bytes, before a ping is answered no more. Who only reads slowly is not given as much.
MOST_UNREAD = 256 * 1024
# In how many parts a message may come. A browser sends one.
MOST_PARTS = 1024


def frame_of(text: str) -> bytes:
    """Return a text as the frame that a server sends: not compressed, which every socket takes."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket of uvicorn's."""

    def handle_connect(self, event: Any) -> None:
        """Begin with a socket as uvicorn does; its scope knows where frames can be offered."""
        self.scope: Any = {"extensions": {}}
        super().handle_connect(event)
        # The application has been called for, but nothing of it has run yet.
        self.scope["extensions"][OFFER] = self.offer

    async def run_asgi(self) -> None:
        """Run the application; when it has ended, the socket does so soon, whether the other side reads or not."""
        await super().run_asgi()
        self._end_soon()

    def keepalive_timeout(self) -> None:
        """Give a line up that has not answered a ping."""
        super().keepalive_timeout()
        self._end_soon()

    def _end_soon(self) -> None:
        # A transport that is closed waits until what was written to it has gone: for ever, if nobody reads at the
        # other end. And nobody counts a socket that has no application.
        self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def handle_cont(self, event: Any) -> None:
        """Take a part of a message; but whoever sends too many is cut off, for empty ones have no other limit."""
        if len(self.frames) < MOST_PARTS:
            super().handle_cont(event)
        else:
            self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping; but whoever sends pings and does not read the answers is cut off, for they would pile up."""
        if self.transport.get_write_buffer_size() < MOST_UNREAD:
            super().handle_ping()
        else:
            self.transport.abort()

    def offer(self, frames: bytes) -> bool:
        """Write whole frames at once, if the socket is open and takes more; return whether they were written."""
        if self.disconnected or self.conn.state is not OPEN or not self.writable.is_set():
            return False
        self.transport.write(frames)
        return True
