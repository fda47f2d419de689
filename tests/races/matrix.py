"""What comes of each two operations that meet: the table of all of it, which `test_matrix` plays.

A line is a race. It names the two, where they meet, and what comes of it when the first comes first, and when the
second does: what each of them is told, in the order in which they came, and how A1, Ada's purchase and the sale stand
then. Nothing in the second place means that it is the same. What else may come of the same moment stands last: one of
them may see the other halfway, or be refused by a lock in Redis, or pass over a hold that is busy.

They meet at a row that both wait for; or the second comes when the first is about to `commit`; or they do not meet (-),
and each does what it does alone: then they only start at the same moment. Whoever finds that the time of a hold is over
ends it first, and then begins anew: so behind a tilde it is open who of the two comes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

TABLE = Path(__file__).with_suffix(".txt")


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A race of two operations: what may come of it if the first comes first, if the second does, and either way."""

    stage: str
    first: str
    second: str
    meet_at: str
    first_wins: frozenset[str]
    second_wins: frozenset[str]
    either: frozenset[str]

    def __str__(self) -> str:
        return f"{self.stage}: {self.first} and {self.second}"


def _lines() -> list[Line]:
    lines, stage = [], ""
    for text in TABLE.read_text().splitlines():
        if text.startswith("="):
            stage = text.removeprefix("=").partition(":")[0].strip()
        elif text:
            lines.append(_line(stage, [cell.strip() for cell in text.split("|")]))
    return lines


def _line(stage: str, cells: Sequence[str]) -> Line:
    first, second, meet_at, first_wins, second_wins, also, *_ = [*cells, "", ""]
    one = _outcomes(first_wins)
    other = _outcomes(second_wins) or (one if first == second else frozenset(map(_turned, one)))
    either = one | frozenset(map(_turned, other)) | _outcomes(also)
    if meet_at.startswith("~"):
        one, other = either, frozenset(map(_turned, either))
    return Line(
        stage=stage,
        first=first,
        second=second,
        meet_at=meet_at.removeprefix("-").removeprefix("~"),
        first_wins=one,
        second_wins=other,
        either=either,
    )


def _outcomes(cell: str) -> frozenset[str]:
    return frozenset(filter(None, cell.split(" or ")))


def _turned(outcome: str) -> str:
    """Return an outcome as it reads for the same two in the other order."""
    told, _colon, standing = outcome.partition(": ")
    return f"{', '.join(reversed(told.split(', ')))}: {standing}"


LINES = _lines()
