"""A layout says where every seat is; a drawing is the readable way to write one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seating.layout import MAX_SEATS, LayoutError, SeatingLayout, SeatKind
from tests.factories import DRAWING, LEGEND


def draw(drawing: str, curve: float = 0.0) -> SeatingLayout:
    return SeatingLayout.from_drawing(drawing, LEGEND, curve=curve)


def test_a_drawing_says_where_every_seat_is() -> None:
    layout = draw(DRAWING)

    assert layout.codes[:7] == ["A1", "A2", "A3", "A4", "A5", "A6", "B1"]
    assert [seat.x for seat in layout.rows[0].seats] == [0, 1, 2, 4, 5, 6]
    assert [row.seats[0].y for row in layout.rows] == [0, 1, 2]
    assert layout.categories == ["premium", "standard"]
    assert [seat.code for seat in layout.seats if seat.accessible] == ["B1"]
    assert [seat.code for seat in layout.seats if seat.kind is SeatKind.COMPANION] == ["B2"]


def test_dots_commas_and_empty_lines_are_gaps() -> None:
    layout = draw("A ..s,s\n\nC s")

    assert [(seat.code, seat.x, seat.y) for seat in layout.seats] == [("A1", 2, 0), ("A2", 3.5, 0), ("C1", 0, 2)]


def test_an_aisle_parts_a_row_into_stretches() -> None:
    stretches = list(draw("A ss.sss,s").rows[0].stretches())

    assert [[seat.code for seat in stretch] for stretch in stretches] == [["A1", "A2"], ["A3", "A4", "A5"], ["A6"]]


def test_a_curved_row_bends_around_the_screen_and_stays_together() -> None:
    row = draw("A sssss", curve=0.4).rows[0]

    assert [seat.y for seat in row.seats] == [-0.4, -0.1, 0, -0.1, -0.4]
    assert len(list(row.stretches())) == 1


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        ("", "at least one seat"),
        ("A ...", "Row A needs a list of seats"),
        ("A sxs", "Row A: the legend does not say what 'x' is"),
        ("1 sss", "label of one to three capital letters, not '1'"),
        ("A sss\nA sss", "These seats occur twice: A1, A2, A3"),
        ("\n".join(f"{a}{b} {'s' * 100}" for a in "ABCDE" for b in "ABCDE"), f"at most {MAX_SEATS} seats"),
        ("A " + "s" * 1000, "1000 is no seat number"),
    ],
)
def test_a_drawing_that_makes_no_sense_is_refused_in_words(drawing: str, reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        draw(drawing)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("rows",), "A", '"rows"'),
        (("rows", 0), 7, "label"),
        (("rows", 0, "label"), "a", "label"),
        (("rows", 0, "seats"), [], "list of seats"),
        (("rows", 0, "seats", 0), "A1", "a seat is an object"),
        (("rows", 0, "seats", 0, "number"), True, "no seat number"),
        (("rows", 0, "seats", 0, "number"), -1, "no seat number"),
        (("rows", 0, "seats", 0, "x"), "0", "needs x and y"),
        (("rows", 0, "seats", 0, "y"), float("nan"), "needs x and y"),
        (("rows", 0, "seats", 0, "x"), 3, "not to the right"),
        (("rows", 0, "seats", 0, "category"), "Not A Code", "code of its category"),
        (("rows", 0, "seats", 0, "kind"), "sofa", "no kind of seat"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused_in_words(place: tuple[Any, ...], value: Any, reason: str) -> None:
    document = copy.deepcopy(draw(DRAWING).geometry())
    *way, last = place
    target: Any = document
    for step in way:
        target = target[step]
    target[last] = value

    with pytest.raises(LayoutError, match=reason):
        SeatingLayout.from_geometry(document)


@pytest.mark.parametrize("document", [None, [], {}, "rows", {"rows": {}}])
def test_anything_else_is_no_layout(document: Any) -> None:
    with pytest.raises(LayoutError):
        SeatingLayout.from_geometry(document)


row_pictures = st.text(alphabet="sspw.,", min_size=1, max_size=30).filter(lambda picture: picture.strip(".,"))


@given(pictures=st.lists(row_pictures, min_size=1, max_size=20), curve=st.floats(0, 2))
def test_every_drawing_survives_being_stored(pictures: list[str], curve: float) -> None:
    drawing = "\n".join(f"{chr(ord('A') + index)} {picture}" for index, picture in enumerate(pictures))
    layout = draw(drawing, curve)

    assert SeatingLayout.from_geometry(layout.geometry()) == layout
    assert len(layout.seats) == sum(picture.count(letter) for picture in pictures for letter in "spw")
    assert [seat for row in layout.rows for stretch in row.stretches() for seat in stretch] == list(layout.seats)
