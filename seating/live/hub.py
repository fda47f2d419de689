"""The hub of an event loop: all its sockets hear through it, so that a change costs a process once, not each viewer."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import weakref
from collections.abc import Coroutine
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.utils import timezone

from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.live import Listener, send_to_group
from seating.events import holder_group, showtime_group
from seating.live.audience import Audience
from seating.live.frames import FrameId
from seating.live.holders import HolderSockets
from seating.live.presence import PRESENCE_GROUP, REPORT_SECONDS, presence
from seating.live.sessions import ended_sessions
from seating.live.threads import hub_thread, service_threads
from seating.live.viewer import POLICY_VIOLATION, Viewer
from seating.selectors.seat_changes import current_versions

log = structlog.get_logger(__name__)

# How many showtimes one socket may watch.
MAX_JOINED = 20
HEARTBEAT_SECONDS = 10.0
# How often the sessions behind the sockets are asked whether they still say the same.
SESSION_SECONDS = 30.0
# How often the versions of all watched showtimes are compared with PostgreSQL's.
CHECK_SECONDS = 10.0
# The same while the channel layer is away: a hold that ran out must be seen within 2 s, of which expiry takes 1 s.
CHECK_WHILE_DEAF_SECONDS = 0.8
# A showtime that is new here is compared once more after this time: its subscription may have come into force a little
# after its first snapshot was read.
FIRST_CHECK_SECONDS = 1.0


class Hub:
    """Connects the sockets of an event loop with what happens to seats and holds anywhere."""

    def __init__(self) -> None:
        self._audiences: dict[int, Audience] = {}
        self._openings: dict[int, asyncio.Future[None]] = {}
        self._holders: dict[int, HolderSockets] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._check_now = asyncio.Event()
        self._report_now = asyncio.Event()
        self._wants_answers = False
        self._listener = Listener(on_turn=self._turned)
        self._clock = ServerClock()

    def start(self) -> None:
        """Begin to listen, to check and to beat."""
        self._listener.start()
        self._spawn(self._listener.subscribe(PRESENCE_GROUP, self._hear_of_presence))
        self._spawn(self._report_always())
        self._spawn(self._check_always())
        self._spawn(self._beat_always())
        self._spawn(self._check_sessions_always())

    async def close(self) -> None:
        """End every task, and hear nothing any more."""
        for audience in self._audiences.values():
            audience.close()
        await self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- Sockets -----------------------------------------------------------------------------------------------------

    def enter(self, viewer: Viewer) -> None:
        """Take in a new socket; from now on it is told what happens to its holder's holds."""
        holder_id = viewer.holder_id
        if holder_id is None:
            return
        sockets = self._holders.get(holder_id)
        if sockets is None:
            sockets = self._holders[holder_id] = HolderSockets(holder_id, self._spawn)
            self._spawn(self._listener.subscribe(holder_group(holder_id), sockets.hear))
        sockets.viewers[viewer] = None

    def turn_of(self, viewer: Viewer) -> contextlib.AbstractAsyncContextManager[None]:
        """Return what is entered while a frame of a socket that has entered is worked on: it waits for its turn."""
        return self._holders[viewer.holder_id].turn if viewer.holder_id else contextlib.nullcontext()

    def leave(self, viewer: Viewer) -> None:
        """Forget a socket."""
        for showtime_id in tuple(viewer.joined):
            self.unwatch(viewer, showtime_id)
        sockets = self._holders.get(viewer.holder_id) if viewer.holder_id else None
        if sockets:
            sockets.viewers.pop(viewer, None)
            if not sockets.viewers:
                del self._holders[sockets.holder_id]
                self._spawn(self._listener.unsubscribe(holder_group(sockets.holder_id)))

    def present(self) -> set[tuple[int, int]]:
        """Return the holder and the showtime of each socket that watches one; from any thread."""
        return {
            (sockets.holder_id, showtime_id)
            for sockets in tuple(self._holders.values())
            for viewer in tuple(sockets.viewers)
            for showtime_id in tuple(viewer.joined)
        }

    async def watch(self, viewer: Viewer, showtime_id: int, frame_id: FrameId | None = None) -> None:
        """Show a socket the seats of a showtime, now and as they change; again, if it watches it already.

        Args:
            viewer: the socket.
            showtime_id: which.
            frame_id: of the frame that asked for it.

        Raises:
            Refusal: `not_found`; `invalid_data` if it watches too many.
        """
        if showtime_id not in viewer.joined and len(viewer.joined) >= MAX_JOINED:
            raise Refusal(ErrorCode.INVALID_DATA, f"One socket may watch {MAX_JOINED} showtimes.", limit=MAX_JOINED)
        if showtime_id not in viewer.joined:
            viewer.joined.add(showtime_id)
            presence().come(showtime_id, viewer.mark)
        audience = self._audiences.get(showtime_id) or self._open(showtime_id)
        try:
            # Subscribe, then read, then tell what was heard meanwhile: so nothing is missed.
            audience.joining += 1
            await asyncio.shield(self._openings[showtime_id])
            await audience.admit(viewer, frame_id)
        except Exception:
            if viewer not in audience.viewers:
                self._forget(viewer, showtime_id)
            raise
        finally:
            audience.joining -= 1
            self._close_if_empty(audience)

    def unwatch(self, viewer: Viewer, showtime_id: int) -> None:
        """Show a socket no more of a showtime."""
        self._forget(viewer, showtime_id)
        audience = self._audiences.get(showtime_id)
        if audience:
            audience.dismiss(viewer)
            self._close_if_empty(audience)

    def _forget(self, viewer: Viewer, showtime_id: int) -> None:
        if showtime_id in viewer.joined:
            presence().go(showtime_id, viewer.mark)
        viewer.forget(showtime_id)

    def _open(self, showtime_id: int) -> Audience:
        audience = self._audiences[showtime_id] = Audience(showtime_id, self._spawn, self._close_if_empty)
        subscribing = self._listener.subscribe(showtime_group(showtime_id), audience.hear)
        self._openings[showtime_id] = self._spawn(subscribing)
        asyncio.get_running_loop().call_later(FIRST_CHECK_SECONDS, self._check_now.set)
        return audience

    def _close_if_empty(self, audience: Audience) -> None:
        showtime_id = audience.showtime_id
        if audience.is_empty and self._audiences.get(showtime_id) is audience:
            audience.close()
            del self._audiences[showtime_id], self._openings[showtime_id]
            self._spawn(self._listener.unsubscribe(showtime_group(showtime_id)))

    # --- What goes on by itself --------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("live.task_failed", exc_info=error)

    async def _beat_always(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            now = self._clock.now()
            for audience in self._audiences.values():
                audience.beat(now)

    def _turned(self) -> None:
        """The channel layer is back, or gone."""
        self._check_now.set()
        self._wants_answers = self._listener.healthy
        self._report_now.set()
        if self._listener.healthy:
            # Versions do not tell what has become of somebody's hold meanwhile.
            for audience in self._audiences.values():
                audience.show_anew()

    async def _report_always(self) -> None:
        """Tell the other processes who is here, as long as there is anybody; and ask them for the same at first."""
        told_of_some = False
        while True:
            await _first_of(self._report_now, seconds=REPORT_SECONDS)
            report = presence().report()
            if self._listener.healthy and (report or told_of_some or self._wants_answers):
                send_to_group(PRESENCE_GROUP, presence().message(report, wants_answers=self._wants_answers))
                told_of_some, self._wants_answers = bool(report), False

    def _hear_of_presence(self, message: dict[str, Any]) -> None:
        if presence().hear(message):
            self._report_now.set()

    async def _check_always(self) -> None:
        while True:
            pause = CHECK_SECONDS if self._listener.healthy else CHECK_WHILE_DEAF_SECONDS
            await _first_of(self._check_now, seconds=pause)
            await self._check()

    async def _check(self) -> None:
        """Ask PostgreSQL, in one statement, whether something was missed at any of the watched showtimes."""
        known = {number: audience.version for number, audience in self._audiences.items()}
        started = {number: version for number, version in known.items() if version is not None}
        if not started:
            return
        asked_at = asyncio.get_running_loop().time()
        try:
            time, versions = await hub_thread().run(current_versions, showtime_ids=list(started))
        except DatabaseError as error:
            log.warning("live.versions_not_read", error=str(error))
            return
        if time:
            self._clock.set(time, asked_at)
        for showtime_id in started.keys() - versions.keys():
            if started[showtime_id] and (audience := self._audiences.get(showtime_id)):
                # PostgreSQL was put back to a state in which nobody had used it yet.
                audience.resync()
        for showtime_id, (version, sale) in versions.items():
            audience = self._audiences.get(showtime_id)
            if audience is None:
                continue
            audience.hear_of_sale(sale)
            if version < started[showtime_id]:
                # PostgreSQL was put back to an earlier state: what everybody was told is no longer so.
                audience.resync()
            elif self._listener.healthy:
                audience.hear_of(version)
            else:
                # No message is on its way.
                audience.hear_of(version, patience=0)

    async def _check_sessions_always(self) -> None:
        while True:
            await asyncio.sleep(SESSION_SECONDS)
            await self._check_sessions()

    async def _check_sessions(self) -> None:
        """Close the sockets whose session no longer says who they are; whoever opens a new one is who they are now."""
        shown = {
            viewer: viewer.visitor.session
            for sockets in self._holders.values()
            for viewer in sockets.viewers
            if viewer.visitor.session
        }
        if not shown:
            return
        try:
            ended = await service_threads().run(ended_sessions, set(shown.values()))
        except DatabaseError as error:
            log.warning("live.sessions_not_read", error=str(error))
            return
        for viewer, session in shown.items():
            if session in ended:
                viewer.drop(POLICY_VIOLATION)


async def _first_of(event: asyncio.Event, *, seconds: float) -> None:
    """Return when the event is set, which is cleared, or after so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()


class ServerClock:
    """PostgreSQL's time, without asking for it each time."""

    def __init__(self) -> None:
        self._ahead: dt.timedelta | None = None

    def set(self, time: dt.datetime, at: float) -> None:
        """Learn what PostgreSQL's time was at a time of the event loop's clock."""
        self._ahead = time - dt.datetime.fromtimestamp(at, dt.UTC)

    def now(self) -> dt.datetime:
        """Return PostgreSQL's time; the machine's own, as long as nobody has asked."""
        if self._ahead is None:
            return timezone.now()
        return dt.datetime.fromtimestamp(asyncio.get_running_loop().time(), dt.UTC) + self._ahead


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop; it was started with the server."""
    return _hubs[asyncio.get_running_loop()]


class LiveUpdates:
    """The hub, as something that lives and ends with a web process."""

    def start(self) -> None:
        """Start the hub of the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._hub = _hubs[self._loop] = Hub()
        self._hub.start()

    def present(self) -> set[tuple[int, int]]:
        """Return the holder and the showtime of each socket that watches one; from any thread."""
        return self._hub.present()

    def stop(self) -> None:
        """End it, from another thread; the event loop goes on meanwhile."""
        asyncio.run_coroutine_threadsafe(self._hub.close(), self._loop).result()
        del _hubs[self._loop]
