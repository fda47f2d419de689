"""What lives as long as the server: started in order, ended in reverse, and a failure is told to the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from asgiref.testing import ApplicationCommunicator

from cinebook.core.lifespan import Lifespan


def part(name: str, told: list[str]) -> contextlib.AbstractAsyncContextManager[None]:
    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        if name == "broken":
            raise RuntimeError("it cannot")
        told.append(f"{name} starts")
        yield
        told.append(f"{name} ends")

    return running()


def test_parts_start_in_order_and_end_in_reverse() -> None:
    told: list[str] = []

    async def scene() -> None:
        server = ApplicationCommunicator(
            Lifespan(lambda: part("first", told), lambda: part("second", told)), {"type": "lifespan"}
        )
        await server.send_input({"type": "lifespan.startup"})
        assert (await server.receive_output())["type"] == "lifespan.startup.complete"
        assert told == ["first starts", "second starts"]
        await server.send_input({"type": "lifespan.shutdown"})
        assert (await server.receive_output())["type"] == "lifespan.shutdown.complete"

    asyncio.run(scene())
    assert told == ["first starts", "second starts", "second ends", "first ends"]


def test_a_part_that_cannot_start_stops_the_server_and_ends_the_others() -> None:
    told: list[str] = []

    async def scene() -> None:
        server = ApplicationCommunicator(
            Lifespan(lambda: part("first", told), lambda: part("broken", told)), {"type": "lifespan"}
        )
        await server.send_input({"type": "lifespan.startup"})
        answer = await server.receive_output()
        assert answer == {"type": "lifespan.startup.failed", "message": "it cannot"}
        await server.wait()

    asyncio.run(scene())
    assert told == ["first starts", "first ends"]
