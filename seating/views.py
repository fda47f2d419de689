"""The pages of the programme: what is on, a film, a showtime with its seat map and the forms of it."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from cinebook.core.error_responses import error_body
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rate_limits import SEAT_OPERATIONS, count_request
from seating.identity import Claimant, claimant_of_session, welcome
from seating.models import Layout, Movie, Showtime
from seating.selectors import programme
from seating.selectors.holds import live_hold
from seating.selectors.layout_stylesheets import layout_stylesheet
from seating.selectors.layouts import showtime_layout
from seating.selectors.seat_map import SeatMap, ViewedStatus, chosen_seats, seat_map, seat_snapshot
from seating.serializers import HoldSerializer
from seating.services import hold_best_seats, hold_seats, leave, make_missing_seats, release_seats, stay

# How many days the strip of the home page offers.
DAYS = 7
# A layout never changes, and neither does what stands under its address.
FOR_EVER = "public, max-age=31536000, immutable"
# Where a session keeps what the page shall say that follows a refused form.
REFUSAL = "seat_refusal"
# The field, and the parameter, that keep the map close up over a form.
ZOOM = "zoom"
A_NUMBER = re.compile(r"[1-9][0-9]{0,2}")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What is on, on the day that `?day=` names; if it names none of the strip, on the first that has films left."""
    now = timezone.now()
    today = timezone.localdate(now)
    days = [today + dt.timedelta(days=number) for number in range(DAYS)]
    # Late in the evening nobody is greeted by a dark screen.
    first_day = programme.first_day(now=now)
    first_day = first_day if first_day in days else today
    day = next((day for day in days if day.isoformat() == request.GET.get("day")), first_day)
    return render(
        request,
        "seating/home.html",
        {
            "days": days,
            "day": day,
            "today": today,
            "first_day": first_day,
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
    """A showtime: prices, the map of its seats, and those of the viewer. Who opens it becomes a holder."""
    try:
        shown = programme.showtime_to_show(showtime_id)
    except Showtime.DoesNotExist as error:
        raise Http404 from error
    prices = programme.price_list(shown)
    holder_id = welcome(request.session, request.user).holder_id
    stay(holder_id=holder_id, showtime_id=shown.pk)
    hold = live_hold(holder_id=holder_id, showtime_id=shown.pk)
    snapshot = seat_snapshot(showtime_id=shown.pk, holder_id=holder_id)
    if not snapshot.seats:
        make_missing_seats(showtime_id=shown.pk)
        snapshot = seat_snapshot(showtime_id=shown.pk, holder_id=holder_id)
    drawn = seat_map(showtime=shown, prices=prices, snapshot=snapshot)
    return render(
        request,
        "seating/showtime.html",
        {
            "showtime": shown,
            "movie": shown.movie,
            "prices": prices,
            "seat_map": drawn,
            "layout_digest": layout_stylesheet(shown.layout_id).digest,
            "state": _state(shown, drawn),
            "hold": hold,
            "hold_json": json.dumps(HoldSerializer(hold).data if hold else None),
            "chosen": chosen_seats(drawn, hold) if hold else [],
            "checkout": checkout_address(hold.hold_id) if hold else "",
            "visited_at": snapshot.server_time.isoformat(),
            "hold_seconds": shown.hold_seconds or settings.SEAT_HOLD_SECONDS,
            "quantities": range(1, settings.MAX_SEATS_PER_HOLD + 1),
            "zoom": request.GET.get(ZOOM),
            "refusal": request.session.pop(REFUSAL, None) if REFUSAL in request.session else None,
        },
    )


@require_POST
def seats(request: HttpRequest, showtime_id: int) -> HttpResponse:
    """The form around the map: take or release seats, then back to the map. It is there for who has no JavaScript."""
    claimant = welcome(request.session, request.user)
    try:
        showtime_layout(showtime_id)
        count_request(SEAT_OPERATIONS, str(claimant.holder_id))
        place = _act(claimant, showtime_id, request.POST)
    except Refusal as refused:
        if refused.code is ErrorCode.NOT_FOUND:
            raise Http404 from refused
        told = error_body(refused)
        request.session[REFUSAL] = {"detail": told["detail"], "alternatives": told.get("alternatives", [])}
        place = "refusal"
    zoom = "?zoom=close" if request.POST.get(ZOOM) == "close" else ""
    back = HttpResponseRedirect(f"{reverse('showtime', args=[showtime_id])}{zoom}#{place}")
    back.status_code = HTTPStatus.SEE_OTHER
    return back


@require_POST
def leaving(request: HttpRequest, showtime_id: int) -> HttpResponse:
    """A page with the map was closed: its script says so on the way out."""
    claimant = claimant_of_session(request.session, request.user)
    if claimant and Showtime.objects.filter(pk=showtime_id).exists():
        visited_at = _instant(request.POST.get("visited_at", ""))
        leave(holder_id=claimant.holder_id, showtime_id=showtime_id, visited_at=visited_at)
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


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


def checkout_address(hold_id: uuid.UUID) -> str:
    """Return where a hold is bought."""
    return reverse("checkout", args=[hold_id])


def _state(showtime: Showtime, drawn: SeatMap) -> str:
    """Return why nothing can be picked: cancelled, or as `Fullness` calls it; empty if something can."""
    if showtime.cancelled_at:
        return "cancelled"
    if closed := programme.sales_state(showtime, timezone.now()):
        return closed.value
    if drawn.available:
        return ""
    held = drawn.count(ViewedStatus.LOCKED) + drawn.count(ViewedStatus.SELECTED)
    return (programme.Fullness.NONE_FREE if held else programme.Fullness.SOLD_OUT).value


def _act(claimant: Claimant, showtime_id: int, asked: QueryDict) -> str:
    """Do what the pressed button says; return the place of the page to come back to."""
    holder_id, user_id = claimant.holder_id, claimant.user_id
    where: dict[str, Any] = {"holder_id": holder_id, "showtime_id": showtime_id}
    pressed = {name: str(asked[name]) for name in ("seat", "take", "best", "release", "release_all") if name in asked}
    match pressed:
        case {"seat": code}:
            hold = live_hold(**where)
            if hold and code in hold.seats:
                release_seats(**where, codes=[code])
            else:
                hold_seats(**where, user_id=user_id, codes=[code])
            return f"seat-{code}"
        case {"take": codes} if codes.split():
            hold_seats(**where, user_id=user_id, codes=list(dict.fromkeys(codes.split())))
            return f"seat-{codes.split()[0]}"
        case {"best": _} if A_NUMBER.fullmatch(quantity := str(asked.get("quantity"))):
            hold_best_seats(**where, user_id=user_id, quantity=int(quantity))
            return "choice"
        case {"release": code}:
            release_seats(**where, codes=[code])
            return "choice"
        case {"release_all": _}:
            release_seats(**where)
            return "choice"
    raise Refusal(ErrorCode.INVALID_DATA)


def _instant(text: str) -> dt.datetime | None:
    try:
        instant = parse_datetime(text)
    except ValueError:
        return None
    return instant if instant and instant.tzinfo else None
