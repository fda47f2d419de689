"""Layouts, parsed once per process: they never change."""

from __future__ import annotations

import functools

from seating.layout import SeatingLayout
from seating.models import Layout


@functools.lru_cache(maxsize=128)
def parsed_layout(layout_id: int) -> SeatingLayout:
    """Return the geometry of a layout.

    Raises:
        Layout.DoesNotExist: there is none with this id.
    """
    return SeatingLayout.from_geometry(Layout.objects.get(pk=layout_id).geometry)
