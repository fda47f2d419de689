"""The cases of the law that Python and the browser's store share, as files.

A case begins with a snapshot, hears frames (and answers of `seats/status`), and ends as its viewer must then see the
seats. `cases.json` was said by the server itself; `pytest tests/law --write-cases` writes it anew. `odd.json` was made
by hand: what is lost, doubled, late or put back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SAID_BY_THE_SERVER = HERE / "cases.json"
ODD = HERE / "odd.json"
TIMES = re.compile(r"server_time|\w+_at")
# What differs from run to run, however it is put.
FLEETING = {"expires_in", "viewers"}

Case = dict[str, Any]


def cases(path: Path) -> list[Case]:
    """Return the cases of a file."""
    found: list[Case] = json.loads(path.read_text())
    return found


def write(path: Path, written: list[Case]) -> None:
    """Write cases so that a change of one of them is a change of a line."""
    lines = ",\n".join(json.dumps(case) for case in written)
    path.write_text(f"[\n{lines}\n]\n")


def normalised(case: Case) -> Case:
    """Return a case with other ids and times, in the same order: it reads the same in each run."""
    instants = sorted({value for key, value in _values(case) if TIMES.fullmatch(key)})
    names = {instant: f"2030-01-01T20:00:{place:02}Z" for place, instant in enumerate(instants)}
    for key, value in _values(case):
        if key == "hold_id":
            names.setdefault(value, f"hold {sum(name.startswith('hold') for name in names.values()) + 1}")
    renamed: Case = _renamed(case, names)
    return renamed


def _values(inside: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key and its value, however deep."""
    if isinstance(inside, dict):
        for key, value in inside.items():
            yield key, value
            yield from _values(value)
    elif isinstance(inside, list):
        for value in inside:
            yield from _values(value)


def _renamed(inside: Any, names: dict[str, str]) -> Any:
    if isinstance(inside, list):
        return [_renamed(value, names) for value in inside]
    if not isinstance(inside, dict):
        return names.get(inside, inside) if isinstance(inside, str) else inside
    return {
        key: 1 if key == "showtime_id" else _renamed(value, names)
        for key, value in inside.items()
        if key not in FLEETING
    }


def lasting(inside: Any) -> Any:
    """Return what is the same in each run: all but the times."""
    if isinstance(inside, dict):
        return {key: lasting(value) for key, value in inside.items() if not TIMES.fullmatch(key)}
    return [lasting(value) for value in inside] if isinstance(inside, list) else inside


def shapes(case: Case) -> set[tuple[str, ...]]:
    """Return of which words the frames are made: their event, and what they say."""
    return {(step["event"], *sorted(step["data"])) for step in case["steps"]}
