"""How quickly, and at which cost, a change reaches a thousand viewers of one showtime.

    .venv/bin/python bench/live.py     # some minutes, on a machine that has nothing else to do
    .venv/bin/python bench/live.py --viewers 50 --seconds 5 --rush-seconds 5 --idle 3     # to see that it works

It starts a house of its own, with the web processes of the Procfile, and in the same run, before and after it, a server
that only writes one prepared frame to each socket (`live_yardstick.py`). Both are measured in the same way:

- `calm`: changes that come alone, a few a second: published → first, median and last viewer, and CPU per change.
- `rush`: so many changes a second, for as long as `--rush-seconds`: is the last second as quick as the first?
- `idle`: memory and CPU while nothing happens, with a few viewers and with all of them.
- `pressed`: with fewer viewers, from the request for a hold until the seat is `locked` at the viewers, all of them.

What it says of speed is true for one machine at one time: only the ratios of one run can be compared.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from redis import Redis  # noqa: E402 - the path comes first

from bench.house import PROCESSES, Server, environment_of_house, running, running_house  # noqa: E402
from bench.live_yardstick import CHANNEL  # noqa: E402
from bench.viewers import Arrivals, Crowds, running_crowds  # noqa: E402
from cinebook.engines.throwaway import running_engines  # noqa: E402

# One alone cannot press a hundred seats a second on a machine that is busy with telling so to a thousand viewers.
PRESSERS = 2
# With so many viewers a process has made what it makes once; then its memory is looked at for the first time.
FEW = 20
# How long the last change may take to reach the last viewer before it counts as lost.
LAST_SECONDS = 2.0
# What one change of the yardstick says.
CHANGE = {"showtime_id": 1, "from_version": 0, "version": 0, "changes": {"A5": "locked"}}

Published = Sequence[tuple[int, float]]
Press = Callable[[float, float], Published]


# --- What is measured ------------------------------------------------------------------------------------------------


def reach(published: Published, arrivals: Arrivals, viewers: int) -> dict[str, Any]:
    """Return how long changes took to the first, the middle and the last viewer, in milliseconds, and how many missed.

    Args:
        published: each version and when it went out.
        arrivals: when the frames came, by the versions from which and to which they lead; a frame may hold several.
        viewers: how many there are.
    """
    frames: dict[int, list[float]] = {}
    for (begin, end), times in arrivals.items():
        for version in range(begin + 1, end + 1):
            frames.setdefault(version, []).extend(times)
    waits = [sorted(at - went for at in frames.get(version, [])) for version, went in published]
    seen = [wait for wait in waits if wait]
    if not seen:
        raise RuntimeError("nobody saw any change")
    lasts = [wait[-1] * 1000 for wait in seen]
    by_second: dict[int, list[float]] = {}
    for (_version, went), wait in zip(published, waits, strict=True):
        if wait:
            by_second.setdefault(int(went - published[0][1]), []).append(wait[-1] * 1000)
    return {
        "changes": len(published),
        "missed": sum(viewers - len(wait) for wait in waits),
        "first_ms": statistics.median(wait[0] * 1000 for wait in seen),
        "median_ms": statistics.median(statistics.median(wait) * 1000 for wait in seen),
        "last_ms": statistics.median(lasts),
        "last_p95_ms": quantile(lasts, 0.95),
        "last_by_second_ms": [statistics.median(of_second) for _second, of_second in sorted(by_second.items())],
    }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measured(server: Server, crowds: Crowds, press: Press, per_second: float, seconds: float) -> dict[str, Any]:
    """Let changes come for some seconds; return how they came, and the CPU of the web processes."""
    crowds.collect()
    cpu, begin = server.cpu_seconds(), time.monotonic()
    published = press(per_second, seconds)
    time.sleep(LAST_SECONDS)
    spent, took = server.cpu_seconds() - cpu, time.monotonic() - begin
    figures = reach(published, crowds.collect(), crowds.viewers)
    rate = (len(published) - 1) / (published[-1][1] - published[0][1])
    return {
        "per_second": rate,
        **figures,
        "cpu_ms_per_change": spent * 1000 / len(published),
        "cpu_share": spent / took,
    }


def idle(server: Server, seconds: float) -> dict[str, float]:
    """Return memory, and CPU over some seconds in which nothing happens."""
    cpu = server.cpu_seconds()
    time.sleep(seconds)
    return {"cpu_percent": (server.cpu_seconds() - cpu) / seconds * 100, "memory_mib": server.memory() / 2**20}


def pressed(server: Server, showtime: int, crowds: Crowds, *, per_second: float, seconds: float) -> dict[str, float]:
    """Return how long it takes from the request for a hold to the viewers, in milliseconds.

    One buyer holds and lets go in turn; the holds count. Viewers are in all web processes, so some of them are in
    another than the one that answers.
    """
    token = server.ask("POST", "auth/guest", {})["access"]
    base = f"showtimes/{showtime}/seats"
    codes = [code for code, status in server.ask("GET", f"{base}/status")["seats"].items() if status == "available"]
    crowds.collect()
    waits: list[float] = []
    presses = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        went = time.monotonic()
        server.ask("POST", f"{base}/lock", {"seats": [random.choice(codes)]}, token)
        presses += 1
        waits += [at - went for at in seen_by_all(crowds, pause=0.5 / per_second)]
        server.ask("DELETE", f"{base}/unlock", {}, token)
        seen_by_all(crowds, pause=0.5 / per_second)
    milliseconds = [wait * 1000 for wait in waits]
    return {
        "viewers": crowds.viewers,
        "missed": presses * crowds.viewers - len(waits),
        "median_ms": statistics.median(milliseconds),
        "p95_ms": quantile(milliseconds, 0.95),
        "most_ms": max(milliseconds),
    }


def seen_by_all(crowds: Crowds, *, pause: float) -> list[float]:
    """Return the instants at which the viewers saw the one change that is on its way.

    Args:
        pause: how many seconds to wait at least; more, until all have seen it or it is lost.
    """
    seen: list[float] = []
    deadline = time.monotonic() + LAST_SECONDS
    while len(seen) < crowds.viewers and time.monotonic() < deadline:
        time.sleep(pause)
        seen += [at for times in crowds.collect().values() for at in times]
    return seen


# --- The two servers -------------------------------------------------------------------------------------------------


def of_yardstick(chosen: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Measure the server that only writes frames."""
    with (
        running([str(HERE / "live_yardstick.py"), "--port={port}", f"--workers={PROCESSES}"], environment) as server,
        running_crowds(server.host, 1, viewers=chosen.viewers) as crowds,
        Redis.from_url(environment["REDIS_URL"]) as redis,
    ):
        version = 0

        def press(per_second: float, seconds: float) -> Published:
            nonlocal version
            published, begin = [], time.monotonic()
            for number in range(int(per_second * seconds)):
                time.sleep(max(0, begin + number / per_second - time.monotonic()))
                version += 1
                change = CHANGE | {"from_version": version - 1, "version": version}
                frame = json.dumps({"event": "seat:status:changed", "data": change}, separators=(",", ":"))
                published.append((version, time.monotonic()))
                redis.publish(CHANNEL, frame)
            return published

        return {
            "calm": measured(server, crowds, press, chosen.rate, chosen.seconds),
            "rush": measured(server, crowds, press, chosen.rush, min(chosen.rush_seconds, chosen.seconds)),
        }


def of_cinebook(chosen: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Measure CineBook."""
    with running_house(environment) as server:
        showtime, other = server.largest_showtimes()
        with running_crowds(server.host, showtime, viewers=FEW):
            few = idle(server, min(chosen.idle, 10))
        with running_crowds(server.host, showtime, viewers=chosen.viewers) as crowds:
            many = idle(server, chosen.idle)
            with running_pressers(showtime, environment) as press:
                calm = measured(server, crowds, press, chosen.rate, chosen.seconds)
                # Heartbeats, tickers and presence go on while changes come; what the changes cost is the rest.
                rest = 1 - many["cpu_percent"] / 100 / calm["cpu_share"]
                calm["cpu_ms_per_change_over_idle"] = calm["cpu_ms_per_change"] * rest
                rush = measured(server, crowds, press, chosen.rush, chosen.rush_seconds)
        with running_crowds(server.host, other, viewers=chosen.press_viewers) as crowds:
            holds = pressed(server, other, crowds, per_second=chosen.rate, seconds=chosen.seconds)
    per_viewer = (many["memory_mib"] - few["memory_mib"]) * 1024 / (chosen.viewers - FEW)
    quiet = {"few": few, "viewers": many, "memory_kib_per_viewer": per_viewer}
    return {"idle": quiet, "calm": calm, "rush": rush, "pressed": holds}


@contextmanager
def running_pressers(showtime: int, environment: Mapping[str, str]) -> Iterator[Press]:
    """Run people who press seats when told to, in processes of their own."""
    command = [sys.executable, str(HERE / "presser.py"), str(showtime)]
    with ExitStack() as stack:
        pressers = [
            stack.enter_context(
                subprocess.Popen(  # noqa: S603 - its own
                    [*command, str(number), str(PRESSERS)],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(PRESSERS)
        ]
        if any(_answer(presser) != "ready" for presser in pressers):
            raise RuntimeError("a presser does not start")

        def press(per_second: float, seconds: float) -> Published:
            for presser in pressers:
                assert presser.stdin  # noqa: S101 - for the types
                presser.stdin.write(json.dumps([per_second / PRESSERS, seconds]) + "\n")
                presser.stdin.flush()
            return sorted(change for presser in pressers for change in _answer(presser))

        yield press


def _answer(presser: subprocess.Popen[str]) -> Any:
    assert presser.stdout  # noqa: S101 - for the types
    return json.loads(presser.stdout.readline())


def ratios(cinebook: Mapping[str, Any], yardsticks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what CineBook takes in units of what the yardstick took, before and after it, on average."""
    names = ["first_ms", "median_ms", "last_ms", "last_p95_ms", "cpu_ms_per_change"]
    return {
        name: cinebook["calm"][name] / statistics.mean(yardstick["calm"][name] for yardstick in yardsticks)
        for name in names
    }


def machine() -> dict[str, Any]:
    """Return where and of what this was measured."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": described.stdout.strip(),
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=5, help="of calm changes, per second")
    parser.add_argument("--seconds", type=float, default=20, help="of calm changes")
    parser.add_argument("--rush", type=float, default=100, help="changes per second of the rush")
    parser.add_argument("--rush-seconds", type=float, default=60)
    parser.add_argument("--idle", type=float, default=60, help="for how many seconds nothing happens")
    parser.add_argument("--press-viewers", type=int, default=200)
    parser.add_argument("--out", type=Path, help="a folder for live.json and live.png, beside the console")
    chosen = parser.parse_args()
    if chosen.viewers <= FEW:
        parser.error(f"more than {FEW} viewers are needed")
    return chosen


def main() -> int:
    """Measure, and print what came of it; return how the process ends."""
    chosen = arguments()
    # A socket is a file, in the servers and in the crowd.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    result: dict[str, Any] = {"machine": machine(), "viewers": chosen.viewers, "processes": PROCESSES}
    with running_engines() as engines, tempfile.TemporaryDirectory() as folder:
        environment = environment_of_house(engines, Path(folder))
        before = of_yardstick(chosen, environment)
        result["cinebook"] = of_cinebook(chosen, environment)
        result["yardstick"] = [before, of_yardstick(chosen, environment)]
    result["calm_ratio"] = ratios(result["cinebook"], result["yardstick"])
    told = rounded(result)
    print(json.dumps(told, indent=2))
    if chosen.out:
        write_result(chosen.out / "live.json", told)
        draw(told, chosen.out / "live.png")
    return 0


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write figures into a file, for bench/results/."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw what came of it: how a calm change reached the viewers, and whether a queue grew in the rush."""
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second to load, and only a report wants it

    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, (calm, rush) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    names = {"first_ms": "first", "median_ms": "median", "last_ms": "last", "last_p95_ms": "last, p95"}
    kinds = {"CineBook": [result["cinebook"]], "only writes frames": result["yardstick"]}
    for number, (label, runs) in enumerate(kinds.items()):
        heights = [statistics.mean(run["calm"][name] for run in runs) for name in names]
        calm.bar([at + 0.4 * number for at in range(len(names))], heights, width=0.38, label=label)
        rush.plot(runs[-1]["rush"]["last_by_second_ms"], label=label)
    calm.set_xticks([at + 0.2 for at in range(len(names))], list(names.values()))
    calm.set_title(f"a lone change, until it has reached the … of {result['viewers']} viewers")
    rush.set_title(f"{result['cinebook']['rush']['per_second']:.0f} changes a second: until the last viewer, by second")
    rush.set_ylim(bottom=0)
    for axes in (calm, rush):
        axes.set_ylabel("ms")
        axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def rounded(value: Any) -> Any:
    """Return figures as precisely as they deserve."""
    if isinstance(value, float):
        return float(f"{value:.3g}")
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
