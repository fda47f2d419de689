"""What the front page of the admin says of today."""

from __future__ import annotations

from django import template
from django.utils import timezone

from seating.models import Showtime
from seating.selectors.house import Occupancy, ShowtimeState, showtime_state, showtimes_today

register = template.Library()


@register.simple_tag
def house_today() -> list[tuple[Showtime, ShowtimeState, Occupancy]]:
    """Return today's showtimes, where they stand, and how full they are."""
    now = timezone.now()
    return [(showtime, showtime_state(showtime, now), full) for showtime, full in showtimes_today()]
