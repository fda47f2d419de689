"""The viewers of one showtime in this process: they are told every change once, in order, all in the same bytes."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from django.db import Error as DatabaseError

from cinebook.core.errors import ErrorCode, Refusal
from seating.events import SeatsChanged
from seating.identity import Claimant
from seating.live.frames import FrameId, Prepared, Stretch, answering, frame, heartbeat
from seating.live.presence import presence
from seating.live.stream import SeatStream
from seating.live.threads import hub_thread, service_threads
from seating.live.viewer import TRY_AGAIN_LATER, Viewer
from seating.selectors.holds import live_hold
from seating.selectors.seat_changes import changes_since, holders_at
from seating.selectors.seat_map import SaleState, seat_snapshot
from seating.serializers import seat_status
from seating.services import make_missing_seats

log = structlog.get_logger(__name__)

# The first change goes out at once; those that come within this time after a frame share the next one.
GATHER_SECONDS = 0.03
# How long a missing change may be on its way before the ledger is asked for it.
PATIENCE_SECONDS = 0.1
# How many changes are remembered for those whose snapshot was read just before them.
REMEMBERED = 200
# A snapshot older than that is read again, so often.
SNAPSHOT_ATTEMPTS = 5

Spawn = Callable[[Coroutine[Any, Any, None]], Any]


class Audience:
    """Everybody in this process who watches a showtime.

    Args:
        showtime_id: which.
        spawn: starts a task that the hub ends when it closes.
        on_empty: called when those who were to be shown the seats anew have all left meanwhile.
    """

    def __init__(self, showtime_id: int, spawn: Spawn, on_empty: Callable[[Audience], None]) -> None:
        self.showtime_id = showtime_id
        self.viewers: dict[Viewer, None] = {}
        # How many are about to join: their snapshots are being read.
        self.joining = 0
        self._spawn = spawn
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        # One snapshot is read at a time; whoever comes meanwhile shares the next.
        self._reading = asyncio.Lock()
        self._next_read: asyncio.Future[tuple[_Snapshot, set[int]]] | None = None
        # How the sale stands, as everybody was told; and whether that is being looked at, or is to be once more.
        self._sale: SaleState | None = None
        self._looking = False
        self._look_again = False
        self._start_anew()

    @property
    def is_empty(self) -> bool:
        """Whether nobody watches, nor is about to."""
        return not self.viewers and not self.joining

    @property
    def version(self) -> int | None:
        """The version up to which all changes are known; None before the first snapshot."""
        return self._stream.version

    def _start_anew(self) -> None:
        self._stream = SeatStream()
        # The version to which all viewers have been led, what waits to be told, and what was told lately.
        self._told = 0
        self._gathered: list[SeatsChanged] = []
        self._told_at = -math.inf
        self._lately: deque[SeatsChanged] = deque(maxlen=REMEMBERED)
        self._patience: asyncio.TimerHandle | None = None
        self._asking = False

    # --- Who comes and goes ------------------------------------------------------------------------------------------

    async def admit(self, viewer: Viewer, frame_id: FrameId | None = None) -> None:
        """Show somebody the seats as they stand, and every change from then on.

        The group must have been subscribed to before: whatever the snapshot does not have yet is then heard.

        Args:
            viewer: who wants to watch, or to begin anew; nothing happens if they leave meanwhile.
            frame_id: of the frame that asked for it.

        Raises:
            Refusal: `not_found` if there is no such showtime.
        """
        self.joining += 1
        try:
            for _attempt in range(SNAPSHOT_ATTEMPTS):
                snapshot = await self._snapshot_for(viewer)
                if self._admitted(viewer, snapshot, frame_id):
                    return
        finally:
            self.joining -= 1
        raise Refusal(ErrorCode.UNAVAILABLE, retry_after=1)

    async def _snapshot_for(self, viewer: Viewer) -> _Snapshot:
        """Read the seats as they stand: once for all who come while they are being read, but for those with a hold."""
        if self._next_read is None:
            self._next_read = asyncio.ensure_future(self._read_for_all())
        # Whoever waits may leave, and the others still want it.
        snapshot, holders = await asyncio.shield(self._next_read)
        claimant = viewer.visitor.claimant
        if claimant is None or claimant.holder_id not in holders:
            return snapshot
        return await service_threads().run(_snapshot, self.showtime_id, claimant)

    async def _read_for_all(self) -> tuple[_Snapshot, set[int]]:
        async with self._reading:
            # For those who come from now on, what is read here may be too old.
            self._next_read = None
            return await service_threads().run(_snapshot_for_strangers, self.showtime_id)

    def _admitted(self, viewer: Viewer, snapshot: _Snapshot, frame_id: FrameId | None = None) -> bool:
        """Show a snapshot and what has been told since; return False if it is too old for that."""
        version = snapshot.version
        if self._sale is None:
            self._sale = snapshot.sale
        self.hear_of_sale(snapshot.sale)
        if self._stream.version is None:
            self._stream.start(version)
            self._told = version
        late = [event for event in self._lately if event.version > version]
        if version < self._told and (not late or late[0].from_version != version):
            return False
        if self.showtime_id in viewer.joined:
            self.viewers[viewer] = None
            viewer.show(showtime_id=self.showtime_id, version=version, text=answering(snapshot.text, frame_id))
            if late:
                viewer.update(Stretch.of(late))
        self.hear_of(version)
        return True

    def dismiss(self, viewer: Viewer) -> None:
        """Tell somebody nothing more."""
        self.viewers.pop(viewer, None)
        viewer.forget(self.showtime_id)

    def resync(self) -> None:
        """Show everybody the seats anew, because the changes no longer lead from what they know to what is true."""
        log.warning("live.resync", showtime_id=self.showtime_id, viewers=len(self.viewers))
        self._forget_patience()
        viewers, self.viewers = self.viewers, {}
        self._start_anew()
        for viewer in viewers:
            self._readmit(viewer)

    def _readmit(self, viewer: Viewer) -> None:
        # They count from now on, or who leaves before the task has begun would end what these rely on.
        self.joining += 1
        self._spawn(self._admit_again(viewer))

    async def _admit_again(self, viewer: Viewer) -> None:
        try:
            await self.admit(viewer)
        except (Refusal, DatabaseError) as error:
            # Nothing can be promised to them any more; whoever opens a new socket sees what is true.
            log.warning("live.resync_failed", showtime_id=self.showtime_id, error=str(error))
            viewer.drop(TRY_AGAIN_LATER)
        finally:
            self.joining -= 1
            if self.is_empty:
                self._on_empty(self)

    # --- What changes ------------------------------------------------------------------------------------------------

    def hear(self, message: dict[str, Any]) -> None:
        """Take a message of the showtime's group."""
        if message["type"] == "sale.changed":
            self._look_at_sale()
            return
        event = SeatsChanged(self.showtime_id, message["version"], message["changes"])
        if any(told.version == event.version and told != event for told in (*self._lately, *self._gathered)):
            # PostgreSQL was put back to an earlier state and has gone on from there to the same version.
            self.resync()
            return
        self._stream.hear(event)
        self._advance()

    def show_anew(self) -> None:
        """Show everybody the seats anew: something that has no version may have been missed, such as their holds."""
        self._look_at_sale()

    def hear_of(self, version: int, *, patience: float = PATIENCE_SECONDS) -> None:
        """Learn that a version has been committed; what leads to it must come within `patience` seconds."""
        self._stream.hear_of(version)
        self._advance(patience)

    def hear_of_sale(self, sale: SaleState) -> None:
        """Learn how the sale stands, or stood a moment ago: if everybody was told something else, it is looked at."""
        if sale is not self._sale:
            self._look_at_sale()

    def _look_at_sale(self) -> None:
        self._look_again = True
        if not self._looking:
            self._looking = True
            self._spawn(self._show_sale())

    async def _show_sale(self) -> None:
        """Show everybody the seats anew, with the sale as it stands: one snapshot for all who hold nothing."""
        try:
            while self._look_again:
                self._look_again = False
                snapshot, holders = await service_threads().run(_snapshot_for_strangers, self.showtime_id)
                self._sale = snapshot.sale
                for viewer in tuple(self.viewers):
                    if viewer.holder_id in holders or not self._admitted(viewer, snapshot):
                        self._readmit(viewer)
        except (Refusal, DatabaseError) as error:
            # The next check of all versions leads here again.
            log.warning("live.sale_not_read", showtime_id=self.showtime_id, error=str(error))
        finally:
            self._looking = False

    def beat(self, server_time: dt.datetime) -> None:
        """Tell everybody at which version they are, and how many look on."""
        prepared = Prepared(
            heartbeat(
                showtime_id=self.showtime_id,
                version=self._told,
                server_time=server_time,
                viewers=presence().count(self.showtime_id),
            )
        )
        for viewer in self.viewers:
            viewer.beat(self.showtime_id, prepared)

    def close(self) -> None:
        """Stop waiting for anything."""
        self._forget_patience()
        self._gathered.clear()

    def _advance(self, patience: float = PATIENCE_SECONDS) -> None:
        if events := self._stream.take():
            if not self._gathered:
                # Never in this very turn of the loop, for what else it has heard belongs to the same frame.
                self._loop.call_at(max(self._loop.time(), self._told_at + GATHER_SECONDS), self._tell)
            self._gathered += events
            # Something else may be missing now.
            self._forget_patience()
        if not self._stream.is_behind:
            self._forget_patience()
        elif not self._asking and self._patience is None:
            self._patience = self._loop.call_later(patience, self._ask)

    def _tell(self) -> None:
        events, self._gathered = self._gathered, []
        if not events:
            return
        stretch = Stretch.of(events)
        self._told, self._told_at = stretch.version, self._loop.time()
        self._lately.extend(events)
        for viewer in self.viewers:
            known = viewer.versions[self.showtime_id]
            if known == stretch.from_version:
                viewer.update(stretch)
            elif known < stretch.version:
                # Their snapshot was read in the middle of it.
                viewer.update(Stretch.of([event for event in events if event.version > known]))

    def _forget_patience(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None

    def _ask(self) -> None:
        self._patience, self._asking = None, True
        self._spawn(self._read_missing(self._stream))

    async def _read_missing(self, stream: SeatStream) -> None:
        known = stream.version
        assert known is not None, "only a stream that has started can be behind"  # noqa: S101
        try:
            events = await hub_thread().run(changes_since, showtime_id=self.showtime_id, version=known)
        except DatabaseError as error:
            # The next check of all versions leads here again.
            log.warning("live.ledger_not_read", showtime_id=self.showtime_id, error=str(error))
            return
        finally:
            self._asking = False
        if stream is not self._stream:
            return
        if stream.version == known and not events:
            self.resync()
            return
        for event in events:
            stream.hear(event)
        log.info("live.healed", showtime_id=self.showtime_id, versions=len(events))
        self._advance()


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    """The frame that shows somebody the seats of a showtime, their version, and how the sale stands in it."""

    version: int
    sale: SaleState
    text: str


def _snapshot(showtime_id: int, claimant: Claimant | None) -> _Snapshot:
    """Return the frame that shows somebody the seats."""
    holder_id = claimant.holder_id if claimant else None
    hold = live_hold(holder_id=holder_id, showtime_id=showtime_id) if holder_id else None
    snapshot = seat_snapshot(showtime_id=showtime_id, holder_id=holder_id)
    if not snapshot.seats and make_missing_seats(showtime_id=showtime_id):
        snapshot = seat_snapshot(showtime_id=showtime_id, holder_id=holder_id)
    states = seat_status(snapshot, hold, viewers=presence().count(showtime_id))
    return _Snapshot(version=snapshot.version, sale=snapshot.sale, text=frame("seats:availability", states))


def _snapshot_for_strangers(showtime_id: int) -> tuple[_Snapshot, set[int]]:
    """Return the frame that shows the seats to those who hold none, and who does hold some."""
    snapshot = _snapshot(showtime_id, None)
    # After the snapshot: whoever has let go between the two holds nothing now, as the frame says.
    return snapshot, holders_at(showtime_id=showtime_id)
