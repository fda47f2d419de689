"""The only door to the channel layer: messages to all processes, sent without waiting, and heard in one place.

Delivery is at most once and best effort; whoever listens finds a lost message by its version. A process hears itself
directly, so what happens in it reaches its own sockets with Redis or without.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from channels.layers import get_channel_layer

log = structlog.get_logger(__name__)

# How long a single operation of the layer may take. Its own timeout is that of a silent subscription, far longer.
LAYER_SECONDS = 2.0
# How many messages may wait to be sent; while the layer hangs, the others are lost at once.
MAX_UNSENT = 1000
# How often a listener sends itself an echo, how long it waits for it, and how long it rests after a failure.
ECHO_SECONDS = 1.0

# Names this process in its own messages.
_PROCESS = uuid.uuid4().hex
_starting = threading.Lock()
_unsent = threading.BoundedSemaphore(MAX_UNSENT)
# Who listens in this process: one for each event loop that serves sockets.
_listeners: tuple[Listener, ...] = ()

Message = dict[str, Any]
Hear = Callable[[Message], None]


def send_to_group(group: str, message: Message) -> None:
    """Send a message to every member of a group, from any thread; return at once.

    Args:
        group: its name.
        message: with a `type`, as Channels wants it; msgpack must be able to carry it.
    """
    message = {**message, "group": group, "sender": _PROCESS}
    for listener in _listeners:
        listener.hear_from_here(message)
    if not _unsent.acquire(blocking=False):
        log.warning("live.message_lost", group=group, error="too many wait to be sent")
        return
    sending = asyncio.run_coroutine_threadsafe(_send(group, message), _loop())
    sending.add_done_callback(lambda _sent: _unsent.release())


async def _send(group: str, message: Message) -> None:
    for attempts_left in (1, 0):
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                await get_channel_layer().group_send(group, message)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody waits for it
            if attempts_left and not isinstance(error, TimeoutError):
                # It may have been a connection left over from before a restart of Redis; the next one is new.
                continue
            log.warning("live.message_lost", group=group, error=str(error) or type(error).__name__)
        return


def _loop() -> asyncio.AbstractEventLoop:
    # The cache alone would let two threads in that send the first messages at the same moment.
    with _starting:
        return _started_loop()


@functools.cache
def _started_loop() -> asyncio.AbstractEventLoop:
    """One loop per process, in a thread of its own: `async_to_sync` would open a loop and a connection per message."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="live", daemon=True).start()
    return loop


class _Broken(Exception):  # noqa: N818 - a turn of events
    """What was subscribed through this connection is not to be trusted: begin anew."""


class Listener:
    """What an event loop hears from the channel layer, through one channel for all groups.

    It proves that it hears by sending itself an echo every second. Where one does not come back, it drops the
    connection with all its subscriptions and begins anew: the layer's own reconnecting leaves silent gaps.

    Args:
        on_turn: called when `healthy` has changed.
    """

    def __init__(self, on_turn: Callable[[], None]) -> None:
        self.healthy = False
        self._on_turn = on_turn
        self._loop = asyncio.get_running_loop()
        self._hears: dict[str, Hear] = {}
        self._channel: str | None = None
        self._echo = asyncio.Event()
        self._in_doubt = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        global _listeners  # noqa: PLW0603 - a new tuple, for other threads walk through the old one
        _listeners = (*_listeners, self)
        self._task = self._loop.create_task(self._listen_always())

    async def close(self) -> None:
        """Hear nothing any more, and leave no connection open."""
        global _listeners  # noqa: PLW0603
        _listeners = tuple(listener for listener in _listeners if listener is not self)
        self._hears.clear()
        await self._drop()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def subscribe(self, group: str, hear: Hear) -> None:
        """Hear a group's messages from now on; if the layer is away, as soon as it is back.

        Args:
            group: its name.
            hear: is called with each message, in the event loop; it must not block.
        """
        self._hears[group] = hear
        if self._channel:
            await self._attempt(get_channel_layer().group_add(group, self._channel))

    async def unsubscribe(self, group: str) -> None:
        """Hear no more of a group."""
        self._hears.pop(group, None)
        if self._channel:
            await self._attempt(get_channel_layer().group_discard(group, self._channel))

    def hear_from_here(self, message: Message) -> None:
        """Hear a message of this process, from any thread."""
        if message["group"] in self._hears:
            # The loop may have been closed in the meantime.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hear, message)

    async def _attempt(self, operation: Any) -> None:
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                await operation
        except Exception:  # noqa: BLE001 - whatever it is, the next connection repairs it
            self._in_doubt = True

    async def _listen_always(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - whatever it is, listening begins anew
                self._turn(healthy=False, why=error)
            await asyncio.sleep(ECHO_SECONDS)

    async def _listen(self) -> None:
        layer = get_channel_layer()
        try:
            channel = await self._connect(layer)
            await _first_to_end(self._receive(layer, channel), self._echo_always(layer, channel))
        finally:
            await self._drop()

    async def _connect(self, layer: Any) -> str:
        """Return a new channel that is in every group that somebody wants to hear."""
        async with asyncio.timeout(LAYER_SECONDS):
            channel: str = await layer.new_channel()
            joined: set[str] = set()
            # While these wait, more may come to be wanted, or less.
            while self._hears.keys() != joined:
                for group in self._hears.keys() - joined:
                    await layer.group_add(group, channel)
                    joined.add(group)
                for group in joined - self._hears.keys():
                    await layer.group_discard(group, channel)
                    joined.discard(group)
        self._channel, self._in_doubt = channel, False
        return channel

    async def _receive(self, layer: Any, channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            if message["type"] == "live.echo":
                self._echo.set()
            elif message.get("sender") != _PROCESS:
                self._hear(message)

    async def _echo_always(self, layer: Any, channel: str) -> None:
        while not self._in_doubt:
            self._echo.clear()
            async with asyncio.timeout(ECHO_SECONDS):
                await layer.send(channel, {"type": "live.echo"})
                await self._echo.wait()
            self._turn(healthy=True)
            await asyncio.sleep(ECHO_SECONDS)
        raise _Broken

    def _hear(self, message: Message) -> None:
        hear = self._hears.get(message.get("group", ""))
        if hear is None:
            return
        try:
            hear(message)
        except Exception:
            log.exception("live.message_not_understood", group=message["group"])

    async def _drop(self) -> None:
        self._channel = None
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LAYER_SECONDS):
                await get_channel_layer().flush()

    def _turn(self, *, healthy: bool, why: BaseException | None = None) -> None:
        if healthy == self.healthy:
            return
        self.healthy = healthy
        if healthy:
            log.info("live.listening", groups=len(self._hears))
        else:
            log.warning("live.deaf", error=str(why) or type(why).__name__)
        self._on_turn()


async def _first_to_end(*works: Any) -> None:
    """Run works side by side until one of them ends or fails; end the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
