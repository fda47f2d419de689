"""A layout as text, there and back: what a drawing's legend says, and how a layout that was drawn is drawn again."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping

from seating.layout import LayoutError, LayoutRow, PlacedSeat, SeatingLayout, SeatKind

Place = tuple[str, SeatKind]
Legend = dict[str, Place]

LETTER = re.compile(r"[A-Za-z0-9#@*+]")
# Positions are stored with three decimals.
NEAR = 0.01
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#@*+"
# Letters that people expect for what is not a plain seat.
USUAL = {SeatKind.WHEELCHAIR: "w", SeatKind.COMPANION: "c", SeatKind.LOVESEAT: "l"}


@dataclasses.dataclass(frozen=True, slots=True)
class Drawing:
    """A layout as people write it: the rows, what each letter is, and how far the rows curve, in seat widths."""

    rows: str
    legend: Legend
    curve: float

    def layout(self) -> SeatingLayout:
        """Return the layout that is drawn.

        Raises:
            LayoutError: it makes no sense; the message names the line.
        """
        return SeatingLayout.from_drawing(self.rows, self.legend, curve=self.curve)


def read_legend(text: str, categories: Collection[str]) -> Legend:
    """Read a legend: on each line a letter, the code of a category and, unless it is a plain seat, its kind.

    Args:
        text: such as ``s standard`` and, on the next line, ``w standard wheelchair``.
        categories: the codes that there are.

    Raises:
        LayoutError: it makes no sense; the message names the line.
    """
    legend: Legend = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) not in (2, 3) or not LETTER.fullmatch(words[0]):
            raise LayoutError(f"Legend, line {number}: write a letter, a category and perhaps a kind, not “{line}”.")
        letter, category, kind = (*words, SeatKind.SEAT.value)[:3]
        if letter in legend:
            raise LayoutError(f"Legend, line {number}: {letter!r} stands there twice.")
        if category not in categories:
            raise LayoutError(f"Legend, line {number}: there is no category {category!r}.")
        if kind not in set(SeatKind):
            raise LayoutError(f"Legend, line {number}: {kind!r} is no kind of seat; say {', '.join(SeatKind)}.")
        legend[letter] = (category, SeatKind(kind))
    return legend


def legend_text(legend: Mapping[str, Place]) -> str:
    """Return a legend as `read_legend` reads it."""
    return "\n".join(
        " ".join((letter, category) if kind is SeatKind.SEAT else (letter, category, kind.value))
        for letter, (category, kind) in legend.items()
    )


def usual_legend(categories: Iterable[str]) -> Legend:
    """Return a legend to begin with: plain seats of each category, wheelchair places in the first of them."""
    plain: list[Place] = [(category, SeatKind.SEAT) for category in categories]
    accessible = [(plain[0][0], kind) for kind in (SeatKind.WHEELCHAIR, SeatKind.COMPANION)] if plain else []
    return _lettered([*plain, *accessible])


def drawing_of(layout: SeatingLayout) -> Drawing | None:
    """Return a layout as text; None if no drawing says the same, because it came from elsewhere."""
    legend = _lettered((seat.category, seat.kind) for seat in layout.seats)
    curve = _curve(layout)
    for digits in range(4):
        rows = _drawn_rows(layout, legend, round(curve, digits))
        if rows is None:
            continue
        drawing = Drawing(rows=rows, legend=legend, curve=round(curve, digits))
        try:
            if _alike(drawing.layout(), layout):
                return drawing
        except LayoutError:
            continue
    return None


def _lettered(places: Iterable[Place]) -> Legend:
    """Give each place a letter that reminds of it. There are more letters than any house has categories."""
    legend: Legend = {}
    for category, kind in dict.fromkeys(places):
        letters = USUAL.get(kind, "") + category + ALPHABET
        legend[next(letter for letter in letters if LETTER.fullmatch(letter) and letter not in legend)] = (
            category,
            kind,
        )
    return legend


def _curve(layout: SeatingLayout) -> float:
    """Return how far the rows curve, judged by the seats that show it best: `layout._bend` the other way round."""
    first = max(layout.rows[0].seats, key=lambda seat: _bend(layout, seat))
    # The middle of the first row, whether a seat is there or not, stands at 0.
    best, curve = _bend(layout, first), -first.y / (_bend(layout, first) or 1.0)
    for row in layout.rows:
        by_bend = sorted(row.seats, key=lambda seat: _bend(layout, seat))
        inner, outer = by_bend[0], by_bend[-1]
        difference = _bend(layout, outer) - _bend(layout, inner)
        if difference > best:
            best, curve = difference, (inner.y - outer.y) / difference
    return curve


def _bend(layout: SeatingLayout, seat: PlacedSeat) -> float:
    """Return how far a curve of 1 moves a seat towards the screen."""
    left, right = min(seat.x for seat in layout.seats), max(seat.x for seat in layout.seats)
    return float(((seat.x - (left + right) / 2) / max((right - left) / 2, 1.0)) ** 2)


def _drawn_rows(layout: SeatingLayout, legend: Legend, curve: float) -> str | None:
    letters = {place: letter for letter, place in legend.items()}
    lines: list[str] = []
    for row in layout.rows:
        line = round(row.seats[0].y + curve * _bend(layout, row.seats[0]))
        if line < len(lines):
            return None
        lines += [""] * (line - len(lines))
        lines.append(_drawn_row(row, letters))
    return "\n".join(lines)


def _drawn_row(row: LayoutRow, letters: Mapping[Place, str]) -> str:
    picture, x = "", 0.0
    for seat in row.seats:
        halves = max(0, round((seat.x - x) * 2))
        picture += "." * (halves // 2) + "," * (halves % 2) + letters[(seat.category, seat.kind)]
        x = seat.x + 1
    return f"{row.label} {picture}"


def _alike(one: SeatingLayout, other: SeatingLayout) -> bool:
    return len(one.seats) == len(other.seats) and all(
        (left.code, left.category, left.kind) == (right.code, right.category, right.kind)
        and abs(left.x - right.x) < NEAR
        and abs(left.y - right.y) < NEAR
        for left, right in zip(one.seats, other.seats, strict=True)
    )
