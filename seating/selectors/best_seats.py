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
# Places for wheelchairs, and those of their companions, are not offered: they can be picked.
OFFERED = (SeatKind.SEAT, SeatKind.LOVESEAT)


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
    return best_seats(layout, _for_sale(showtime_id, layout), count, near=near)


def equal_seats(*, showtime_id: int, codes: Collection[str]) -> list[list[str]]:
    """Return groups of seats that are free now and make up for seats that were lost: as many, together, and near.

    Groups of the same categories come first, the others after them. Nothing makes up for a place for a wheelchair.

    Args:
        showtime_id: where and when.
        codes: the seats that were lost, at least one.

    Returns:
        At most 1 + `ALTERNATIVES` groups; empty if so many seats are nowhere free side by side.

    Raises:
        Refusal: `not_found`.
    """
    layout = showtime_layout(showtime_id)
    lost = [layout.by_code[code] for code in codes]
    if not all(place.kind in OFFERED for place in lost):
        return []
    free = _for_sale(showtime_id, layout)
    categories = {place.category for place in lost}
    alike = {code for code in free if layout.by_code[code].category in categories}
    groups = best_seats(layout, alike, len(lost), near=codes)
    used = set(itertools.chain(*groups))
    others = (group for group in best_seats(layout, free, len(lost), near=codes) if used.isdisjoint(group))
    return [*groups, *others][: 1 + ALTERNATIVES]


def _for_sale(showtime_id: int, layout: SeatingLayout) -> set[str]:
    """Return the codes of the seats that can be had now."""
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
    return {code for code in free if layout.by_code[code].category in (priced or ())}


def best_seats(
    layout: SeatingLayout, free: Collection[str], count: int, *, near: Collection[str] = ()
) -> list[list[str]]:
    """Return groups of free seats that touch each other, best first, none sharing a seat with a better one.

    Args:
        layout: the geometry.
        free: the codes of the free seats.
        count: how many seats a group has, at least 1.
        near: seats that the groups should be close to; the best view of the room, if empty.

    Returns:
        At most 1 + `ALTERNATIVES` groups; empty if so many seats are nowhere free side by side.
    """
    target_x, target_y = _middle([layout.by_code[code] for code in near]) if near else _best_view(layout)
    offered = {code for code in free if layout.by_code[code].kind in OFFERED}
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
