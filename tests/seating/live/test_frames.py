"""What many viewers are sent says the same as what each of them could be told alone."""

from __future__ import annotations

import json

import pytest

from cinebook.core.sockets import frame_of
from seating.events import SeatsChanged
from seating.live.frames import FrameId, Prepared, Stretch, answering, frame


def change(version: int, **changes: str) -> SeatsChanged:
    return SeatsChanged(1, version, changes)


def test_a_stretch_has_the_newest_state_of_each_seat() -> None:
    first = Stretch.of([change(5, A1="locked", A2="locked"), change(6, A1="available")])
    both = first.then(Stretch.of([change(7, A2="occupied")]))

    assert first == Stretch(1, 4, 6, {"A1": "available", "A2": "locked"})
    assert both == Stretch(1, 4, 7, {"A1": "available", "A2": "occupied"})


def test_sold_seats_are_told_right_after_the_change_that_sold_them() -> None:
    sold = Stretch.of([change(5, A1="occupied", A2="available")])

    changed, booked = sold.prepared.texts
    assert json.loads(changed) == {
        "event": "seat:status:changed",
        "data": {"showtime_id": 1, "version": 5, "from_version": 4, "changes": {"A1": "occupied", "A2": "available"}},
    }
    assert json.loads(booked) == {"event": "seats:booked", "data": {"showtime_id": 1, "version": 5, "seats": ["A1"]}}
    assert len(Stretch.of([change(5, A1="available")]).prepared.texts) == 1


def test_the_bytes_are_the_frames_of_the_texts() -> None:
    assert Prepared("{}", '{"event":"x"}').content == frame_of("{}") + frame_of('{"event":"x"}')


@pytest.mark.parametrize("frame_id", [None, 0, 7, "", 'a "quoted" \ud800'])
def test_an_answer_is_the_frame_with_an_id(frame_id: FrameId | None) -> None:
    assert answering(frame("seats:availability", {"seats": {}}), frame_id) == frame(
        "seats:availability", {"seats": {}}, frame_id
    )
