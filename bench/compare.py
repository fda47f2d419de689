"""CineBook beside the textbook and beside the limits of the machine: `make bench`.

    .venv/bin/python -m bench.compare                     # some minutes, on a machine that has nothing else to do
    .venv/bin/python -m bench.compare --rounds 1 --seconds 1 --only hold

The textbook (`bench/textbook/`) and CineBook, as `make run` serves it but without rate limits, take turns with the same
PostgreSQL, whose commits outlive a power cut, and the same Redis. What they say of speed is true for one machine at one
time: only the ratios of one run can be compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import http_load
from bench.house import ROOT, Server, environment_of_house, running, running_house
from bench.live import machine, quantile, rounded, write_result
from bench.scenes import CLIENTS, PEOPLE, SCENES, CineBook, Cinema, Scene, SellOut, Stage, Textbook
from cinebook.engines.postgres import Survives
from cinebook.engines.throwaway import Engines, running_engines

# What gunicorn recommends for two cores.
TEXTBOOK_WORKERS = 5
ROOM, LARGE_ROOM = (15, 20), (25, 80)
SELL_OUT_PEOPLE = 2000


class Kind:
    """One of those who are compared: how it is prepared and started.

    Args:
        name: what it is called.
        cinema: how it is asked.
        engines: what it stands on, with a database of its own.
        folder: an empty one, for its data and its log.
    """

    def __init__(self, name: str, cinema: Cinema, engines: Engines, folder: Path) -> None:
        self.name = name
        self.cinema = cinema
        self.folder = folder
        folder.mkdir()
        own = f"bench_{name}"
        with psycopg.connect(engines.postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {own}")
        url = engines.postgres.url
        self.environment = environment_of_house(engines, folder) | {
            "DATABASE_URL": url.replace("/cinebook?", f"/{own}?"),
            "PAYMENT_PROVIDERS": "demo",
            "DEMO_CINEMA": "off",
            "DJANGO_SETTINGS_MODULE": "bench.textbook.settings" if name == "textbook" else "cinebook.settings",
        }

    def prepare(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make showtimes and people; return their ids and tokens."""
        program = ["-m", "bench.textbook.prepare"] if self.name == "textbook" else ["bench/cinema.py"]
        told = subprocess.run(  # noqa: S603 - its own
            [sys.executable, *program, json.dumps(wanted)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        made: Mapping[str, Any] = json.loads(told.stdout)
        return made

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Run its server, for as long as the context lasts."""
        if self.name == "cinebook":
            with running_house(self.environment) as server:
                yield server
        else:
            gunicorn = ["-m", "gunicorn", "bench.textbook.wsgi", "--bind=127.0.0.1:{port}"]
            workers = [f"--workers={TEXTBOOK_WORKERS}", "--log-level=warning"]
            with running([*gunicorn, *workers], self.environment) as server:
                yield server


class Meter:
    """What the processes of a server and of its engines use of the CPU."""

    def __init__(self, server: Server, engines: Engines) -> None:
        self._groups = {
            "web": [server.process.pid],
            "postgres": [engines.postgres.pid],
            "redis": [engines.redis.pid] if engines.redis.pid else [],
        }
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self._groups.items()}

    def spent(self) -> dict[str, float]:
        """Return the seconds since it was made, by group."""
        return {name: seconds - self._before[name] for name, seconds in self._read().items()}


def cpu_seconds(pid: int) -> float:
    """Return what a process and its children have used of the CPU, those included that have ended."""
    process = psutil.Process(pid)
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        times = one.cpu_times()
        total += times.user + times.system
        if one.pid == pid:
            total += times.children_user + times.children_system
    return total


# --- One scene -------------------------------------------------------------------------------------------------------


def play(
    scene: Scene, stage: Stage, server: Server, engines: Engines, *, seconds: float, profile: Path | None
) -> dict[str, Any]:
    """Play a scene; return its figures.

    Args:
        profile: a file for a flame graph of one of the web processes, or None; it slows them down.
    """
    meter = Meter(server, engines)
    with profiled(server, profile, seconds):
        replies = http_load.run(port_of(server), scene.clients(stage), seconds=seconds)
    spent = meter.spent()
    right = [reply for reply in replies if reply.status in scene.right]
    if not right:
        raise RuntimeError(f"{scene.name}: {replies[:1]}")
    took = max(reply.sent + reply.seconds for reply in right) - right[0].sent
    times = [reply.seconds * 1000 for reply in right]
    return {
        "per_second": len(right) / took,
        "p50_ms": statistics.median(times),
        "p95_ms": quantile(times, 0.95),
        "p99_ms": quantile(times, 0.99),
        "answers": len(right),
        "other_answers": len(replies) - len(right),
        "cpu_ms": {name: seconds * 1000 / len(replies) for name, seconds in spent.items()},
    }


@contextmanager
def profiled(server: Server, path: Path | None, seconds: float) -> Iterator[None]:
    """Watch with py-spy what one of the web processes does."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The last one: the first may be a helper of multiprocessing.
    watched = max(server.workers(), key=lambda process: process.pid)
    command = [str(Path(sys.executable).parent / "py-spy"), "record"]
    options = ["--pid", str(watched.pid), "--duration", str(max(1, int(seconds))), "--rate", "250"]
    with subprocess.Popen([*command, *options, "--output", str(path)], stdout=subprocess.DEVNULL) as process:  # noqa: S603
        yield
        process.wait(60)


def sell_out(stage: Stage, server: Server, people: Sequence[str]) -> dict[str, Any]:
    """Let people take all seats of a showtime, and then buy them; return how long it took."""
    rush = SellOut(stage, people)
    replies = http_load.run(port_of(server), rush.takers(CLIENTS), seconds=120)
    bought = http_load.run(port_of(server), rush.buyers(CLIENTS), seconds=120)
    sold = [reply for reply in bought if reply.status == 201]  # noqa: PLR2004
    return {
        "seats": len(rush.held),
        "sold": len(sold),
        "held_in_s": max(rush.held_at) - min(rush.held_at),
        "all_served_in_s": max(reply.sent + reply.seconds for reply in replies) - replies[0].sent,
        "sold_in_s": max(reply.sent + reply.seconds for reply in sold) - sold[0].sent,
        "requests": len(replies),
    }


def port_of(server: Server) -> int:
    """Return the port at which a server is asked."""
    return int(server.host.rpartition(":")[2])


# --- A round ---------------------------------------------------------------------------------------------------------


def stage_of(kind: Kind, made: Mapping[str, Any]) -> Stage:
    """Return where all rounds of one kind are played."""
    small, large = made["rooms"]
    return Stage(
        cinema=kind.cinema,
        showtimes=iter(small["showtimes"]),
        codes=small["codes"],
        large_showtimes=iter(large["showtimes"]),
        large_codes=large["codes"],
        tokens=made["tokens"][: CLIENTS * PEOPLE],
    )


def play_all(
    kind: Kind, stage: Stage, made: Mapping[str, Any], engines: Engines, chosen: argparse.Namespace
) -> dict[str, Any]:
    """Start a server and play every scene; return the figures by scene."""
    figures: dict[str, Any] = {}
    with kind.running() as server:
        for scene in wanted_scenes(chosen.only):
            profile = chosen.profile and chosen.profile / f"{kind.name}, {scene.name}.svg"
            figures[scene.name] = play(scene, stage, server, engines, seconds=chosen.seconds, profile=profile)
        if len(made["tokens"]) >= SELL_OUT_PEOPLE:
            figures["sell-out"] = sell_out(stage, server, made["tokens"])
        figures["memory_mib"] = server.memory() / 2**20
    return figures


def wanted_scenes(only: Sequence[str]) -> list[Scene]:
    """Return the scenes in whose names one of the words occurs; all without any."""
    return [scene for scene in SCENES if not only or any(word in scene.name for word in only)]


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return of each figure the median of all rounds."""
    merged: dict[str, Any] = {}
    for name, value in rounds[0].items():
        of_all = [one[name] for one in rounds]
        merged[name] = medians(of_all) if isinstance(value, Mapping) else statistics.median(of_all)
    return merged


def ratios(cinebook: Mapping[str, Any], textbook: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CineBook does in units of what the textbook does."""
    told = {}
    for name, ours in cinebook.items():
        theirs = textbook.get(name)
        if isinstance(theirs, Mapping) and "per_second" in ours:
            told[name] = {
                "throughput": ours["per_second"] / theirs["per_second"],
                "p99": ours["p99_ms"] / theirs["p99_ms"],
            }
    if "sell-out" in cinebook:
        told["sell-out"] = {"time": cinebook["sell-out"]["held_in_s"] / textbook["sell-out"]["held_in_s"]}
    return told


def main() -> int:
    """Compare, and print what came of it; return how the process ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each scene")
    parser.add_argument("--only", nargs="*", default=[], help="words of the scenes that are played")
    parser.add_argument("--profile", type=Path, help="a folder for flame graphs, of the last round")
    parser.add_argument("--out", type=Path, help="a folder for compare.json, beside the console")
    chosen = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    scenes = wanted_scenes(chosen.only)
    sells_out = not chosen.only or "sell-out" in chosen.only
    used = sum(scene.showtimes for scene in scenes) + sells_out
    used_large = sum(scene.large_showtimes for scene in scenes)
    wanted = {
        "rooms": [[*ROOM, chosen.rounds * used], [*LARGE_ROOM, chosen.rounds * used_large]],
        "users": SELL_OUT_PEOPLE if sells_out else CLIENTS * PEOPLE,
    }
    rounds: dict[str, list[dict[str, Any]]] = {"textbook": [], "cinebook": []}
    with running_engines(commits=Survives.POWER_CUT) as engines, tempfile.TemporaryDirectory() as folder:
        kinds = [
            Kind("textbook", Textbook(), engines, Path(folder) / "textbook"),
            Kind("cinebook", CineBook(), engines, Path(folder) / "cinebook"),
        ]
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=kinds[1].environment, check=True
        )
        made = {kind.name: kind.prepare(wanted) for kind in kinds}
        stages = {kind.name: stage_of(kind, made[kind.name]) for kind in kinds}
        for _number, kind in itertools.product(range(chosen.rounds), kinds):
            rounds[kind.name].append(play_all(kind, stages[kind.name], made[kind.name], engines, chosen))
    result: dict[str, Any] = {"machine": machine(), **{name: medians(of_kind) for name, of_kind in rounds.items()}}
    result["ratios"] = ratios(result["cinebook"], result["textbook"])
    told = rounded(result)
    print(json.dumps(told, indent=2))
    if chosen.out:
        write_result(chosen.out / "compare.json", told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
