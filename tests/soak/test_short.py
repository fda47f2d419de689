"""The soak in short: a few kinds of faults, a fixed seed, nothing broken; and a judge who sees what is broken then.

The long form is `make soak`; docs/reliability.md tells of both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.soak import report
from tests.soak.__main__ import again
from tests.soak.soak import Options, Outcome, Soak, run

FAULTS = [
    "Redis killed",
    "Redis replaced by a stale replica",
    "PostgreSQL backends ended",
    "PostgreSQL killed",
    "live layer messages lost",
    "web killed",
]
# What everybody meets who wants several seats: answers show it within seconds.
MISTAKE = "half_a_hold"


def plant_trouble(soak: Soak) -> None:
    """Change things behind everybody's back."""
    sql = soak.cinema.sql
    told = [event.reference for event in soak.world.promises._events if event.kind == "booked"]
    standing = sql("SELECT reference FROM bookings_booking WHERE status = 'CONFIRMED' AND reference = ANY(%s)", told)
    (lost,), (robbed,) = standing[:2]
    sql("UPDATE bookings_booking SET status = 'EXPIRED', ended_at = now() WHERE reference = %s", lost)
    sql(
        "UPDATE seating_seat SET status = 'AVAILABLE', hold_id = NULL, reserved_at = NULL, reserved_until = NULL,"
        " sold_at = NULL WHERE hold_id = (SELECT hold_id FROM bookings_booking WHERE reference = %s)",
        robbed,
    )
    promise = {"holder": "nobody", "showtime": 1, "seats": ["A1"], "sent": 0.0, "received": 0.1}
    soak.world.promises.booked(reference="BK-NEVERWAS", hold="no hold", **promise)
    soak.watchers[0].seats["H14"] = "a map that nobody told"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(
        Options(
            seconds=15,
            seed="short",
            folder=tmp_path_factory.mktemp("soak"),
            mix=",".join(FAULTS),
            clients=10,
            watchers=6,
            think=0.15,
            gap=0.5,
            trouble=plant_trouble,
        )
    )


def test_nothing_is_broken(outcome: Outcome) -> None:
    assert outcome.violations == [], report.in_words(outcome)
    operations = outcome.promises.operations
    assert operations["lock"] > 50
    for kind in ("lock, socket", "extend", "unlock", "buy, succeed", "staff: block"):
        assert operations[kind], operations
    assert len({fault.name for fault in outcome.struck}) >= 2
    assert len(outcome.meter.readings) > 10


def test_the_judge_sees_what_is_broken_afterwards(outcome: Outcome) -> None:
    found = [str(violation) for violation in outcome.after_trouble]
    for invariant, words in (
        ("I3", "is AVAILABLE"),
        ("I3", "is EXPIRED"),
        ("I3", "BK-NEVERWAS exists 0 times"),
        ("I7", "map of showtime"),
        ("the house", "showtime"),
    ):
        assert any(each.startswith(invariant) and words in each for each in found), (words, found)


def test_a_mistake_that_the_house_makes_is_seen(tmp_path: Path) -> None:
    """The control of the sound house: the same people, and a judge who knows nothing of the mistake."""
    planted = Options(
        seconds=20, seed="short", folder=tmp_path, mix="none", clients=16, watchers=0, think=0.05, planted=MISTAKE
    )

    outcome = run(planted)

    assert "I5" in {violation.invariant for violation in outcome.violations}, report.in_words(outcome)
    assert outcome.met_by
    assert f"The mistake `{MISTAKE}` was made" in report.in_words(outcome)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({}, "make soak SEED=s SECONDS=900 FAULTS=all CLIENTS=24"),
        (
            {"think": 0.1, "gap": 0.5},
            "make soak SEED=s SECONDS=900 FAULTS=all CLIENTS=24 OPTIONS='--think 0.1 --gap 0.5'",
        ),
        (
            {"mix": "web killed,reset", "watchers": 20, "planted": "x"},
            "make soak SEED=s SECONDS=900 FAULTS='web killed,reset' CLIENTS=24 OPTIONS='--watchers 20 --plant x'",
        ),
    ],
)
def test_the_same_plan_can_be_made_again(given: dict[str, Any], command: str) -> None:
    assert again(Options(seconds=900.0, seed="s", folder=Path(), **given)) == command


def test_the_report_is_written(outcome: Outcome, tmp_path: Path) -> None:
    report.write(outcome, tmp_path)
    assert "violations, none | 0 | yes" in (tmp_path / "report.md").read_text()
    for name in ("report.json", "latency.svg", "operations.png", "memory.svg"):
        assert (tmp_path / name).stat().st_size > 500
