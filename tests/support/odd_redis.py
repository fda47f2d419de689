"""Servers that stand at Redis' address and are not what they should be."""

from __future__ import annotations

import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Is given the connection and whatever came on it, for each piece that comes.
Answer = Callable[[socket.socket, bytes], None]


@contextmanager
def odd_redis(answer: Answer) -> Iterator[str]:
    """Yield the URL of a server that answers like this."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                while data := self.request.recv(65_536):
                    answer(self.request, data)
            except OSError:
                return  # whoever asked has left

    # The path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="odd-") as folder:
        path = Path(folder, "s")
        server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"unix://{path}?db=0"
        finally:
            server.shutdown()
            thread.join()
            server.socket.close()


def saying(text: str) -> Answer:
    """Answer everything with this."""
    return lambda connection, _data: connection.sendall(text.encode())


def after(seconds: float, text: str) -> Answer:
    """Answer everything with this, that late."""

    def answer(connection: socket.socket, _data: bytes) -> None:
        threading.Event().wait(seconds)
        connection.sendall(text.encode())

    return answer


def byte_by_byte(seconds: float, text: str) -> Answer:
    """Answer everything with this, with a pause after each byte."""

    def answer(connection: socket.socket, _data: bytes) -> None:
        for byte in text.encode():
            connection.sendall(bytes([byte]))
            threading.Event().wait(seconds)

    return answer
