"""What a soak has to say: lines for the terminal, and a folder with a report in words, in numbers and in plots."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.soak import measuring
from tests.soak.lines import SERVER_ERROR
from tests.soak.soak import Outcome
from tests.support.promises import Violation

BUCKET = 2.0
"""Seconds that one point of a plot stands for."""

CONDITIONS = (
    "Seed `{seed}`, faults `{mix}`, {seconds} s, {clients} people and {watchers} watchers, on {machine}, with people "
    "and watchers on the same machine."
)
LOCKS = (
    "From sending to an answer that is no server error, while the house was well, and under each fault until it was "
    "well again."
)
RECOVERY = (
    "From the moment that a fault was healed until both web processes were `ok` and locked a seat in under 0.4 s; of "
    "faults that came alone."
)
EXPIRED = (
    "From the end of a hold, by the duration that its holder was told, until its last seat had changed on a map by "
    "socket. The end counts from the request, so this is at most too long. What fell into a time when PostgreSQL or a "
    "web process was away is left out."
)


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return everything that was counted and measured, for a program to read."""
    begin = outcome.began
    return {
        "seed": outcome.options.seed,
        "mix": outcome.options.mix,
        "planted": outcome.options.planted,
        "met_by": outcome.met_by,
        "seen_after_seconds": outcome.seen_after and round(outcome.seen_after, 1),
        "seconds": round(outcome.options.seconds, 1),
        "clients": outcome.options.clients,
        "watchers": outcome.options.watchers,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "operations": dict(sorted(outcome.promises.operations.items())),
        "answers": {f"{kind} → {answer}": count for (kind, answer), count in sorted(outcome.promises.answers.items())},
        "faults": dict(Counter(fault.name for fault in outcome.struck).most_common()),
        "recovery_seconds": recoveries(outcome),
        "lock_milliseconds": measuring.latency_by_fault(outcome.samples, outcome.struck),
        "expired_hold_on_maps_milliseconds": {
            "no fault": measuring.quantiles(max(lag, 0) for lag, during in outcome.lags if not during),
            "during faults": measuring.quantiles(max(lag, 0) for lag, during in outcome.lags if during),
        },
        "maps": {"snapshots by socket": outcome.resyncs, "304 by polling": outcome.polls_kept},
        "memory_mib_per_minute": {
            str(pid): round(slope, 2) for pid, slope, _seconds in measuring.memory_slopes(outcome.meter.readings)
        },
        "connections": {
            name: measuring.quantiles(count / 1000 for count in _counts(outcome, name))
            for name in ("database", "redis")
        },
        "targets": [{"what": what, "reached": reached, "measured": said} for what, reached, said in outcome.targets],
        "violations": [str(violation) for violation in outcome.violations],
        "timeline": [
            {
                "fault": fault.name,
                "began": round(fault.began - begin, 2),
                "healed": round(fault.healed - begin, 2),
                "recovered": round(fault.recovered - begin, 2) if fault.recovered else None,
            }
            for fault in outcome.struck
        ],
    }


def recoveries(outcome: Outcome) -> dict[str, dict[str, float]]:
    """Return by kind of fault how often it struck, and the median and longest seconds from its healing until well."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for fault in measuring.alone(outcome.struck):
        by_name[fault.name].append(fault.over - fault.healed)
    return {
        name: {"times": len(all_), "median": round(statistics.median(all_), 2), "longest": round(max(all_), 2)}
        for name, all_ in sorted(by_name.items())
    }


def in_words(outcome: Outcome) -> str:
    """Return the report in Markdown."""
    told = figures(outcome)
    lines = [f"# Soak: {len(outcome.violations)} violations", "", CONDITIONS.format(**told), *_planted(outcome), ""]
    lines += ["## Numbers to reach", "", *_table(["what", "measured", "reached"], _targets(outcome))]
    lines += ["## Violations", "", *_violations(outcome), ""]
    lines += ["## Operations", "", *_table(["operation", "how often"], told["operations"].items())]
    lines += ["## Answers", "", *_table(["operation", "answer", "how often"], _answers(outcome))]
    lines += ["## Locks, in milliseconds", "", LOCKS, "", *_quantiles(told["lock_milliseconds"])]
    rows = [[name, *row.values()] for name, row in told["recovery_seconds"].items()]
    lines += ["## Recovery, in seconds", "", RECOVERY, "", *_table(["fault", "times", "median", "longest"], rows)]
    lines += ["## Expired holds on open maps, in milliseconds", "", EXPIRED, ""]
    lines += [*_quantiles(told["expired_hold_on_maps_milliseconds"])]
    lines += ["## Plots", "", *(f"![{name}]({name}.svg)" for name in ("latency", "operations", "memory")), ""]
    return "\n".join(lines)


def write(outcome: Outcome, folder: Path) -> None:
    """Write report.md, report.json and the plots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(in_words(outcome))
    (folder / "report.json").write_text(json.dumps(figures(outcome), indent=1, ensure_ascii=False))
    _plot(outcome, folder)


def _planted(outcome: Outcome) -> list[str]:
    if not outcome.options.planted:
        return []
    met = ", ".join(outcome.met_by) or "nothing"
    seen = f"answers showed it after {outcome.seen_after:.1f} s" if outcome.seen_after else "answers did not show it"
    return ["", f"The mistake `{outcome.options.planted}` was made in all of the house. {met} came by it; {seen}."]


def _targets(outcome: Outcome) -> list[list[str]]:
    words = {True: "yes", False: "**no**", None: "–"}
    return [[what, said, words[reached]] for what, reached, said in outcome.targets]


def _answers(outcome: Outcome) -> list[list[Any]]:
    return [[kind, answer, count] for (kind, answer), count in sorted(outcome.promises.answers.items())]


def _violations(outcome: Outcome) -> list[str]:
    if not outcome.violations:
        return ["None."]
    lines = []
    for violation in outcome.violations[:50]:
        lines += [f"- {violation}", *_story(outcome, violation)]
    left = len(outcome.violations) - 50
    return [*lines, *([f"- and {left} more"] if left > 0 else [])]


def _story(outcome: Outcome, violation: Violation) -> list[str]:
    if violation.seat is None:
        return []
    return [f"    - {line}" for line in outcome.promises.story(violation.seat)]


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def _quantiles(by_name: dict[str, dict[str, float] | None]) -> list[str]:
    rows = [[name, *row.values()] for name, row in by_name.items() if row]
    return _table(["", "number", "p50", "p95", "p99", "longest"], rows)


def _counts(outcome: Outcome, name: str) -> list[int]:
    return [count for reading in outcome.meter.readings if (count := getattr(reading, name)) is not None]


def _plot(outcome: Outcome, folder: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second to load, and only a report wants it

    mpl.use("svg")
    for name, label, draw in (
        ("latency", "lock, ms", _draw_latency),
        ("operations", "operations/s", _draw_operations),
        ("memory", "MiB of a web process", _draw_memory),
    ):
        _draw(outcome, folder / f"{name}.svg", label, draw)


def _draw(outcome: Outcome, path: Path, label: str, draw: Callable[[Outcome, Any], None]) -> None:
    """Draw one plot over the bands of the faults."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    begin = outcome.began
    figure, axes = plt.subplots(figsize=(14, 4.5), layout="constrained")
    above = axes.get_xaxis_transform()
    for fault in outcome.struck:
        colour = "tab:red" if fault.database_away else "tab:orange" if fault.server_away else "tab:blue"
        axes.axvspan(fault.began - begin, fault.over - begin, color=colour, alpha=0.12, linewidth=0)
        axes.text(fault.began - begin, 1.01, fault.name, rotation=60, fontsize=5, transform=above)
    axes.set_xlabel("seconds (red: PostgreSQL away, orange: a web process away, blue: other faults)")
    axes.set_ylabel(label)
    draw(outcome, axes)
    figure.savefig(path)
    figure.savefig(path.with_suffix(".png"), dpi=110)
    plt.close(figure)


def _draw_latency(outcome: Outcome, axes: Any) -> None:
    points = measuring.locks(outcome.samples)
    for label, size, colour, wanted in (("answered", 2, "black", True), ("error", 6, "red", False)):
        some = [sample for sample in points if (0 < sample.status < SERVER_ERROR) is wanted]
        sent = [sample.sent - outcome.began for sample in some]
        axes.scatter(sent, [sample.seconds * 1000 for sample in some], s=size, color=colour, label=label)
    axes.set_yscale("log")
    axes.legend(loc="upper right", fontsize=7)


def _draw_operations(outcome: Outcome, axes: Any) -> None:
    buckets = Counter(int((sample.sent - outcome.began) / BUCKET) for sample in outcome.samples)
    at = range(max(buckets, default=0) + 1)
    axes.plot([bucket * BUCKET for bucket in at], [buckets[bucket] / BUCKET for bucket in at], color="black")


def _draw_memory(outcome: Outcome, axes: Any) -> None:
    begin, readings = outcome.began, outcome.meter.readings
    for pid in sorted({pid for reading in readings for pid in reading.memory}):
        seen = [reading for reading in readings if pid in reading.memory]
        axes.plot([reading.at - begin for reading in seen], [reading.memory[pid] for reading in seen])
    connections = axes.twinx()
    connections.set_ylabel("connections (dotted: PostgreSQL, dashed: Redis)")
    for name, style in (("database", ":"), ("redis", "--")):
        counted = [(reading.at - begin, getattr(reading, name)) for reading in readings]
        known = [(at, count) for at, count in counted if count is not None]
        connections.plot([at for at, _count in known], [count for _at, count in known], style, color="gray")
