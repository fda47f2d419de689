"""A network of our own making between two parts: a port that leads to another address, and can be made bad on the way.

    with running_proxy("127.0.0.1:6379") as redis:      # or "/the/path/of.sock"
        connect("127.0.0.1", redis.port)
        redis.stall()        # nothing passes any more; what was sent waits
        redis.heal()         # and now it goes on its way

It is a process of its own, so that what passes through does not share an interpreter with the tests, and so that a
busy test does not make the network slow. It ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
CHECKOUT = Path(__file__).resolve().parents[2]
PIECE = 64 * 1024
# A socket that is closed with this says RST, and nothing of what it still had to send.
WITH_A_RESET = struct.pack("ii", 1, 0)
# Which way: from who connected to the proxy, or to them.
UP, DOWN = "up", "down"


@dataclasses.dataclass(frozen=True)
class Weather:
    """What happens to connections.

    Args:
        kind: `pass`, `delay` (each piece waits, either way), `stall` (nothing passes), `reset` (every connection is
            reset, also a new one as soon as it is made), `refuse` (nobody listens), `cut` (each connection is reset
            after so many more bytes), `drop` (what goes in one direction is lost).
        seconds: of `delay`.
        jitter: how many seconds more or less `delay` may be.
        after: bytes of `cut`, both directions together.
        direction: of `drop`: `up`, from who connected, or `down`.
    """

    kind: str = "pass"
    seconds: float = 0.0
    jitter: float = 0.0
    after: int = 0
    direction: str = DOWN


class Proxy:
    """A port at `port` that leads to another address. Its methods may be called from any thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._asking = threading.Lock()
        self.port: int = self._read()["port"]

    def heal(self) -> None:
        """Let everything pass again."""
        self.be(Weather())

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Let each piece wait, either way."""
        self.be(Weather("delay", seconds=seconds, jitter=jitter))

    def stall(self) -> None:
        """Let nothing pass: connections are taken, and then there is silence."""
        self.be(Weather("stall"))

    def reset(self) -> None:
        """Reset every connection, and each new one."""
        self.be(Weather("reset"))

    def refuse(self) -> None:
        """Be a port at which nobody listens; connections that are open are reset."""
        self.be(Weather("refuse"))

    def cut(self, after: int) -> None:
        """Reset each connection, open or new, when so many more bytes have passed."""
        self.be(Weather("cut", after=after))

    def drop(self, direction: str = DOWN) -> None:
        """Lose what goes in one direction: `down`, to who connected, or `up`."""
        self.be(Weather("drop", direction=direction))

    def be(self, weather: Weather) -> None:
        """Be like this from now on; return when it is so."""
        self._ask({"weather": dataclasses.asdict(weather)})

    def break_connections(self) -> None:
        """Reset the connections that are open now, once."""
        self._ask({"break": True})

    @property
    def open_connections(self) -> int:
        """How many connections go through it now."""
        return int(self._ask({})["open"])

    @property
    def accepted_connections(self) -> int:
        """How many connections ever were made to it."""
        return int(self._ask({})["accepted"])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._asking:
            assert self._process.stdin
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the proxy has ended with status {self._process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def running_proxy(target: str) -> Iterator[Proxy]:
    """Run a proxy for as long as the context lasts.

    Args:
        target: where it leads to: `host:port`, or the path of a Unix socket.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.proxy", target],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C is for the test; this process ends when nobody is left who could give it orders.
        start_new_session=True,
    )
    try:
        yield Proxy(process)
    finally:
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(10)
        process.stdout.close()


class _Connection:
    """Two streams, and what passes between them."""

    def __init__(self, relay: _Relay, near: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._relay = relay
        self._near_reader, self._near_writer = near
        self._far_writer: asyncio.StreamWriter | None = None
        self._reset = asyncio.Event()
        self.left: int | None = None

    async def run(self) -> None:
        pumps: list[asyncio.Task[None]] = []
        try:
            far_reader, self._far_writer = await self._relay.connect()
            pumps = [
                asyncio.ensure_future(self._pump(UP, self._near_reader, self._far_writer)),
                asyncio.ensure_future(self._pump(DOWN, far_reader, self._near_writer)),
                asyncio.ensure_future(self._reset.wait()),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            self._reset.set()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in (self._near_writer, self._far_writer):
                if writer:
                    _close(writer, reset=self._reset.is_set())

    def reset(self) -> None:
        self._reset.set()

    async def _pump(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                passing = await self._relay.weathered(direction, piece)
                if self.left is not None:
                    passing, self.left = passing[: self.left], self.left - len(passing)
                writer.write(passing)
                await writer.drain()
                if self.left is not None and self.left <= 0:
                    self._reset.set()


class _Relay:
    """The proxy itself, in its own process."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._weather = Weather()
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[_Connection] = set()
        self._accepted = 0
        self._server: asyncio.Server | None = None
        # It never listens: it keeps the port ours while nobody listens at it.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if "/" in self._target:
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def weathered(self, direction: str, piece: bytes) -> bytes:
        """Return what of a piece passes, when it does."""
        if self._weather.kind == "delay":
            await asyncio.sleep(max(self._weather.seconds + self._weather.jitter * random.uniform(-1, 1), 0))  # noqa: S311
        await self._flows.wait()
        dropped = self._weather.kind == "drop" and self._weather.direction == direction
        return b"" if dropped else piece

    async def be(self, weather: Weather) -> None:
        self._weather = weather
        if weather.kind == "refuse":
            await self.close()
        elif self._server is None:
            await self.listen()
        if weather.kind in {"reset", "refuse"}:
            self.break_connections()
        for connection in self._connections:
            connection.left = weather.after if weather.kind == "cut" else None
        (self._flows.clear if weather.kind == "stall" else self._flows.set)()

    def break_connections(self) -> None:
        for connection in self._connections:
            connection.reset()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._take, sock=_bound(self.port), backlog=512)

    async def close(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    def state(self) -> dict[str, int]:
        return {"port": self.port, "open": len(self._connections), "accepted": self._accepted}

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        connection = _Connection(self, (reader, writer))
        if self._weather.kind in {"reset", "refuse"}:
            _close(writer, reset=True)
            return
        if self._weather.kind == "cut":
            connection.left = self._weather.after
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    connection = writer.get_extra_info("socket")
    if reset:
        # A Unix socket has no RST; its peer sees the end instead.
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, WITH_A_RESET)
        writer.transport.abort()
    else:
        writer.close()


async def _serve(target: str) -> None:
    relay = _Relay(target)
    await relay.listen()
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _say(relay.state())
    while line := await orders.readline():
        order = json.loads(line)
        if "weather" in order:
            await relay.be(Weather(**order["weather"]))
        if "break" in order:
            relay.break_connections()
        _say(relay.state())


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    run(_serve(sys.argv[1]))
