"""The pages of the programme: what is on, a film, a showtime with its seat map."""

from __future__ import annotations

import datetime as dt

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from seating.identity import welcome
from seating.models import Layout, Movie, Showtime
from seating.selectors import programme
from seating.selectors.layout_stylesheets import layout_stylesheet
from seating.selectors.seat_map import seat_map, seat_snapshot
from seating.services import make_missing_seats

# How many days the strip of the home page offers.
DAYS = 7
# A layout never changes, and neither does what stands under its address.
FOR_EVER = "public, max-age=31536000, immutable"


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
@ensure_csrf_cookie
@never_cache
def showtime(request: HttpRequest, showtime_id: int) -> HttpResponse:
    """A showtime: prices, and the map of its seats as they stand. Who opens it becomes a holder."""
    try:
        shown = programme.showtime_to_show(showtime_id)
    except Showtime.DoesNotExist as error:
        raise Http404 from error
    prices = programme.price_list(shown)
    holder_id = welcome(request.session, request.user).holder_id
    snapshot = seat_snapshot(showtime_id=shown.pk, holder_id=holder_id)
    if not snapshot.seats:
        make_missing_seats(showtime_id=shown.pk)
        snapshot = seat_snapshot(showtime_id=shown.pk, holder_id=holder_id)
    now = timezone.now()
    return render(
        request,
        "seating/showtime.html",
        {
            "showtime": shown,
            "movie": shown.movie,
            "prices": prices,
            "seat_map": seat_map(showtime=shown, prices=prices, snapshot=snapshot),
            "layout_digest": layout_stylesheet(shown.layout_id).digest,
            "state": "cancelled" if shown.cancelled_at else programme.sales_state(shown, now) or "",
        },
    )


@require_safe
def stylesheet(request: HttpRequest, layout_id: int, digest: str) -> HttpResponse:
    """Where the seats of a layout stand, as a style sheet: our policy allows no styles in the page itself."""
    try:
        current = layout_stylesheet(layout_id)
    except Layout.DoesNotExist as error:
        raise Http404 from error
    response = HttpResponse(current.rules, content_type="text/css; charset=utf-8")
    # While a new version of this code rolls out, a page of one may ask the other: then nobody keeps the answer.
    response["Cache-Control"] = FOR_EVER if digest == current.digest else "no-store"
    return response
