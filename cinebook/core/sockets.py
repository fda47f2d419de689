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


def frame_of(text: str) -> bytes:
    """Return a text as the frame that a server sends: not compressed, which every socket takes."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket of uvicorn's."""

    # The answers to the latest pings, while the other end does not read: of one piece that was received, at most.
    _waiting_answers = b""

    def handle_connect(self, event: Any) -> None:
        """Begin with a socket as uvicorn does; its scope knows where frames can be offered."""
        self.scope: Any = {"extensions": {}}
        super().handle_connect(event)
        # The application has been called for, but nothing of it has run yet.
        self.scope["extensions"][OFFER] = self.offer

    def handle_ping(self) -> None:
        """Answer a ping; while nothing more is read at the other end, only the latest waits for its answer.

        RFC 6455, section 5.5.3, allows it. Whoever sends pings and does not read would make the others pile up.
        """
        answers = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(answers)
        elif answers:
            self._waiting_answers = answers

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._waiting_answers:
            self.transport.write(self._waiting_answers)
            self._waiting_answers = b""

    def offer(self, frames: bytes) -> bool:
        """Write whole frames at once, if the socket is open and takes more; return whether they were written."""
        if self.disconnected or self.conn.state is not OPEN or not self.writable.is_set():
            return False
        self.transport.write(frames)
        return True
