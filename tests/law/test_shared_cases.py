"""The cases that the browser's store is tested with, too (tests/js/law.test.js)."""

from __future__ import annotations

import pytest

from tests.law.cases import ODD, SAID_BY_THE_SERVER, Case, cases
from tests.law.store import Store
from tests.races.operations import OPERATIONS

SHARED = [*cases(SAID_BY_THE_SERVER), *cases(ODD)]


@pytest.mark.parametrize(
    "case", SHARED, ids=lambda case: " – ".join(case[key] for key in ("name", "stage", "viewer") if key in case)
)
def test_snapshot_and_events_make_the_snapshot(case: Case) -> None:
    store = Store(case["before"])
    for step in case["steps"]:
        assert store.hear(step["event"], step["data"]) == step.get("result", "applied"), step
    assert store.shown() == case["after"]


def test_every_operation_is_among_them() -> None:
    assert {case["name"] for case in cases(SAID_BY_THE_SERVER)} == set(OPERATIONS) - {"remove"}


def test_each_of_them_can_fail() -> None:
    """A store that forgets what it hears shows something else in the end, wherever something was told."""
    for case in SHARED:
        if any(step["event"] == "seat:status:changed" and "result" not in step for step in case["steps"]):
            assert Store(case["before"]).shown() != case["after"], case["name"]
