"""One socket's side of the hub: what waits to be written to it, in bounded memory however slowly it reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from seating.live.frames import Prepared, Stretch
from seating.live.handshake import SocketVisitor
from seating.live.presence import mark_of

# How many frames that cannot be merged may wait, and how long they may be together, in characters: snapshots, answers,
# and what happened to the viewer's own holds.
MAX_WAITING = 64
MAX_WAITING_LENGTH = 512 * 1024

# Why a socket is closed: codes of RFC 6455, and the one for "come back later" that IANA has registered since.
POLICY_VIOLATION, SERVER_ERROR, TRY_AGAIN_LATER = 1008, 1011, 1013

Send = Callable[[str], Awaitable[None]]
Offer = Callable[[bytes], bool]


def _takes_nothing(_frames: bytes) -> bool:
    return False


class Viewer:
    """Somebody at a socket. Everything but `write` returns at once.

    What many are sent is written by the very call that brings it, as long as nothing waits and the socket takes more,
    for to wake a task for each of them costs a multiple. Everything else waits for `write`. Changes of seats that wait
    are merged into one frame per showtime, so a slow reader gets the newest state of each seat. Other frames wait in
    line. Whoever lets too many wait, or takes nothing from one heartbeat to the next, is dropped.

    Args:
        visitor: who it is.
        offer: writes whole frames at once and returns True; or False, if the socket takes no more for now. Without
            it everything waits for `write`.
    """

    def __init__(self, visitor: SocketVisitor, offer: Offer | None = None) -> None:
        self.visitor = visitor
        self.holder_id = visitor.claimant.holder_id if visitor.claimant else None
        # What stands for it when those who look at a showtime are counted.
        self.mark = mark_of(self.holder_id)
        # The showtimes that it has asked for.
        self.joined: set[int] = set()
        # By showtime: the version to which the frames lead that it was given.
        self.versions: dict[int, int] = {}
        # Set when the socket is to be closed, and with which code.
        self.dropped = asyncio.Event()
        self.drop_code = TRY_AGAIN_LATER
        self._line: deque[str] = deque()
        self._line_length = 0
        self._stretches: dict[int, Stretch] = {}
        self._heartbeats: dict[int, Prepared] = {}
        self._offer = offer or _takes_nothing
        # Set while something waits, or is being written: what comes then must not overtake it.
        self._something_waits = asyncio.Event()

    def tell(self, text: str) -> None:
        """Put a frame in line."""
        if self._line and (len(self._line) >= MAX_WAITING or self._line_length + len(text) > MAX_WAITING_LENGTH):
            self.drop(TRY_AGAIN_LATER)
            return
        self._line.append(text)
        self._line_length += len(text)
        self._something_waits.set()

    def drop(self, code: int) -> None:
        """Have the socket closed.

        Args:
            code: why.
        """
        if not self.dropped.is_set():
            self.drop_code = code
            self.dropped.set()

    def show(self, *, showtime_id: int, version: int, text: str) -> None:
        """Put a snapshot in line; what waits of that showtime is part of it, or will be put again."""
        self._stretches.pop(showtime_id, None)
        self._heartbeats.pop(showtime_id, None)
        self.versions[showtime_id] = version
        self.tell(text)

    def update(self, stretch: Stretch) -> None:
        """Give the changes that follow upon those given before."""
        self.versions[stretch.showtime_id] = stretch.version
        if self._written_at_once(stretch.prepared):
            return
        waiting = self._stretches.get(stretch.showtime_id)
        self._stretches[stretch.showtime_id] = waiting.then(stretch) if waiting else stretch
        self._something_waits.set()

    def beat(self, showtime_id: int, heartbeat: Prepared) -> None:
        """Give a heartbeat; whoever has not even taken the last one is dropped."""
        if self._written_at_once(heartbeat):
            return
        if showtime_id in self._heartbeats:
            # A line that is cut, or a program that does not read. The server's own pings cannot end it, for before
            # it closes a line it waits until what was written has gone.
            self.drop(TRY_AGAIN_LATER)
        self._heartbeats[showtime_id] = heartbeat
        self._something_waits.set()

    def forget(self, showtime_id: int) -> None:
        """Give nothing more of a showtime."""
        self.joined.discard(showtime_id)
        self.versions.pop(showtime_id, None)
        self._stretches.pop(showtime_id, None)
        self._heartbeats.pop(showtime_id, None)

    def _written_at_once(self, prepared: Prepared) -> bool:
        return not self._something_waits.is_set() and self._offer(prepared.content)

    async def write(self, send: Send) -> None:
        """Send what waits, for as long as the socket lives.

        Args:
            send: writes one frame, and waits for as long as the socket takes no more.
        """
        while True:
            await self._something_waits.wait()
            while texts := self._next():
                for text in texts:
                    await send(text)
            self._something_waits.clear()

    def _next(self) -> tuple[str, ...]:
        if self._line:
            text = self._line.popleft()
            self._line_length -= len(text)
            return (text,)
        if self._stretches:
            return self._stretches.pop(next(iter(self._stretches))).prepared.texts
        if self._heartbeats:
            # After the changes: a heartbeat never tells of a version that is still waiting here.
            return self._heartbeats.pop(next(iter(self._heartbeats))).texts
        return ()
