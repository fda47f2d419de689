"""Layouts, parsed once per process: they never change."""

from __future__ import annotations

import functools

from cinebook.core.errors import ErrorCode, Refusal
from seating.layout import SeatingLayout
from seating.models import Layout, Showtime


@functools.lru_cache(maxsize=128)
def parsed_layout(layout_id: int) -> SeatingLayout:
    """Return the geometry of a layout.

    Raises:
        Layout.DoesNotExist: there is none with this id.
    """
    return SeatingLayout.from_geometry(Layout.objects.get(pk=layout_id).geometry)


@functools.lru_cache(maxsize=10_000)
def _layout_id(showtime_id: int) -> int:
    return Showtime.objects.values_list("layout_id", flat=True).get(pk=showtime_id)


def showtime_layout(showtime_id: int) -> SeatingLayout:
    """Return the geometry of a showtime's auditorium; without a statement from the second time on.

    Raises:
        Refusal: `not_found`.
    """
    try:
        return parsed_layout(_layout_id(showtime_id))
    except Showtime.DoesNotExist:
        raise Refusal(ErrorCode.NOT_FOUND) from None
