"""Which seats to offer: together, towards the middle, and without leaving a single seat behind."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence

from django.db import connection

from seating.layout import PlacedSeat, SeatingLayout, SeatKind
from seating.selectors.layouts import showtime_layout

# The best view is a little behind the middle of the room: two thirds of the way from the screen.
BEST_DEPTH = 2 / 3
# Sitting one row nearer or farther matters less than sitting one seat to the side.
ROW_WEIGHT = 0.8
# A group that leaves one seat alone beside it is as bad as one that sits this many seats farther from the middle.
STRANDED_PENALTY = 3.0
ALTERNATIVES = 3


def offered_seats(*, showtime_id: int, count: int, near: Collection[str] = ()) -> list[list[str]]:
    """Return the best groups of seats that are free at a showtime now, as `best_seats` ranks them.

    Args:
        showtime_id: where and when.
        count: how many seats together.
        near: seats that the groups should be close to, such as those that somebody else was quicker to take.

    Raises:
        Refusal: `not_found`.
    """
    layout = showtime_layout(showtime_id)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT array_agg(category_id) FROM seating_price WHERE showtime_id = %(showtime)s),
                   (SELECT array_agg(code) FROM seating_seat WHERE showtime_id = %(showtime)s),
                   (SELECT array_agg(code) FROM seating_seat WHERE showtime_id = %(showtime)s AND status = 'AVAILABLE')
            """,
            {"showtime": showtime_id},
        )
        priced, made, available = cursor.fetchone()
    # Before the first use of a showtime that was made without seats, all of them are free.
    free = (available or ()) if made else layout.by_code
    # A category that lost its price cannot be sold.
    for_sale = {code for code in free if layout.by_code[code].category in (priced or ())}
    return best_seats(layout, for_sale, count, near=near)


def best_seats(
    layout: SeatingLayout, free: Collection[str], count: int, *, near: Collection[str] = ()
) -> list[list[str]]:
    """Return groups of free seats that touch each other, best first, none sharing a seat with a better one.

    Places for wheelchairs, and those of their companions, are not offered: they can be picked.

    Args:
        layout: the geometry.
        free: the codes of the free seats.
        count: how many seats a group has, at least 1.
        near: seats that the groups should be close to; the best view of the room, if empty.

    Returns:
        At most 1 + `ALTERNATIVES` groups; empty if so many seats are nowhere free side by side.
    """
    target_x, target_y = _middle([layout.by_code[code] for code in near]) if near else _best_view(layout)
    offered = {code for code in free if layout.by_code[code].kind in (SeatKind.SEAT, SeatKind.LOVESEAT)}
    ranked = sorted(
        (_distance(group, target_x, target_y) + STRANDED_PENALTY * stranded, [seat.code for seat in group])
        for group, stranded in _groups(layout, offered, count)
    )
    chosen: list[list[str]] = []
    used: set[str] = set()
    for _cost, codes in ranked:
        if used.isdisjoint(codes):
            chosen.append(codes)
            used.update(codes)
        if len(chosen) > ALTERNATIVES:
            break
    return chosen


def _groups(layout: SeatingLayout, free: Collection[str], count: int) -> Iterator[tuple[Sequence[PlacedSeat], int]]:
    """Yield every group of `count` free seats that touch, and how many single seats it would leave beside it."""
    for row in layout.rows:
        for stretch in row.stretches():
            for is_free, run in itertools.groupby(stretch, key=lambda seat: seat.code in free):
                seats = list(run)
                for start in range(len(seats) - count + 1 if is_free else 0):
                    left, right = start, len(seats) - start - count
                    yield seats[start : start + count], (left == 1) + (right == 1)


def _best_view(layout: SeatingLayout) -> tuple[float, float]:
    xs, ys = [seat.x for seat in layout.seats], [seat.y for seat in layout.seats]
    return (min(xs) + max(xs)) / 2, min(ys) + (max(ys) - min(ys)) * BEST_DEPTH


def _middle(seats: Sequence[PlacedSeat]) -> tuple[float, float]:
    return sum(seat.x for seat in seats) / len(seats), sum(seat.y for seat in seats) / len(seats)


def _distance(group: Sequence[PlacedSeat], x: float, y: float) -> float:
    middle_x, middle_y = _middle(group)
    return math.hypot(middle_x - x, (middle_y - y) * ROW_WEIGHT)
