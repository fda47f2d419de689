"""A crowd of viewers in one process, for `bench/live.py`: they join a showtime and note when which change came.

A viewer here costs as little as it can, for the crowd shares the machine with what is measured: no JSON, no map, only
the versions of the frames and the clock, which is the same in all processes of a machine.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import base64
import collections
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import uvloop

AT_ONCE = 20
OPENS_WITHIN = 60.0
# The kinds of frames that are looked at (RFC 6455, section 5.2).
TEXT, PING, PONG = 0x1, 0x9, 0xA
CHANGED = b'"seat:status:changed"'
SNAPSHOT = b'"seats:availability"'
FROM, VERSION = re.compile(rb'"from_version":(\d+)'), re.compile(rb'"version":(\d+)')

# When a change came to a crowd: the versions from which and to which it leads, and the instants.
Arrivals = dict[tuple[int, int], "array.array[float]"]


class Viewer(asyncio.Protocol):
    """One socket."""

    def __init__(self, host: str, showtime: int, arrivals: Arrivals) -> None:
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host = host
        self._showtime = showtime
        self._arrivals = arrivals
        self._transport: asyncio.Transport
        self._unread = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a socket."""
        self._transport = cast("asyncio.Transport", transport)
        lines = [
            *("GET /ws/seats/ HTTP/1.1", f"Host: {self._host}", "Connection: Upgrade", "Upgrade: websocket"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", "", ""),
        ]
        transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        """Take whole frames; keep what is not whole yet."""
        now = time.monotonic()
        self._unread += data
        if not self._open:
            head, end, rest = self._unread.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head[:16]:
                self.joined.set_exception(ConnectionError(head[:60].decode("latin-1")))
                return
            self._open, self._unread = True, rest
            join = {"event": "join:showtime", "data": {"showtime_id": self._showtime}}
            self._send(TEXT, json.dumps(join).encode())
        while frame := self._next_frame():
            self._take(*frame, now)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the server has gone; what is missing then shows in the figures."""
        if not self.joined.done():
            self.joined.set_exception(error or ConnectionError("closed"))

    def _next_frame(self) -> tuple[int, bytes] | None:
        unread = self._unread
        if len(unread) < 2:  # noqa: PLR2004 - the shortest head of a frame
            return None
        length, start = unread[1], 2
        if length >= 126:  # noqa: PLR2004 - RFC 6455, section 5.2
            start = 4 if length == 126 else 10  # noqa: PLR2004
            length = int.from_bytes(unread[2:start], "big")
        if len(unread) < start + length:
            return None
        self._unread = unread[start + length :]
        return unread[0] & 0xF, unread[start : start + length]

    def _take(self, kind: int, content: bytes, now: float) -> None:
        if kind == PING:
            self._send(PONG, content)
        elif CHANGED in content[:40]:
            begin, end = FROM.search(content), VERSION.search(content)
            if begin and end:
                self._arrivals[int(begin[1]), int(end[1])].append(now)
        elif SNAPSHOT in content[:40] and not self.joined.done():
            self.joined.set_result(None)

    def _send(self, kind: int, content: bytes) -> None:
        # Clients must mask what they send; a mask of zeros changes nothing. Nothing that is sent here has 126 bytes.
        self._transport.write(bytes([0x80 | kind, 0x80 | len(content), 0, 0, 0, 0]) + content)


async def crowd(host: str, showtime: int, count: int) -> None:
    """Be a crowd, until the input ends: say when all have joined, and what has come whenever a line asks for it."""
    loop = asyncio.get_running_loop()
    arrivals: Arrivals = collections.defaultdict(lambda: array.array("d"))
    name, _, port = host.partition(":")
    viewers: list[Viewer] = []
    while len(viewers) < count:
        opening = [
            loop.create_connection(lambda: Viewer(host, showtime, arrivals), name, int(port))
            for _number in range(min(AT_ONCE, count - len(viewers)))
        ]
        async with asyncio.timeout(OPENS_WITHIN):
            opened = [viewer for _transport, viewer in await asyncio.gather(*opening)]
            await asyncio.gather(*(viewer.joined for viewer in opened))
        viewers += opened
    _say({"joined": len(viewers)})
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while await orders.readline():
        told = [[*versions, base64.b64encode(times.tobytes()).decode()] for versions, times in arrivals.items()]
        _say({"arrivals": told})
        arrivals.clear()


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


# --- The side that starts it -----------------------------------------------------------------------------------------


class Crowds:
    """Crowds in processes of their own."""

    def __init__(self, processes: Iterable[subprocess.Popen[str]]) -> None:
        self._processes = list(processes)
        self.viewers = sum(answer["joined"] for answer in self._read())

    def collect(self) -> Arrivals:
        """Return what has come since the last time, of all viewers."""
        arrivals: Arrivals = collections.defaultdict(lambda: array.array("d"))
        for process in self._processes:
            assert process.stdin  # noqa: S101 - for the types
            process.stdin.write("\n")
            process.stdin.flush()
        for answer in self._read():
            for begin, end, times in answer["arrivals"]:
                arrivals[begin, end].frombytes(base64.b64decode(times))
        return arrivals

    def _read(self) -> Iterator[dict[str, Any]]:
        for process in self._processes:
            assert process.stdout  # noqa: S101 - for the types
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("a crowd has ended")
            yield json.loads(line)


@contextmanager
def running_crowds(host: str, showtime: int, *, viewers: int, processes: int = 2) -> Iterator[Crowds]:
    """Let viewers join a showtime, and watch it for as long as the context lasts.

    Args:
        host: as `127.0.0.1:8000`.
        viewers: how many in all.
        processes: in how many processes.
    """
    shares = [viewers // processes + (number < viewers % processes) for number in range(processes)]
    with ExitStack() as stack:
        started = []
        for share in shares:
            command = [sys.executable, str(Path(__file__)), host, str(showtime), str(share)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
            stack.enter_context(process)
            started.append(process)
        yield Crowds(started)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("host")
    parser.add_argument("showtime", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    uvloop.run(crowd(given.host, given.showtime, given.count))
