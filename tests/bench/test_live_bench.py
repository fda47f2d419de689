"""The bench of the live map, in small: so that it still runs when somebody needs its figures."""

from __future__ import annotations

import argparse
import array
import json
import os
from pathlib import Path

import psutil
import pytest

from bench.house import Server
from bench.live import draw, of_yardstick, pressed, quantile, ratios, reach, rounded, write_result
from bench.presser import press
from bench.viewers import Arrivals, running_crowds
from seating.events import SeatsChanged
from tests.browser.house import House
from tests.factories import make_showtime


def some_arrivals(frames: dict[tuple[int, int], list[float]]) -> Arrivals:
    return {versions: array.array("d", times) for versions, times in frames.items()}


def test_a_change_has_reached_whoever_got_a_frame_that_leads_past_it() -> None:
    published = [(1, 10.0), (2, 10.01)]
    # One viewer was told of each change, and two of both together.
    arrivals = some_arrivals({(0, 1): [10.002], (1, 2): [10.014], (0, 2): [10.020, 10.030]})

    figures = reach(published, arrivals, viewers=3)

    assert figures["missed"] == 0
    assert figures["first_ms"] == pytest.approx((2 + 4) / 2)
    assert figures["median_ms"] == pytest.approx((20 + 10) / 2)
    assert figures["last_ms"] == pytest.approx((30 + 20) / 2)
    assert figures["last_by_second_ms"] == [pytest.approx((30 + 20) / 2)]


def test_who_was_not_told_is_missed() -> None:
    assert reach([(1, 1.0), (2, 2.0)], some_arrivals({(0, 1): [1.5]}), viewers=2)["missed"] == 3
    with pytest.raises(RuntimeError):
        reach([(1, 1.0)], {}, viewers=2)


def test_ratios_are_of_both_runs_of_the_yardstick() -> None:
    names = ["first_ms", "median_ms", "last_ms", "last_p95_ms", "cpu_ms_per_change"]
    told = [{"calm": dict.fromkeys(names, value)} for value in (12.0, 1.0, 3.0)]
    assert ratios(told[0], told[1:]) == dict.fromkeys(names, 6.0)


def test_figures_are_as_precise_as_they_deserve() -> None:
    assert rounded({"a": [1.23456, 7], "b": "c"}) == {"a": [1.23, 7], "b": "c"}
    assert quantile([3, 1, 2, 4], 0.75) == 4


def test_figures_are_kept_and_drawn(tmp_path: Path) -> None:
    reached = reach([(1, 1.0), (2, 2.5)], some_arrivals({(0, 1): [1.01], (1, 2): [2.53]}), viewers=1)
    run = {"calm": reached, "rush": {**reached, "per_second": 100.0}}
    result = {"viewers": 1, "cinebook": run, "yardstick": [run, run]}

    write_result(tmp_path / "new" / "live.json", result)
    draw(result, tmp_path / "live.png")

    assert reached["last_by_second_ms"] == pytest.approx([10, 30])
    assert json.loads((tmp_path / "new" / "live.json").read_text())["viewers"] == 1
    assert (tmp_path / "live.png").stat().st_size > 10_000


@pytest.mark.django_db(transaction=True)
def test_somebody_presses_and_knows_when_each_version_went_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr("seating.broadcast.send", sent.append)
    showtime = make_showtime()

    published = press(showtime.pk, 100, 0.03)

    assert [version for version, _at in published] == [1, 2, 3, 4]
    assert [event.version for event in sent if isinstance(event, SeatsChanged)] == [1, 2, 3, 4]


def test_a_crowd_sees_what_somebody_presses(house: House) -> None:
    number, server = house.showtime(), Server(psutil.Process(), house.address.removeprefix("http://"))
    with running_crowds(server.host, number, viewers=5) as crowds:
        figures = pressed(server, number, crowds, per_second=10, seconds=0.1)

    assert (figures["viewers"], figures["missed"]) == (5, 0)
    assert 0 < figures["median_ms"] <= figures["p95_ms"] <= figures["most_ms"]


def test_the_yardstick_is_measured_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.live.LAST_SECONDS", 0.5)
    chosen = argparse.Namespace(viewers=5, rate=20, seconds=0.2, rush=50, rush_seconds=0.2)
    figures = of_yardstick(chosen, {**os.environ, "CINEBOOK_DATA_DIR": str(tmp_path)})

    assert [(figures[kind]["changes"], figures[kind]["missed"]) for kind in ("calm", "rush")] == [(4, 0), (10, 0)]
