"""What is measured while the soak runs, and what comes of it: latencies by fault, recoveries, memory, connections."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psycopg
import redis

from tests.soak.lines import SERVER_ERROR
from tests.soak.people import Sample
from tests.support.cinema import Cinema
from tests.support.promises import Violation

PAGE = os.sysconf("SC_PAGE_SIZE")
# A process is warm when it has lived so long; one is judged when it was seen for so long after that. In seconds.
WARM, JUDGED = 60.0, 180.0
MOST_GROWTH = 2.0
"""MiB a minute."""


@dataclasses.dataclass(frozen=True)
class Struck:
    """A fault as it was: when it began, when it was healed, and when the house was well again, if it was."""

    name: str
    began: float
    healed: float
    recovered: float | None
    database_away: bool
    server_away: str
    area: str = ""

    @property
    def over(self) -> float:
        """When it was over for the people."""
        return self.recovered if self.recovered is not None else self.healed + 60


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read at one moment: memory of each web process by its pid, in MiB; and connections."""

    at: float
    memory: dict[int, float]
    database: int | None
    redis: int | None


class Meter:
    """Reads memory and connections, without the roads."""

    def __init__(self, cinema: Cinema) -> None:
        self._cinema = cinema
        self.readings: list[Reading] = []

    def read(self) -> None:
        """Take a reading."""
        memory = {}
        for web in self._cinema.web:
            pid = web.pid
            with contextlib.suppress(OSError):
                if pid is not None:
                    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    if resident:  # nothing is left of one that has just died
                        memory[pid] = resident * PAGE / 2**20
        self.readings.append(Reading(time.monotonic(), memory, self._database(), self._redis()))

    def _database(self) -> int | None:
        with contextlib.suppress(psycopg.Error):
            url = f"{self._cinema.postgres.url}&connect_timeout=2"
            with psycopg.connect(url, options="-c statement_timeout=1000") as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                ).fetchone()
                return int(row[0]) - 1 if row else None
        return None

    def _redis(self) -> int | None:
        clients = 0
        for server in (self._cinema.redis, self._cinema.messages):
            try:
                with redis.Redis.from_url(server.url, socket_timeout=0.5) as client:
                    clients += int(client.info("clients")["connected_clients"]) - 1
            except redis.RedisError:
                return None
        return clients


def growth(readings: Sequence[Reading]) -> list[Violation]:
    """Return what grew and must not (I11): memory of a process by its slope, connections by their later level."""
    found = []
    for pid, slope, seconds in memory_slopes(readings):
        if slope > MOST_GROWTH:
            found.append(Violation("I11", f"the web process {pid} grew by {slope:.1f} MiB/min for {seconds:.0f} s"))
    for name in ("database", "redis"):
        counts = [count for reading in readings if (count := getattr(reading, name)) is not None]
        quarter = len(counts) // 4
        if quarter >= 30:
            early, late = statistics.median(counts[quarter : 2 * quarter]), statistics.median(counts[-quarter:])
            if late > 1.5 * early + 10:
                found.append(Violation("I11", f"connections to {name} grew from {early:.0f} to {late:.0f}"))
    return found


def memory_slopes(readings: Sequence[Reading]) -> list[tuple[int, float, float]]:
    """Return of each web process that lived long enough its pid, MiB a minute after it was warm, and those seconds."""
    found = []
    for pid in {pid for reading in readings for pid in reading.memory}:
        points = [(reading.at, reading.memory[pid]) for reading in readings if pid in reading.memory]
        warm = [(at, size) for at, size in points if at > points[0][0] + WARM]
        if warm and warm[-1][0] - warm[0][0] >= JUDGED:
            slope = statistics.linear_regression(*zip(*warm, strict=True)).slope
            found.append((pid, slope * 60, warm[-1][0] - warm[0][0]))
    return found


def quantiles(seconds: Iterable[float]) -> dict[str, float] | None:
    """Return the number of values, p50, p95, p99 and the largest, in milliseconds; None without values."""
    values = sorted(seconds)
    if not values:
        return None

    def at(share: float) -> float:
        return round(values[min(int(share * len(values)), len(values) - 1)] * 1000, 1)

    return {"count": len(values), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1)}


def locks(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples that are locks of named seats."""
    return [sample for sample in samples if sample.kind.startswith("lock")]


def answered(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples that had an answer which says what was done."""
    return [sample for sample in samples if 0 < sample.status < SERVER_ERROR]


def alone(struck: Sequence[Struck]) -> list[Struck]:
    """Return the faults during which, and until the house was well again, there was no other."""
    return [
        fault
        for fault in struck
        if not any(other is not fault and other.began < fault.over and fault.began < other.healed for other in struck)
    ]


def latency_by_fault(samples: Sequence[Sample], struck: Sequence[Struck]) -> dict[str, dict[str, float] | None]:
    """Return quantiles of the answered locks while the house was well, and under each fault until it was so again."""
    by_name: dict[str, list[float]] = {"healthy": []}
    for fault in struck:
        by_name.setdefault(fault.name, [])
    for sample in answered(locks(samples)):
        during = {fault.name for fault in struck if fault.began - sample.seconds <= sample.sent <= fault.over}
        for name in during or {"healthy"}:
            by_name[name].append(sample.seconds)
    return {name: quantiles(seconds) for name, seconds in by_name.items()}
