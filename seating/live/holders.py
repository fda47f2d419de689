"""The sockets of one holder in this process: what happens to their holds is told to all of them, and to nobody else."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog
from django.db import Error as DatabaseError

from seating.live.audience import Spawn
from seating.live.frames import frame
from seating.live.threads import hub_thread
from seating.live.viewer import Viewer
from seating.selectors.holds import live_hold
from seating.serializers import HoldSerializer

log = structlog.get_logger(__name__)

# How many events of one holder may wait to be told; the oldest are forgotten first.
MAX_WAITING = 64
# How many of a holder's frames are worked on at a time, over all their sockets in this process: else one of them with
# many sockets would keep all threads busy, and everybody else would wait.
AT_ONCE = 2
# What makes two messages the same event, whichever process sent them.
EVENT_FIELDS = {"type", "showtime_id", "hold_id", "seats"}


class HolderSockets:
    """A holder's sockets. Events are told one after the other, in the order in which they came.

    Args:
        holder_id: whose.
        spawn: starts a task that the hub ends when it closes.
    """

    def __init__(self, holder_id: int, spawn: Spawn) -> None:
        self.viewers: dict[Viewer, None] = {}
        self.holder_id = holder_id
        # Whoever works on a frame of theirs holds it.
        self.turn = asyncio.Semaphore(AT_ONCE)
        self._spawn = spawn
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)
        self._telling = False

    def hear(self, message: dict[str, Any]) -> None:
        """Take a message of the holder's group."""
        event = {name: value for name, value in message.items() if name in EVENT_FIELDS}
        # The hold is read when its turn comes, so one that waits stands for those that follow it.
        if self._waiting and self._waiting[-1] == event:
            return
        self._waiting.append(event)
        if not self._telling:
            self._telling = True
            self._spawn(self._tell())

    async def _tell(self) -> None:
        try:
            while self._waiting:
                text = await self._text(self._waiting.popleft())
                for viewer in self.viewers:
                    # A token that has run out no longer speaks for the holder.
                    if text and viewer.visitor.claimant:
                        viewer.tell(text)
        finally:
            self._telling = False

    async def _text(self, event: dict[str, Any]) -> str | None:
        showtime_id = event["showtime_id"]
        if event["type"] == "hold.expired":
            return frame(
                "hold:expired", {"showtime_id": showtime_id, "hold_id": event["hold_id"], "seats": event["seats"]}
            )
        try:
            return await hub_thread().run(_changed_hold, self.holder_id, showtime_id)
        except DatabaseError as error:
            log.warning("live.hold_not_read", showtime_id=showtime_id, error=str(error))
            return None


def _changed_hold(holder_id: int, showtime_id: int) -> str:
    hold = live_hold(holder_id=holder_id, showtime_id=showtime_id)
    return frame("hold:changed", {"showtime_id": showtime_id, "hold": HoldSerializer(hold).data if hold else None})
