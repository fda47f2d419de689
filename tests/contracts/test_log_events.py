"""Whatever the product warns of stands in docs/operations.md, with what it means and what to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOUD = {"warning", "error", "exception", "critical"}


def loud_events() -> dict[str, str]:
    """Return each event that is logged as a warning or an error, and where."""
    found = {}
    for package in ("cinebook", "seating", "bookings"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name("log"), attr=attr), args=[ast.Constant(str(event)), *_]
                    ) if attr in LOUD:
                        found[event] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


EVENTS = loud_events()


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_the_operator_is_told_what_it_means(event: str) -> None:
    table = [line for line in (ROOT / "docs/operations.md").read_text().splitlines() if line.startswith("| `")]
    assert any(f"`{event}`" in line.split("|")[1] for line in table), EVENTS[event]


def test_they_are_found() -> None:
    assert EVENTS.keys() >= {"invariant.broken", "redis.away", "stripe.refused"}
