"""The pages of the programme: what is on, a film, a showtime with its seat map."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from seating.layout import SeatingLayout
from seating.models import Layout, Movie, Showtime
from seating.selectors import programme
from seating.services import make_seats

# How many days the strip of the home page offers.
DAYS = 7
# A layout never changes, and neither does what stands under its address.
FOR_EVER = "public, max-age=31536000, immutable"
# Room around the outermost seats for the letters of the rows, in seat widths.
MARGIN = 1.5


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What is on, on the day that `?day=` names; today, if it names none of the strip."""
    now = timezone.now()
    today = timezone.localdate(now)
    days = [today + dt.timedelta(days=number) for number in range(DAYS)]
    day = next((day for day in days if day.isoformat() == request.GET.get("day")), today)
    return render(
        request,
        "seating/home.html",
        {
            "days": days,
            "day": day,
            "today": today,
            "next_day": day + dt.timedelta(days=1) if day != days[-1] else None,
            "films": programme.day_programme(day=day, now=now),
        },
    )


@require_safe
def movie(request: HttpRequest, slug: str) -> HttpResponse:
    """A film: what it is, and when it is shown."""
    film = get_object_or_404(Movie, slug=slug)
    now = timezone.now()
    return render(
        request,
        "seating/movie.html",
        {
            "movie": film,
            "today": timezone.localdate(now),
            "days": programme.movie_programme(movie=film, now=now),
        },
    )


@require_safe
def showtime(request: HttpRequest, showtime_id: int) -> HttpResponse:
    """A showtime: prices, and the map of its seats as they stand."""
    try:
        shown = programme.showtime_to_show(showtime_id)
    except Showtime.DoesNotExist as error:
        raise Http404 from error
    prices = programme.price_list(shown)
    seat_map = programme.seat_map(showtime=shown, prices=prices)
    # Made without seats, for instance by an import: they come into being on first use.
    if not any(row for _label, row in seat_map.rows) and make_seats(showtime=shown):
        seat_map = programme.seat_map(showtime=shown, prices=prices)
    _rules, digest = _stylesheet(shown.layout_id)
    return render(
        request,
        "seating/showtime.html",
        {
            "showtime": shown,
            "movie": shown.movie,
            "prices": prices,
            "seat_map": seat_map,
            "layout_digest": digest,
            "state": _state(shown),
        },
    )


@require_safe
def layout_stylesheet(request: HttpRequest, layout_id: int, digest: str) -> HttpResponse:
    """Where the seats of a layout stand, as a style sheet: our policy allows no styles in the page itself."""
    try:
        rules, current = _stylesheet(layout_id)
    except Layout.DoesNotExist as error:
        raise Http404 from error
    response = HttpResponse(rules, content_type="text/css; charset=utf-8")
    # While a new version of this code rolls out, a page of one may ask the other: then nobody keeps the answer.
    response["Cache-Control"] = FOR_EVER if digest == current else "no-store"
    return response


def _state(shown: Showtime) -> str:
    """Return what the page says instead of offering seats; nothing while the showtime sells."""
    now = timezone.now()
    if shown.cancelled_at:
        return "cancelled"
    how_full = programme.fullness(showtime=shown, seats=0, available=0, reserved=0, now=now)
    return how_full.value if how_full in {programme.Fullness.NOT_YET, programme.Fullness.CLOSED} else ""


@functools.lru_cache(maxsize=128)
def _stylesheet(layout_id: int) -> tuple[str, str]:
    rules = _rules(layout_id, programme.parsed_layout(layout_id))
    return rules, hashlib.sha256(rules.encode()).hexdigest()[:12]


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
