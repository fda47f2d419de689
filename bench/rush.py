"""A rush on one showtime: many people take, keep, let go and buy seats at once.

    make run                                     # in one terminal
    .venv/bin/python bench/rush.py --seconds 60  # in another

Prints how long each kind of answer took and how often each came, and ends with an error if an answer was none of the
contract's, or if a seat was sold twice. What it says of speed is true for one machine at
one time: compare only what was measured in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import json
import random
import statistics
import sys
import time
from typing import Any
from urllib.parse import urlsplit

EXPECTED = {200, 201, 402, 409, 410, 429}
MOST_SEATS = 6


class Client:
    """One person with a connection of their own that stays open."""

    def __init__(self, address: str) -> None:
        self.host = urlsplit(address).netloc
        self.token = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, float]:
        """Return the status, the JSON and the seconds of a request; once more where the connection had been closed."""
        for attempt in (1, 2):
            try:
                return await self._ask(method, path, body)
            except (OSError, asyncio.IncompleteReadError):
                self._streams = None
                if attempt == 2:  # noqa: PLR2004 - the second of two
                    raise
        raise AssertionError("the loop returns or raises")

    async def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any, float]:
        if self._streams is None:
            name, _, port = self.host.partition(":")
            self._streams = await asyncio.open_connection(name, int(port or 80))
        reader, writer = self._streams
        payload = json.dumps(body).encode() if body is not None else b""
        head = f"{method} /api/v1/{path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(payload)}\r\n"
        if payload:
            head += "Content-Type: application/json\r\n"
        if self.token:
            head += f"Authorization: Bearer {self.token}\r\n"
        began = time.perf_counter()
        writer.write(head.encode() + b"\r\n" + payload)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(int(line[15:]) for line in answer.lower().split("\r\n") if line.startswith("content-length:"))
        content = await reader.readexactly(length)
        return int(answer.split(" ", 2)[1]), json.loads(content or b"null"), time.perf_counter() - began


@dataclasses.dataclass
class Record:
    """What came of the rush."""

    seconds: dict[str, list[float]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    answers: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
    faults: list[str] = dataclasses.field(default_factory=list)
    bought: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, kind: str, status: int, answer: Any, seconds: float) -> None:
        """Note an answer."""
        code = answer.get("code", "") if isinstance(answer, dict) else ""
        self.seconds[kind].append(seconds)
        self.answers[kind, f"{status} {code if status >= 400 else ''}".strip()] += 1  # noqa: PLR2004
        if status not in EXPECTED:
            self.faults.append(f"{kind}: {status} {answer}")


async def rush(client: Client, showtime: int, codes: list[str], until: float, record: Record, *, pause: float) -> None:
    """Be one person: take one to six random seats, then keep them, let go of them, or buy them.

    Args:
        pause: how long they think before each step, in seconds, give or take a half.
    """
    base = f"showtimes/{showtime}/seats"
    while time.monotonic() < until:
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        wanted = random.sample(codes, random.randint(1, MOST_SEATS))
        status, answer, took = await client.ask("POST", f"{base}/lock", {"seats": wanted})
        record.add("lock", status, answer, took)
        if status == 429:  # noqa: PLR2004
            await asyncio.sleep(answer["retry_after"])
            continue
        if status >= 400:  # noqa: PLR2004
            continue
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        chance = random.random()
        if chance < 0.4:  # noqa: PLR2004 - two in five keep them for longer
            record.add("extend", *await client.ask("PUT", f"{base}/extend-lock", {}))
        if chance < 0.03:  # noqa: PLR2004 - few buy, so that seats last for the whole rush
            await _buy(client, answer["hold_id"], record)
        else:
            record.add("unlock", *await client.ask("DELETE", f"{base}/unlock", {}))


async def _buy(client: Client, hold_id: str, record: Record) -> None:
    order = {
        "hold_id": hold_id,
        "contact": {"name": "Ada Example", "email": "ada@example.org"},
        "payment": {"provider": "demo"},
    }
    status, answer, took = await client.ask("POST", "bookings", order)
    record.add("buy", status, answer, took)
    if status == 201 and answer["status"] == "CONFIRMED":  # noqa: PLR2004
        record.bought.update(answer["seats"])


async def watch(client: Client, showtime: int, until: float, record: Record) -> None:
    """Look at the map once a second."""
    while time.monotonic() < until:
        record.add("status", *await client.ask("GET", f"showtimes/{showtime}/seats/status"))
        await asyncio.sleep(1)


async def main() -> int:
    """Run the rush; return how the process ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0, help="how long each thinks before a step, in seconds")
    parser.add_argument("--showtime", type=int, help="the largest room's next showtime, if not given")
    chosen = parser.parse_args()

    clients = [Client(chosen.address) for _number in range(chosen.clients)]
    for client in clients:
        client.token = (await client.ask("POST", "auth/guest"))[1]["access"]
    _status, listed, _took = await clients[0].ask("GET", "showtimes?page_size=200")
    on_sale = [row for row in listed["results"] if row["on_sale"]]
    showtime = chosen.showtime or max(on_sale, key=lambda row: row["available_seats"])["id"]
    _status, layout, _took = await clients[0].ask("GET", f"showtimes/{showtime}/layout")
    codes = [seat["code"] for row in layout["rows"] for seat in row["seats"]]

    record, until = Record(), time.monotonic() + chosen.seconds
    await asyncio.gather(
        *(rush(client, showtime, codes, until, record, pause=chosen.pause) for client in clients),
        watch(Client(chosen.address), showtime, until, record),
    )
    record.faults += [f"seat {code} was sold {times} times" for code, times in record.bought.items() if times > 1]
    report(record, chosen.seconds, len(codes))
    return 1 if record.faults else 0


def report(record: Record, seconds: float, seats: int) -> None:
    """Print what came of it."""
    print(f"{sum(map(len, record.seconds.values())) / seconds:.0f} answers a second on {seats} seats")
    print(f"{'':8} {'answers':>8} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")
    for kind, times in sorted(record.seconds.items()):
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
        print(f"{kind:8} {len(times):8} {p50 * 1000:8.1f} {p95 * 1000:8.1f} {max(times) * 1000:8.1f}")
    for (kind, answer), count in sorted(record.answers.items()):
        print(f"  {kind} → {answer}: {count}")
    print(f"{len(record.bought)} seats sold; {len(record.faults)} faults", *record.faults[:10], sep="\n  ")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
