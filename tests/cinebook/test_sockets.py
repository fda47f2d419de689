"""Frames that were made once reach a socket of uvicorn's as those do that it makes itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cinebook.core import sockets
from cinebook.core.sockets import MOST_PARTS, OFFER, SocketProtocol, frame_of

Application = Callable[[Any, Any, Any], Awaitable[None]]


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


@contextlib.asynccontextmanager
async def line_to(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a socket of which everything after the handshake is left to the caller."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader, writer
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def served(application: Application) -> AsyncIterator[str]:
    """Serve an application as `cinebook.web` does; give the address of its sockets."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        config = uvicorn.Config(
            application, ws=SocketProtocol, ws_per_message_deflate=False, lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve([place]))
        try:
            yield f"ws://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def opened(scope: Any, receive: Any, send: Any) -> Callable[[bytes], bool]:
    assert (await receive())["type"] == "websocket.connect"
    offer: Callable[[bytes], bool] = scope["extensions"][OFFER]
    # As long as it is not open, it takes nothing.
    assert not offer(frame_of("too early"))
    await send({"type": "websocket.accept"})
    return offer


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_an_offered_frame_arrives_between_the_others(length: int) -> None:
    text = "é" * (length // 2) + "e" * (length % 2)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        offer = await opened(scope, receive, send)
        await send({"type": "websocket.send", "text": "before"})
        # Once a long one has been taken, there may be no room for another.
        assert offer(frame_of(text) + frame_of("and another"))
        await send({"type": "websocket.send", "text": "after"})
        await receive()

    async def scene() -> list[str | bytes]:
        async with served(application) as address, connect(address) as client:
            return [await client.recv() for _frame in range(4)]

    assert asyncio.run(scene()) == ["before", text, "and another", "after"]


def test_a_socket_that_takes_no_more_refuses_what_it_is_offered() -> None:
    offered: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        offer = await opened(scope, receive, send)
        large = frame_of("x" * 100_000)
        # Nobody reads at the other end: the kernel's buffers take some, and then the server's.
        while len(offered) < 1000 and all(offered):
            offered.append(offer(large))
        await send({"type": "websocket.close"})

    async def scene() -> int:
        async with served(application) as address, connect(address) as client:
            frames = 0
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await client.recv()
                    frames += 1
            return frames

    frames = asyncio.run(scene())

    assert offered == [True] * frames + [False]
    assert frames > 0


def test_a_closed_socket_takes_nothing() -> None:
    offers: list[Callable[[bytes], bool]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        offers.append(await opened(scope, receive, send))
        assert (await receive())["type"] == "websocket.disconnect"

    async def scene() -> bool:
        async with served(application) as address:
            async with connect(address):
                pass
            return offers[0](frame_of("too late"))

    assert asyncio.run(scene()) is False


def test_whoever_asks_and_does_not_listen_is_cut_off() -> None:
    """Each answer would be kept until it is read: nothing bounds how many."""
    ping = bytes([0x89, 0x80 | 125, 0, 0, 0, 0]) + b"?" * 125

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await opened(scope, receive, send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def scene() -> int:
        asked = 0
        async with served(application) as address, line_to(address) as (_reader, writer):
            # Nothing more is read: the kernel's buffers fill up at both ends, and then the server's.
            writer.transport.pause_reading()
            with contextlib.suppress(ConnectionError):
                while asked < 1_000_000:
                    writer.write(1000 * ping)
                    asked += 1000
                    await writer.drain()
        return asked

    assert 0 < asyncio.run(scene()) < 1_000_000


def test_who_reads_slowly_may_ask_whether_the_line_lives() -> None:
    full = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        offer = await opened(scope, receive, send)
        while offer(frame_of("x" * 100_000)):
            pass
        full.set()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def scene() -> None:
        async with served(application) as address, connect(address) as client, asyncio.timeout(5):
            await full.wait()
            answered = await client.ping()
            while not answered.done():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(client.recv(), 0.1)
            await answered

    asyncio.run(scene())
    assert full.is_set()


async def _end(_receive: Any, send: Any) -> None:
    """End a socket as the consumer does, whose close frame may find no room."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await send({"type": "websocket.close"})


async def _hear_out(receive: Any, _send: Any) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


@pytest.mark.parametrize("then", [_end, _hear_out])
def test_a_socket_ends_though_its_other_side_reads_nothing(
    then: Callable[[Any, Any], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends when its application has, or when it has not answered a ping; nobody would count it any more."""
    monkeypatch.setattr(sockets, "LAST_SECONDS", 0.1)
    full, gone = asyncio.Event(), asyncio.Event()

    class Seen(SocketProtocol):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.ping_interval = self.ping_timeout = 0.2

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            gone.set()

    monkeypatch.setattr("tests.cinebook.test_sockets.SocketProtocol", Seen)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        offer = await opened(scope, receive, send)
        while offer(frame_of("x" * 100_000)):
            pass
        full.set()
        await then(receive, send)

    async def scene() -> None:
        async with served(application) as address, line_to(address) as (_reader, writer):
            writer.transport.pause_reading()
            await full.wait()
            async with asyncio.timeout(5):
                await gone.wait()

    asyncio.run(scene())
    assert gone.is_set()


def test_a_message_in_endless_parts_is_cut_off() -> None:
    """Empty parts weigh nothing, so no limit on its length would ever end it."""
    heard: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await opened(scope, receive, send)
        while (message := await receive())["type"] != "websocket.disconnect":
            heard.append(message["text"])

    async def scene() -> None:
        async with served(application) as address, line_to(address) as (reader, writer):
            first, part, last = (bytes([head, 0x80, 0, 0, 0, 0]) for head in (0x01, 0x00, 0x80))
            writer.write(first + (MOST_PARTS - 2) * part + last)
            writer.write(first + (MOST_PARTS - 1) * part + last)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(5):
                    await reader.read()

    asyncio.run(scene())

    assert heard == [""]


def test_what_is_no_handshake_is_refused_as_ever() -> None:
    async def application(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async def scene() -> int:
        async with served(application) as address:
            try:
                await connect(address)
            except InvalidStatus as refused:
                return refused.response.status_code
        return 0

    assert asyncio.run(scene()) == 403
