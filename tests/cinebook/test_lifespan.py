"""What accompanies a web process begins before its first request and ends after its last."""

from __future__ import annotations

import asyncio

from cinebook.lifespan import Lifespan


def test_companions_start_in_order_and_stop_in_the_opposite_one() -> None:
    happened: list[str] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def start(self) -> None:
            happened.append(f"{self.name} starts")

        def stop(self) -> None:
            happened.append(f"{self.name} stops")

    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        return {"type": next(messages)}

    async def send(message: dict[str, str]) -> None:
        happened.append(message["type"])

    asyncio.run(Lifespan(Recorder("one"), Recorder("two"))({"type": "lifespan"}, receive, send))

    assert happened == [
        "one starts",
        "two starts",
        "lifespan.startup.complete",
        "two stops",
        "one stops",
        "lifespan.shutdown.complete",
    ]
