"""What becomes of viewers who lose frames, and whose line is cut without a word.

    .venv/bin/python bench/cut_off.py                  # about a minute
    .venv/bin/python bench/cut_off.py --viewers 20

Viewers are the example client (`examples/follow_showtime.py`), which keeps the rules of docs/protocol.md, in one
process, behind a proxy. While seats change, each loses 30 % of its frames before it has looked at them; then nothing
passes for 20 s, in either direction, and no connection is closed; then everything passes again. It says

- `noticed_s`: how long after the cut viewers knew that they were not live;
- `returned_ms`: from the question on a new line to a map that equals `GET seats/status`, and `questions` asked for it;
- `answered_ms`: what such a question takes for one viewer when nothing else goes on: one round trip.

It ends with an error if a viewer was not equal by the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from websockets.asyncio.client import ClientConnection  # noqa: E402 - the path comes first

from bench.house import Server, environment_of_house, running_house  # noqa: E402
from bench.live import Press, machine, rounded, running_pressers, write_result  # noqa: E402
from cinebook.engines.throwaway import running_engines  # noqa: E402
from examples.follow_showtime import Showtime  # noqa: E402
from tests.support.proxy import Proxy, running_proxy  # noqa: E402

LOST = 0.3
# How long after the cut is over everybody must be back: the longest pause between two attempts, and some.
BACK_WITHIN = 45.0


class Viewer(Showtime):
    """A viewer that loses frames, and keeps account of what it knew when."""

    losing = False
    truth: dict[str, str] | None = None
    """How the seats stand, from when it is known."""

    def __init__(self, address: str, showtime_id: int) -> None:
        super().__init__(address, showtime_id)
        self.noticed_at: float | None = None
        self.asked_at = 0.0
        self.questions = 0
        self.equal_at: float | None = None
        self.equal = asyncio.Event()
        self.lost = 0

    async def _follow(self, line: ClientConnection) -> None:
        self.questions = 0
        try:
            await super()._follow(line)
        finally:
            self.noticed_at = self.noticed_at or time.monotonic()

    async def _join(self, line: ClientConnection) -> None:
        if not self.questions:
            self.asked_at = time.monotonic()
        self.questions += 1
        await super()._join(line)

    def _take(self, frame: dict[str, Any], now: float) -> None:
        if self.losing and random.random() < LOST:
            self.lost += 1
            return
        super()._take(frame, now)
        if self.truth is not None and self.equal_at is None and self.live and self.map.seats() == self.truth:
            self.equal_at = time.monotonic()
            self.equal.set()


async def first_seen(showtime: Showtime) -> float:
    """Return the seconds until a viewer has its first snapshot, from the question for it."""
    async for _changed in showtime.changes():
        break
    assert isinstance(showtime, Viewer)  # noqa: S101 - for the types
    return time.monotonic() - showtime.asked_at


async def suffer(
    chosen: argparse.Namespace, server: Server, proxy: Proxy, showtime: int, press: Press
) -> dict[str, Any]:
    """Let viewers suffer; return what became of them."""
    address = f"http://127.0.0.1:{proxy.port}"
    viewers = [Viewer(address, showtime) for _number in range(chosen.viewers)]
    async with Viewer(address, showtime) as alone:
        answered = await first_seen(alone)
    for viewer in viewers:
        await viewer.__aenter__()
    try:
        await asyncio.gather(*(first_seen(viewer) for viewer in viewers))
        for viewer in viewers:
            viewer.losing = True
        await asyncio.to_thread(press, 5, chosen.losing)
        for viewer in viewers:
            viewer.noticed_at = None

        await asyncio.to_thread(proxy.stall)
        cut_at = time.monotonic()
        await asyncio.to_thread(press, 5, chosen.cut)
        truth = (await asyncio.to_thread(server.ask, "GET", f"showtimes/{showtime}/seats/status"))["seats"]
        for viewer in viewers:
            viewer.losing, viewer.truth = False, truth
        await asyncio.to_thread(proxy.heal)

        # Who is not back by then is counted.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BACK_WITHIN):
                await asyncio.gather(*(viewer.equal.wait() for viewer in viewers))
    finally:
        await asyncio.gather(*(viewer.__aexit__(None, None, None) for viewer in viewers))
    return account(viewers, cut_at, answered)


def account(viewers: list[Viewer], cut_at: float, answered: float) -> dict[str, Any]:
    """Return what became of viewers, in figures."""
    noticed = [viewer.noticed_at - cut_at for viewer in viewers if viewer.noticed_at]
    returned = [(viewer.equal_at - viewer.asked_at) * 1000 for viewer in viewers if viewer.equal_at]
    return {
        "viewers": len(viewers),
        "frames_lost": sum(viewer.lost for viewer in viewers),
        "noticed": len(noticed),
        "noticed_s": spread(noticed),
        "equal": len(returned),
        "returned_ms": spread(returned),
        "questions": {"most": max(viewer.questions for viewer in viewers)},
        "answered_ms": answered * 1000,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the most; nothing of none."""
    return {"median": statistics.median(values), "most": max(values)} if values else {}


def main() -> int:
    """Measure, and print what came of it; return how the process ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--losing", type=float, default=15, help="seconds in which frames are lost")
    parser.add_argument("--cut", type=float, default=20, help="seconds in which nothing passes")
    parser.add_argument("--out", type=Path, help="a folder for cut_off.json, beside the console")
    chosen = parser.parse_args()
    with running_engines() as engines, tempfile.TemporaryDirectory() as folder:
        environment = environment_of_house(engines, Path(folder))
        with running_house(environment) as server:
            showtime, _other = server.largest_showtimes()
            with running_proxy(server.host) as proxy, running_pressers(showtime, environment) as press:
                figures = asyncio.run(suffer(chosen, server, proxy, showtime, press))
    told = rounded({"machine": machine(), **figures})
    print(json.dumps(told, indent=2))
    if chosen.out:
        write_result(chosen.out / "cut_off.json", told)
    return 0 if figures["equal"] == figures["viewers"] else 1


if __name__ == "__main__":
    sys.exit(main())
