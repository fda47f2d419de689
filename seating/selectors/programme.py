"""What is on, when, what it costs and how full it is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import uuid
from collections.abc import Collection

from django.db import models
from django.db.models import Count, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from seating.models import Movie, Price, Seat, SeatStatus, Showtime
from seating.selectors.layouts import parsed_layout

# From these shares of free seats on we say so; in between a house is merely filling up.
PLENTY = 0.5
FEW = 0.15


class Fullness(models.TextChoices):
    """How a showtime sells, in the words of the box office."""

    PLENTY = "plenty", _("Plenty of seats")
    FILLING = "filling", _("Filling up")
    FEW = "few", _("Few seats left")
    NONE_FREE = "none-free", _("None free right now")
    SOLD_OUT = "sold-out", _("Sold out")
    NOT_YET = "not-yet", _("Not on sale yet")
    CLOSED = "closed", _("Sales closed")


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """A showtime on the programme, and how it sells."""

    showtime: Showtime
    fullness: Fullness


@dataclasses.dataclass(frozen=True, slots=True)
class MovieListings:
    """A film and its showtimes of one day, in order of time."""

    movie: Movie
    listings: list[Listing]


@dataclasses.dataclass(frozen=True, slots=True)
class DayListings:
    """A day, on the cinema's clock, and the showtimes of one film on it."""

    day: dt.date
    listings: list[Listing]


def day_programme(*, day: dt.date, now: dt.datetime) -> list[MovieListings]:
    """Return the films of a day with the showtimes that are still sold, the film that begins first in front.

    Args:
        day: on the cinema's clock.
        now: an aware time; what no longer sells then is left out.
    """
    zone = timezone.get_default_timezone()
    showtimes = _upcoming(now).filter(starts_at__gte=_midnight(day, zone), starts_at__lt=_midnight(day, zone, days=1))
    by_movie: dict[int, list[Listing]] = {}
    for listing in _listings(showtimes, now):
        by_movie.setdefault(listing.showtime.movie_id, []).append(listing)
    return [MovieListings(listings[0].showtime.movie, listings) for listings in by_movie.values()]


def first_day(*, now: dt.datetime) -> dt.date | None:
    """Return the day, on the cinema's clock, of the first showtime that is still sold at an aware time, if any."""
    starts_at = _upcoming(now).aggregate(first=Min("starts_at"))["first"]
    return timezone.localdate(starts_at) if starts_at else None


def movie_programme(*, movie: Movie, now: dt.datetime) -> list[DayListings]:
    """Return the days on which a film is shown, with the showtimes that are still sold.

    Args:
        movie: the film.
        now: an aware time; what no longer sells then is left out.
    """
    zone = timezone.get_default_timezone()
    listings = _listings(_upcoming(now).filter(movie=movie), now)
    days = itertools.groupby(listings, key=lambda listing: listing.showtime.starts_at.astimezone(zone).date())
    return [DayListings(day, list(of_the_day)) for day, of_the_day in days]


def movies() -> QuerySet[Movie]:
    """Return all films, by title."""
    return Movie.objects.order_by("title", "pk")


def showtimes() -> QuerySet[Showtime]:
    """Return all showtimes in order of time, each with the number of its seats that are made and that are free."""
    seats = Seat.objects.filter(showtime=OuterRef("pk")).order_by().values("showtime")
    return (
        Showtime.objects.select_related("movie", "auditorium", "sales")
        .annotate(
            made_seats=Coalesce(Subquery(seats.annotate(n=Count("pk")).values("n")), 0),
            available_seats=Coalesce(
                Subquery(seats.filter(status=SeatStatus.AVAILABLE).annotate(n=Count("pk")).values("n")), 0
            ),
        )
        .order_by("starts_at", "pk")
    )


def upcoming_showtimes(*, now: dt.datetime) -> QuerySet[Showtime]:
    """Return those of `showtimes` that take place and still sell at an aware time."""
    return showtimes().filter(cancelled_at__isnull=True, sales_close_at__gt=now)


def showtimes_of_day(day: dt.date) -> QuerySet[Showtime]:
    """Return those of `showtimes` that take place on a day, on the cinema's clock."""
    zone = timezone.get_default_timezone()
    return showtimes().filter(
        cancelled_at__isnull=True, starts_at__gte=_midnight(day, zone), starts_at__lt=_midnight(day, zone, days=1)
    )


def on_sale(showtime: Showtime) -> bool:
    """Return whether the seats of a showtime can be had now, by this machine's clock; a sale asks PostgreSQL's.

    Args:
        showtime: with its `sales`.
    """
    return sales_state(showtime, timezone.now()) is None


def showtime_to_show(showtime_id: int) -> Showtime:
    """Return a showtime with all that its page says of it.

    Raises:
        Showtime.DoesNotExist: there is none with this id.
    """
    return Showtime.objects.select_related("movie", "auditorium", "sales").get(pk=showtime_id)


def showtime_of_hold(hold_id: uuid.UUID) -> Showtime:
    """Return the showtime of a hold, however that ended.

    Raises:
        Showtime.DoesNotExist: there is no such hold.
    """
    return Showtime.objects.get(holds=hold_id)


def missing_showtimes(showtime_ids: Collection[int]) -> list[int]:
    """Return which of the ids are no showtime's."""
    known = Showtime.objects.filter(pk__in=showtime_ids).values_list("pk", flat=True)
    return sorted(set(showtime_ids) - set(known))


def price_list(showtime: Showtime) -> list[Price]:
    """Return the prices of the categories that the room has, cheapest category first."""
    there = parsed_layout(showtime.layout_id).categories
    return list(
        Price.objects.filter(showtime=showtime, category__in=there)
        .select_related("category")
        .order_by("category__rank")
    )


def sales_state(showtime: Showtime, now: dt.datetime) -> Fullness | None:
    """Return why a showtime sells nothing now, if the clock or the house says so; else None.

    Args:
        showtime: with its `sales`.
        now: an aware time.
    """
    # A showtime that was made without seats has no sales row before its first use; nothing has stopped it.
    stopped = hasattr(showtime, "sales") and not showtime.sales.sales_open
    if showtime.cancelled_at or stopped or showtime.sales_close_at <= now:
        return Fullness.CLOSED
    return Fullness.NOT_YET if showtime.sales_open_at > now else None


def fullness(*, showtime: Showtime, seats: int, available: int, reserved: int, now: dt.datetime) -> Fullness:
    """Say how a showtime sells.

    Args:
        showtime: with its `sales`.
        seats: how many seats it has; 0 while they are not made, and then all are free.
        available: how many of them are free.
        reserved: how many are held, and so may come back.
        now: an aware time.
    """
    if state := sales_state(showtime, now):
        return state
    if seats and not available:
        return Fullness.NONE_FREE if reserved else Fullness.SOLD_OUT
    if not seats or available >= seats * PLENTY:
        return Fullness.PLENTY
    return Fullness.FILLING if available > seats * FEW else Fullness.FEW


def _upcoming(now: dt.datetime) -> QuerySet[Showtime]:
    return Showtime.objects.filter(cancelled_at__isnull=True, sales_close_at__gt=now)


def _listings(showtimes: QuerySet[Showtime], now: dt.datetime) -> list[Listing]:
    found = list(
        showtimes.select_related("movie", "auditorium", "sales").order_by("starts_at", "auditorium__name", "pk")
    )
    counted = {
        showtime_id: {"seats": seats, "available": available, "reserved": reserved}
        for showtime_id, seats, available, reserved in Seat.objects.filter(showtime__in=[row.pk for row in found])
        .order_by()
        .values("showtime_id")
        .annotate(
            seats=Count("pk"),
            available=Count("pk", filter=Q(status=SeatStatus.AVAILABLE)),
            reserved=Count("pk", filter=Q(status=SeatStatus.RESERVED)),
        )
        .values_list("showtime_id", "seats", "available", "reserved")
    }
    none = {"seats": 0, "available": 0, "reserved": 0}
    return [
        Listing(showtime, fullness(showtime=showtime, now=now, **counted.get(showtime.pk, none))) for showtime in found
    ]


def _midnight(day: dt.date, zone: dt.tzinfo, *, days: int = 0) -> dt.datetime:
    return dt.datetime.combine(day + dt.timedelta(days=days), dt.time(), tzinfo=zone)
