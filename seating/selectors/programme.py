"""What is on, when, how full it is, and what every seat of a showtime looks like."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterable, Mapping

from django.db import models
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from seating.layout import PlacedSeat
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


class ViewedStatus(models.TextChoices):
    """What one viewer sees of a seat, and the words for it."""

    AVAILABLE = "available", _("available")
    LOCKED = "locked", _("temporarily unavailable")
    SELECTED = "selected", _("your choice")
    OCCUPIED = "occupied", _("sold")
    BLOCKED = "blocked", _("not on sale")


# What somebody sees who holds nothing. A reservation that has run out is still one: its end is an event of its own.
SEEN_BY_OTHERS = {
    SeatStatus.AVAILABLE: ViewedStatus.AVAILABLE,
    SeatStatus.RESERVED: ViewedStatus.LOCKED,
    SeatStatus.SOLD: ViewedStatus.OCCUPIED,
    SeatStatus.BLOCKED: ViewedStatus.BLOCKED,
}


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


@dataclasses.dataclass(frozen=True, slots=True)
class MappedSeat:
    """A place of the layout, its category's name, what it costs at this showtime, and how it stands."""

    place: PlacedSeat
    category: str
    amount: int | None
    status: ViewedStatus


@dataclasses.dataclass(frozen=True, slots=True)
class SeatMap:
    """All seats of a showtime at one version, row by row from the screen."""

    version: int
    rows: list[tuple[str, list[MappedSeat]]]

    @property
    def kinds(self) -> set[str]:
        """The kinds of places that occur, for the legend."""
        return {seat.place.kind.value for _label, row in self.rows for seat in row}

    @property
    def available(self) -> int:
        """How many seats are free."""
        return sum(seat.status is ViewedStatus.AVAILABLE for _label, row in self.rows for seat in row)


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


def showtime_to_show(showtime_id: int) -> Showtime:
    """Return a showtime with all that its page says of it.

    Raises:
        Showtime.DoesNotExist: there is none with this id.
    """
    return Showtime.objects.select_related("movie", "auditorium", "sales").get(pk=showtime_id)


def price_list(showtime: Showtime) -> list[Price]:
    """Return the prices of the categories that the room has, cheapest category first."""
    there = parsed_layout(showtime.layout_id).categories
    return list(
        Price.objects.filter(showtime=showtime, category__in=there)
        .select_related("category")
        .order_by("category__rank")
    )


def seat_map(*, showtime: Showtime, prices: Iterable[Price]) -> SeatMap:
    """Return every seat of a showtime as somebody sees it who holds none of them.

    Args:
        showtime: whose seats.
        prices: its prices with their categories, as `price_list` returns them. A seat without a price is not sold.
    """
    # Statuses and version in one statement, so that the map is the state at that version.
    rows = list(Seat.objects.filter(showtime=showtime).order_by().values_list("code", "status", "showtime__sales__seq"))
    statuses = {code: SEEN_BY_OTHERS[SeatStatus(status)] for code, status, _version in rows}
    priced = {price.category_id: price for price in prices}
    return SeatMap(
        version=(rows[0][2] or 0) if rows else 0,
        rows=[
            (row.label, [_mapped(place, priced, statuses) for place in row.seats if place.code in statuses])
            for row in parsed_layout(showtime.layout_id).rows
        ],
    )


def _mapped(place: PlacedSeat, prices: Mapping[str, Price], statuses: Mapping[str, ViewedStatus]) -> MappedSeat:
    price = prices.get(place.category)
    if price is None:
        return MappedSeat(place=place, category=place.category, amount=None, status=ViewedStatus.BLOCKED)
    return MappedSeat(place=place, category=price.category.name, amount=price.amount, status=statuses[place.code])


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
