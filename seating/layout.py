"""The geometry of an auditorium: what a layout document says, and how one is drawn in plain text.

A layout document (`Layout.geometry`) is JSON::

    {"rows": [{"label": "A", "seats": [{"number": 1, "x": 0.0, "y": 0.0, "category": "standard", "kind": "seat"}]}]}

`x` and `y` are the middle of the seat, in widths of one seat, `x` to the right and `y` away from the screen; the
screen is above the first row. Rows stand in order from the screen, seats in order from the left.

People draw it as text, one line per row: the label, then one character per seat width::

    A ..sssss.sssss..
    B .ssssss.ssssss.

    C ww.pppp.pppp.ww

A dot is a gap of one seat width (an aisle), a comma one of half a width, an empty line a gap between rows. The
legend says what each letter is. Seats are numbered from the left, in each row from 1.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Self

# What a ticket, a Redis key and an address can carry: letters and digits only, and short.
SEAT_CODE = re.compile(r"[A-Z]{1,3}[0-9]{1,3}")
ROW_LABEL = re.compile(r"[A-Z]{1,3}")
CATEGORY_CODE = re.compile(r"[a-z0-9_-]{1,30}")
MAX_SEATS = 2000
# No auditorium is larger than this, in seat widths; it keeps nonsense out of the pages that draw it.
FARTHEST = 1000
# Seats this far apart, in seat widths, still touch: rounding of curved rows stays below the difference.
TOUCHING = 1.05


class LayoutError(ValueError):
    """A layout document or drawing that makes no sense; the message is a sentence for the person who wrote it."""


class SeatKind(StrEnum):
    """What sort of place it is."""

    SEAT = "seat"
    WHEELCHAIR = "wheelchair"
    COMPANION = "companion"
    LOVESEAT = "loveseat"


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedSeat:
    """One seat of a layout. `x` and `y` are in seat widths."""

    code: str
    row: str
    number: int
    x: float
    y: float
    category: str
    kind: SeatKind

    @property
    def accessible(self) -> bool:
        """Whether a wheelchair takes this place."""
        return self.kind is SeatKind.WHEELCHAIR


@dataclasses.dataclass(frozen=True, slots=True)
class LayoutRow:
    """One row of seats, in order from the left."""

    label: str
    seats: tuple[PlacedSeat, ...]

    def stretches(self) -> Iterator[tuple[PlacedSeat, ...]]:
        """Yield the runs of seats that touch each other, without an aisle between them."""
        stretch: list[PlacedSeat] = []
        for seat in self.seats:
            if stretch and seat.x - stretch[-1].x > TOUCHING:
                yield tuple(stretch)
                stretch = []
            stretch.append(seat)
        if stretch:
            yield tuple(stretch)


@dataclasses.dataclass(frozen=True)
class SeatingLayout:
    """A parsed layout: immutable, so one copy serves every showtime that uses it."""

    rows: tuple[LayoutRow, ...]

    def __post_init__(self) -> None:
        codes = [seat.code for seat in self.seats]
        if not codes:
            raise LayoutError("A layout needs at least one seat.")
        if len(codes) > MAX_SEATS:
            raise LayoutError(f"A layout has at most {MAX_SEATS} seats; this one has {len(codes)}.")
        doubles = sorted({code for code in codes if codes.count(code) > 1}) if len(set(codes)) < len(codes) else []
        if doubles:
            raise LayoutError(f"These seats occur twice: {', '.join(doubles)}.")
        for row in self.rows:
            for left, right in itertools.pairwise(row.seats):
                if right.x <= left.x:
                    raise LayoutError(f"Row {row.label}: {right.code} is not to the right of {left.code}.")

    @functools.cached_property
    def seats(self) -> tuple[PlacedSeat, ...]:
        """Every seat, row by row from the screen, each row from the left."""
        return tuple(itertools.chain.from_iterable(row.seats for row in self.rows))

    @functools.cached_property
    def by_code(self) -> dict[str, PlacedSeat]:
        """Every seat by its code, in the order of `seats`."""
        return {seat.code: seat for seat in self.seats}

    @property
    def codes(self) -> list[str]:
        """Every seat's code, in the order of `seats`."""
        return [seat.code for seat in self.seats]

    @property
    def categories(self) -> list[str]:
        """The codes of the categories that occur, in alphabetical order."""
        return sorted({seat.category for seat in self.seats})

    @classmethod
    def from_geometry(cls, geometry: Any) -> Self:
        """Read a layout document.

        Args:
            geometry: the document, as JSON gives it.

        Raises:
            LayoutError: it is not a layout; the message says where.
        """
        if not isinstance(geometry, dict) or not isinstance(geometry.get("rows"), list):
            raise LayoutError('A layout is an object with a list of "rows".')
        return cls(rows=tuple(_read_row(row) for row in geometry["rows"]))

    @classmethod
    def from_drawing(cls, drawing: str, legend: Mapping[str, tuple[str, SeatKind]], *, curve: float = 0.0) -> Self:
        """Read a layout drawn as text (see the top of this file).

        Args:
            drawing: one line per row.
            legend: what each letter is: the seat's category and its kind.
            curve: how much nearer to the screen than its middle the ends of the widest row are, in seat widths.

        Raises:
            LayoutError: the drawing makes no sense; the message names the line.
        """
        lines = [line.rstrip() for line in drawing.strip("\n").splitlines()]
        drawn = [_read_line(index, line, legend=legend) for index, line in enumerate(lines) if line.strip()]
        flat = cls(rows=tuple(drawn))
        return cls(rows=tuple(_bend(row, flat.seats, curve) for row in flat.rows)) if curve else flat

    def geometry(self) -> dict[str, Any]:
        """Return the layout document of this layout."""
        return {
            "rows": [
                {
                    "label": row.label,
                    "seats": [
                        {
                            "number": seat.number,
                            "x": seat.x,
                            "y": seat.y,
                            "category": seat.category,
                            "kind": seat.kind.value,
                        }
                        for seat in row.seats
                    ],
                }
                for row in self.rows
            ]
        }


def _read_row(row: Any) -> LayoutRow:
    label = row.get("label") if isinstance(row, dict) else None
    if not isinstance(label, str) or not ROW_LABEL.fullmatch(label):
        raise LayoutError(f"A row needs a label of one to three capital letters, not {label!r}.")
    seats = row.get("seats")
    if not isinstance(seats, list) or not seats:
        raise LayoutError(f"Row {label} needs a list of seats.")
    return LayoutRow(label=label, seats=tuple(_read_seat(label, seat) for seat in seats))


def _read_seat(row: str, seat: Any) -> PlacedSeat:
    if not isinstance(seat, dict):
        raise LayoutError(f"Row {row}: a seat is an object.")
    number, category = seat.get("number"), seat.get("category")
    code = f"{row}{number}"
    if type(number) is not int or not SEAT_CODE.fullmatch(code):
        raise LayoutError(f"Row {row}: {number!r} is no seat number.")
    x, y = _coordinate(code, seat.get("x")), _coordinate(code, seat.get("y"))
    if not isinstance(category, str) or not CATEGORY_CODE.fullmatch(category):
        raise LayoutError(f"Seat {code} needs the code of its category.")
    try:
        kind = SeatKind(seat.get("kind", SeatKind.SEAT))
    except ValueError as error:
        raise LayoutError(f"Seat {code}: {seat['kind']!r} is no kind of seat.") from error
    return PlacedSeat(code=code, row=row, number=number, x=x, y=y, category=category, kind=kind)


def _coordinate(code: str, value: Any) -> float:
    if type(value) not in (int, float) or not -FARTHEST < value < FARTHEST:
        raise LayoutError(f"Seat {code} needs x and y, in seat widths.")
    return float(value)


def _read_line(index: int, line: str, *, legend: Mapping[str, tuple[str, SeatKind]]) -> LayoutRow:
    try:
        return _read_picture(line, y=float(index), legend=legend)
    except LayoutError as error:
        raise LayoutError(f"Line {index + 1}: {error}") from error


def _read_picture(line: str, *, y: float, legend: Mapping[str, tuple[str, SeatKind]]) -> LayoutRow:
    label, _, picture = line.strip().partition(" ")
    seats: list[dict[str, Any]] = []
    x = 0.0
    for letter in picture.strip():
        if letter == ",":
            x += 0.5
            continue
        if letter != ".":
            if letter not in legend:
                raise LayoutError(f"Row {label}: the legend does not say what {letter!r} is.")
            category, kind = legend[letter]
            seats.append({"number": len(seats) + 1, "x": x, "y": y, "category": category, "kind": kind})
        x += 1.0
    return _read_row({"label": label, "seats": seats})


def _bend(row: LayoutRow, seats: tuple[PlacedSeat, ...], curve: float) -> LayoutRow:
    """Bend a row along a parabola around the screen, as the rows of a real auditorium curve."""
    left, right = min(seat.x for seat in seats), max(seat.x for seat in seats)
    middle, half = (left + right) / 2, max((right - left) / 2, 1.0)
    return LayoutRow(
        label=row.label,
        seats=tuple(
            dataclasses.replace(seat, y=round(seat.y - curve * ((seat.x - middle) / half) ** 2, 3))
            for seat in row.seats
        ),
    )
