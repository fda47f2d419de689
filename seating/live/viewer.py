"""One socket's side of the hub: what waits to be written to it, in bounded memory however slowly it reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from seating.identity import Claimant
from seating.live.frames import Stretch

# How many frames that cannot be merged may wait: snapshots, answers, and what happened to the viewer's own holds.
MAX_WAITING = 64


class Visitor(Protocol):
    """Who has opened a socket."""

    @property
    def claimant(self) -> Claimant | None:
        """The holder that the visitor may act for now; None for nobody."""


class Viewer:
    """Somebody at a socket. Everything but `write` returns at once.

    Changes of seats that wait are merged into one frame per showtime, so a slow reader gets the newest state of each
    seat. Other frames wait in line; when there are too many, `overflowed` is set, and the socket is to be closed.

    Args:
        visitor: who it is.
    """

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.holder_id = visitor.claimant.holder_id if visitor.claimant else None
        # The showtimes that it has asked for.
        self.joined: set[int] = set()
        # The version to which the frames lead that it was given, by showtime.
        self.versions: dict[int, int] = {}
        self.overflowed = asyncio.Event()
        self._line: deque[str] = deque()
        self._stretches: dict[int, Stretch] = {}
        self._heartbeats: dict[int, str] = {}
        self._something_waits = asyncio.Event()

    def tell(self, text: str) -> None:
        """Put a frame in line."""
        if len(self._line) >= MAX_WAITING:
            self.overflowed.set()
            return
        self._line.append(text)
        self._something_waits.set()

    def show(self, *, showtime_id: int, version: int, text: str) -> None:
        """Put a snapshot in line; what waits of that showtime is part of it, or will be put again."""
        self._stretches.pop(showtime_id, None)
        self._heartbeats.pop(showtime_id, None)
        self.versions[showtime_id] = version
        self.tell(text)

    def lead_on(self, stretch: Stretch) -> None:
        """Give the changes that follow upon those given before."""
        waiting = self._stretches.get(stretch.showtime_id)
        self._stretches[stretch.showtime_id] = waiting.then(stretch) if waiting else stretch
        self.versions[stretch.showtime_id] = stretch.version
        self._something_waits.set()

    def beat(self, showtime_id: int, text: str) -> None:
        """Give a heartbeat; of those that wait only the newest is sent."""
        self._heartbeats[showtime_id] = text
        self._something_waits.set()

    def forget(self, showtime_id: int) -> None:
        """Give nothing more of a showtime."""
        self.joined.discard(showtime_id)
        self.versions.pop(showtime_id, None)
        self._stretches.pop(showtime_id, None)
        self._heartbeats.pop(showtime_id, None)

    async def write(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send what waits, for as long as the socket lives.

        Args:
            send: writes one frame, and waits for as long as the socket takes no more.
        """
        while True:
            await self._something_waits.wait()
            self._something_waits.clear()
            while texts := self._next():
                for text in texts:
                    await send(text)

    def _next(self) -> tuple[str, ...]:
        if self._line:
            return (self._line.popleft(),)
        if self._stretches:
            return self._stretches.pop(next(iter(self._stretches))).frames
        if self._heartbeats:
            # After the changes: a heartbeat never tells of a version that is still waiting here.
            return (self._heartbeats.pop(next(iter(self._heartbeats))),)
        return ()
