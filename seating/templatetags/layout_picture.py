"""A layout as a picture that needs no styles of its own: it may be one that is nowhere stored yet."""

from __future__ import annotations

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from seating.layout import SeatingLayout

register = template.Library()

# How large a seat is, in the picture's own units, and how much of that is the gap to its neighbour.
SEAT = 20
GAP = 3


@register.simple_tag
def picture(layout: SeatingLayout | None) -> SafeString:
    """Return a layout as an SVG with its screen above; nothing for no layout.

    Args:
        layout: what is to be drawn.
    """
    if layout is None:
        return SafeString("")
    left, top = min(seat.x for seat in layout.seats), min(seat.y for seat in layout.seats)
    width = max(seat.x for seat in layout.seats) - left + 1
    height = max(seat.y for seat in layout.seats) - top + 1
    # The outer columns carry the labels of the rows, the first two lines the screen.
    rows = [
        {
            "label": row.label,
            "y": (row.seats[0].y - top + 2) * SEAT + SEAT * 0.7,
            "seats": [
                {
                    "place": seat,
                    "x": (seat.x - left + 1) * SEAT,
                    "y": (seat.y - top + 2) * SEAT,
                    "colour": layout.categories.index(seat.category) % 6,
                }
                for seat in row.seats
            ],
        }
        for row in layout.rows
    ]
    return render_to_string(
        "admin/seating/_layout_picture.html",
        {
            "rows": rows,
            "width": (width + 2) * SEAT,
            "height": (height + 2.5) * SEAT,
            "screen_end": width * SEAT,
            "size": SEAT - GAP,
            "seats": len(layout.seats),
            "categories": list(enumerate(layout.categories)),
        },
    )
