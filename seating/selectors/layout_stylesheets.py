"""Where the seats of a layout stand on a page, as CSS."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

from seating.layout import SeatingLayout
from seating.selectors.layouts import parsed_layout

# Room around the outermost seats for the letters of the rows, in seat widths.
MARGIN = 1.5


class LayoutStylesheet(NamedTuple):
    """The rules, and a digest that stands in their address."""

    rules: str
    digest: str


@functools.lru_cache(maxsize=128)
def layout_stylesheet(layout_id: int) -> LayoutStylesheet:
    """Return the style sheet of a layout, made once per process.

    Raises:
        Layout.DoesNotExist: there is none with this id.
    """
    rules = _rules(layout_id, parsed_layout(layout_id))
    return LayoutStylesheet(rules=rules, digest=hashlib.sha256(rules.encode()).hexdigest()[:12])


def _rules(layout_id: int, layout: SeatingLayout) -> str:
    left, top = min(seat.x for seat in layout.seats), min(seat.y for seat in layout.seats)
    width = max(seat.x for seat in layout.seats) - left + 1
    height = max(seat.y for seat in layout.seats) - top + 1
    rules = [f".layout-{layout_id}{{--columns:{width + 2 * MARGIN:g};--rows:{height:g}}}"]
    for row in layout.rows:
        first, last = row.seats[0], row.seats[-1]
        for name, x, y in (("start", first.x - 1, first.y), ("end", last.x + 1, last.y)):
            rules.append(f"#row-{row.label}-{name}{{--x:{x - left + MARGIN:g};--y:{y - top:g}}}")
        rules += [f"#seat-{seat.code}{{--x:{seat.x - left + MARGIN:g};--y:{seat.y - top:g}}}" for seat in row.seats]
    return "\n".join(rules) + "\n"
