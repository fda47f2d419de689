"""The rules of the example client, without any network."""

from __future__ import annotations

import math
import random
from typing import Any

from examples.follow_showtime import (
    OVERTAKEN_SECONDS,
    SNAPSHOT_SECONDS,
    SPREAD_SECONDS,
    Change,
    Hold,
    Resync,
    SeatMap,
    Snapshot,
    Status,
)

SHOWTIME = 7


def a_hold(*seats: str, at: str = "2030-01-01T12:00:00Z", hold_id: str = "h1") -> Hold:
    return {
        "hold_id": hold_id,
        "showtime_id": SHOWTIME,
        "seats": list(seats),
        "locked_at": at,
        "expires_at": at,
        "expires_in": 900,
        "max_expires_at": at,
        "paying": False,
        "total": {"amount": "24.00", "currency": "EUR"},
        "server_time": at,
    }


def a_snapshot(version: int, at: str = "2030-01-01T12:00:00Z", hold: Hold | None = None, **seats: Status) -> Snapshot:
    return {
        "showtime_id": SHOWTIME,
        "version": version,
        "server_time": at,
        "on_sale": True,
        "cancelled": False,
        "viewers": 3,
        "seats": seats,
        "hold": hold,
    }


def a_change(from_version: int, version: int, **changes: Status) -> Change:
    return {"showtime_id": SHOWTIME, "from_version": from_version, "version": version, "changes": changes}


def a_map(version: int = 4, **seats: Status) -> SeatMap:
    known = SeatMap()
    known.replace(a_snapshot(version, **(seats or {"A1": "available", "A2": "available"})))
    return known


def test_a_change_that_leads_on_is_applied() -> None:
    known = a_map(4)

    assert known.apply(a_change(4, 6, A1="locked"))

    assert (known.version, known.seats()) == (6, {"A1": "locked", "A2": "available"})


def test_an_old_change_is_passed_over() -> None:
    known = a_map(4)

    assert known.apply(a_change(3, 4, A1="locked"))
    assert known.apply(a_change(1, 2, A1="locked"))

    assert (known.version, known.seats()["A1"]) == (4, "available")


def test_a_change_after_a_gap_asks_for_the_snapshot_and_touches_nothing() -> None:
    known = a_map(4)

    assert not known.apply(a_change(5, 6, A1="locked"))
    # It overlaps what is known, and is still none that leads on from here.
    assert not known.apply(a_change(3, 5, A1="locked"))

    assert (known.version, known.seats()["A1"]) == (4, "available")


def test_nothing_is_applied_before_the_first_snapshot() -> None:
    assert not SeatMap().apply(a_change(4, 5, A1="locked"))


def test_a_snapshot_is_taken_as_it_is_also_if_its_version_is_lower() -> None:
    known = a_map(9, A1="occupied")

    known.replace(a_snapshot(2, A1="available"))

    assert (known.version, known.seats()) == (2, {"A1": "available"})


def test_that_a_seat_is_ones_own_is_said_by_the_hold_alone() -> None:
    known = SeatMap()
    known.replace(a_snapshot(4, hold=a_hold("A1"), A1="selected", A2="available"))
    assert known.seats() == {"A1": "selected", "A2": "available"}

    known.learn_hold(None, "2030-01-01T12:00:01Z")
    assert known.seats()["A1"] == "locked"

    known.learn_hold(a_hold("A2", at="2030-01-01T12:00:02Z"), "2030-01-01T12:00:02Z")
    assert known.seats() == {"A1": "locked", "A2": "selected"}


def test_older_news_of_the_hold_are_passed_over() -> None:
    known = a_map()
    known.learn_hold(a_hold("A1", "A2"), "2030-01-01T12:00:00.5Z")

    known.learn_hold(a_hold("A1"), "2030-01-01T12:00:00Z")
    known.learn_hold(None, "2030-01-01T12:00:00.25Z")

    assert known.hold
    assert known.hold["seats"] == ["A1", "A2"]


def test_a_snapshot_whose_seats_and_hold_contradict_each_other_says_nothing_of_the_hold() -> None:
    known = SeatMap()
    known.learn_hold(a_hold("A1"), "2030-01-01T12:00:00Z")

    known.replace(a_snapshot(5, at="2030-01-01T12:00:09Z", A1="selected"))
    assert known.seats()["A1"] == "selected"

    known.replace(a_snapshot(6, at="2030-01-01T12:00:10Z", A1="available"))
    assert known.hold is None


def test_a_hold_lapses_by_its_id() -> None:
    known = a_map()
    known.learn_hold(a_hold("A1"), "2030-01-01T12:00:00Z")

    known.lapse("another")
    assert known.hold
    known.lapse("h1")
    assert known.hold is None


# --- When to ask -----------------------------------------------------------------------------------------------------


def a_resync(chance: float = 1.0) -> Resync:
    return Resync(lambda: chance)


def test_nothing_is_due_as_long_as_nothing_is_wanted() -> None:
    resync = a_resync()
    assert not resync.due(4, now=1e9)
    assert resync.look_at == math.inf


def test_a_gap_is_asked_about_after_some_chance() -> None:
    resync = a_resync(chance=0.5)
    resync.want(6, by=100)

    assert resync.look_at == 100 + SPREAD_SECONDS / 2
    assert not resync.due(4, now=100)
    assert resync.due(4, now=resync.look_at)


def test_a_map_that_gets_there_by_itself_asks_nothing() -> None:
    resync = a_resync()
    resync.want(6, by=100 + OVERTAKEN_SECONDS)

    assert not resync.due(6, now=200)
    assert resync.look_at == math.inf


def test_only_one_question_is_under_way() -> None:
    resync = a_resync()
    resync.want(6, by=100)
    resync.asked(1, now=101)

    for version in range(7, 20):
        resync.want(version, by=101)
        assert not resync.due(4, now=101 + SNAPSHOT_SECONDS / 2)
    assert resync.has_asked(1)
    resync.answered(1)

    assert not resync.due(4, now=200)


def test_a_question_without_an_answer_is_asked_again() -> None:
    resync = a_resync()
    resync.asked(1, now=100)
    assert resync.due(4, now=100 + SNAPSHOT_SECONDS)
    resync.asked(2, now=105)

    # The first answer comes after all: the second is still under way.
    resync.answered(1)
    assert resync.look_at == 105 + SNAPSHOT_SECONDS
    resync.answered(2)
    assert resync.look_at == math.inf


def test_a_snapshot_that_comes_by_itself_satisfies_what_was_wanted() -> None:
    resync = a_resync()
    resync.want(6, by=100)
    resync.answered(None)
    assert not resync.due(5, now=200)


def test_the_earlier_wish_stays() -> None:
    resync = a_resync(chance=0)
    resync.want(6, by=100)
    resync.want(7, by=101)
    assert resync.look_at == 100


def random_game(*, lost: float, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Play changes of which some are lost or doubled; return what the map says, and what is true."""
    chance = random.Random(seed)  # noqa: S311
    codes = [f"A{number}" for number in range(1, 9)]
    words: list[Status] = ["available", "locked", "occupied"]
    truth: dict[str, Status] = dict.fromkeys(codes, "available")
    known, resync, version = SeatMap(), Resync(chance.random), 0
    known.replace(a_snapshot(0, **truth))
    for moment in range(300):
        changes: dict[str, Status] = {code: chance.choice(words) for code in chance.sample(codes, 2)}
        truth |= changes
        version += 1
        change = a_change(version - 1, version, **changes)
        for _time in range(chance.choice([1, 1, 2])):
            if chance.random() >= lost and not known.apply(change):
                resync.want(version, by=moment)
        if resync.due(known.version, moment):
            resync.asked(moment, moment)
            known.replace(a_snapshot(version, **truth))
            resync.answered(moment)
    # The heart beats once more, and a little time goes by.
    resync.want(version, by=300)
    if resync.due(known.version, 310):
        known.replace(a_snapshot(version, **truth))
    return known.seats(), dict(truth)


def test_whatever_is_lost_the_map_comes_to_what_is_true() -> None:
    for seed in range(20):
        known, truth = random_game(lost=0.3, seed=seed)
        assert known == truth
