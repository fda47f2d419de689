"""Who only looks: open maps, kept by socket or by polling, and when each of them learned that a hold had run out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections import defaultdict
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from tests.soak.lines import HttpLine, opened, pause

# docs/protocol.md: without a heartbeat for so long, open a new socket.
SILENCE = 13.0
POLL_SECONDS = 2.0
BETWEEN_SOCKETS = 0.3


@dataclasses.dataclass(frozen=True)
class Abandoned:
    """A hold that was left alone: where, which seats, and when by the duration that was told its time was over.

    It was over between `due` (counted from the request) and `due_latest` (from the answer), of one's own clock.
    """

    showtime: int
    seats: frozenset[str]
    due: float
    due_latest: float


class SocketWatcher:
    """A map by socket, kept as docs/protocol.md says. It remembers when each seat changed."""

    kind = "socket"

    def __init__(self, server: str, port: int, showtime: int) -> None:
        self.server = server
        self.showtime = showtime
        self._port = port
        self.seats: dict[str, str] = {}
        self.version = -1
        self.changed_at: dict[str, list[float]] = defaultdict(list)
        # From when to when it had an open socket.
        self.watched: list[list[float]] = []
        self.resyncs = 0
        self.gaps = 0

    async def watch(self, over: asyncio.Event) -> None:
        """Watch until it is over."""
        while not over.is_set():
            with contextlib.suppress(OSError, EOFError, TimeoutError, WebSocketException):
                async with await opened(self._port) as socket:
                    hanging_up = asyncio.create_task(_hang_up(socket, over))
                    try:
                        await self._follow(socket, over)
                    finally:
                        hanging_up.cancel()
            await pause(BETWEEN_SOCKETS, over)

    async def _follow(self, socket: ClientConnection, over: asyncio.Event) -> None:
        await self._join(socket)
        joined = False
        try:
            while not over.is_set():
                async with asyncio.timeout(SILENCE):
                    frame = json.loads(await socket.recv())
                await self._hear(frame, socket)
                if frame["event"] == "seats:availability" and not joined:
                    joined = True
                    self.watched.append([time.monotonic(), time.monotonic()])
                if joined:
                    self.watched[-1][1] = time.monotonic()
        finally:
            if joined:
                self.watched[-1][1] = time.monotonic()

    async def _join(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"event": "join:showtime", "data": {"showtime_id": self.showtime}, "id": 1}))

    async def _hear(self, frame: dict[str, Any], socket: ClientConnection) -> None:
        data = frame["data"]
        if frame["event"] == "seats:availability":
            self.resyncs += 1
            changes = {code: status for code, status in data["seats"].items() if self.seats.get(code) != status}
            self._apply(changes, data["version"])
        elif frame["event"] == "seat:status:changed":
            if data["from_version"] == self.version:
                # A takeover changes whose a seat is: `locked` it was, and `locked` it is.
                self._apply(data["changes"], data["version"])
            elif data["version"] > self.version:
                self.gaps += 1
                await self._join(socket)

    def _apply(self, seats: dict[str, str], version: int) -> None:
        now = time.monotonic()
        for code in seats:
            self.changed_at[code].append(now)
        self.seats = {**self.seats, **seats}
        self.version = version

    def lags(self, abandoned: list[Abandoned]) -> list[tuple[Abandoned, float]]:
        """Return for each abandoned hold of its showtime how many seconds after its end the last seat changed here.

        Only of those that ended while its socket was open. The end is the earliest that it can have been.
        """
        found = []
        for hold in abandoned:
            if hold.showtime == self.showtime and self._watched_around(hold):
                seen = [self._first_change(code, hold.due) for code in hold.seats]
                found.append((hold, max(seen) - hold.due))
        return found

    def _watched_around(self, hold: Abandoned) -> bool:
        return any(begins < hold.due - 1 and hold.due + 2 < ends for begins, ends in self.watched)

    def _first_change(self, code: str, due: float) -> float:
        # A takeover may be the change, and the ticker of a process may be quicker than our clock is exact.
        return next((at for at in self.changed_at[code] if at >= due - 0.1), float("inf"))


async def _hang_up(socket: ClientConnection, over: asyncio.Event) -> None:
    """End a socket when it is over: its next frame may be a heartbeat's time away."""
    await over.wait()
    socket.transport.abort()


class PollingWatcher:
    """A map without a socket: asked for every two seconds, with the ETag of the one before."""

    kind = "polling"

    def __init__(self, server: str, port: int, showtime: int) -> None:
        self.server = server
        self.showtime = showtime
        self._line = HttpLine(server, port)
        self._etag = ""
        self.seats: dict[str, str] = {}
        self.version = -1
        self.kept = 0

    async def watch(self, over: asyncio.Event) -> None:
        """Watch until it is over; then look a last time."""
        while not over.is_set():
            await self._look()
            await pause(POLL_SECONDS, over)
        self._line.close()

    async def _look(self) -> None:
        condition = {"If-None-Match": self._etag} if self._etag else {}
        answer = await self._line.ask("GET", f"showtimes/{self.showtime}/seats/status", **condition)
        if answer.status == 304:
            self.kept += 1
        elif answer.is_success:
            self._etag, self.seats, self.version = answer.etag, answer.body["seats"], answer.body["version"]
