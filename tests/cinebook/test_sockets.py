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

from cinebook.core.sockets import OFFER, SocketProtocol, frame_of

Application = Callable[[Any, Any, Any], Awaitable[None]]


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


def ping(content: bytes) -> bytes:
    # A mask of zeros changes nothing.
    return bytes([0x89, 0x80 | len(content), 0, 0, 0, 0]) + content


def test_of_pings_whose_answers_nobody_reads_the_latest_is_answered() -> None:
    """Each answer would be kept until it is read, and nothing bounds how many."""
    waiting: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        offer = await opened(scope, receive, send)
        transport = offer.__self__.transport  # type: ignore[attr-defined]
        # The client says so when it has sent all its pings.
        await receive()
        waiting.append(transport.get_write_buffer_size())
        await receive()

    async def scene() -> bytes:
        async with served(application) as address:
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            # Nothing more is read: the kernel's buffers fill up at both ends, and then the server's.
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _many in range(100):
                writer.write(1000 * ping(b"?" * 125))
                await writer.drain()
            writer.write(ping(b"last") + bytes([0x81, 0x82, 0, 0, 0, 0]) + b"{}")
            while not waiting:
                await asyncio.sleep(0)
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            await reader.readuntil(bytes([0x8A, 4]) + b"last")
            writer.close()
            return b"last"

    assert asyncio.run(scene()) == b"last"
    # What it holds at most before it calls itself full, and what one more piece of pings is answered with.
    assert 0 < waiting[0] < 1_000_000


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
