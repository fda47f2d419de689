"""Brings the demo cinema into the database, again and again, and never twice.

Films, rooms, categories and users are made once and then belong to the staff: an edit is not undone by the next
start. Showtimes are topped up.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from bookings.demo import programme
from seating.models import Auditorium, Layout, Movie, SeatCategory, Showtime
from seating.services import publish_layout, schedule_showtime
from seating.services.programme import TURNAROUND

# The strip of the home page shows seven days. One more, because the next daily run may be most of a day away.
DAYS = 8
# Any number, as long as nobody else takes it: two processes that start together load one after the other.
ADVISORY_LOCK = 0x43494E45


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """How many of each a run has made."""

    categories: int
    auditoriums: int
    movies: int
    users: int
    showtimes: int


@transaction.atomic
def load_demo(*, now: dt.datetime | None = None) -> Loaded:
    """Make what is missing of the demo cinema and top up its showtimes.

    Args:
        now: an aware time to start from; this instant, if None.

    Returns:
        What was made; all zeros when nothing was missing.
    """
    with connection.cursor() as cursor:
        # Nobody is kept waiting by whoever waits here, and the first start takes its time.
        cursor.execute("SET LOCAL lock_timeout = '60s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
    return Loaded(
        categories=_make_categories(),
        auditoriums=_make_auditoriums(),
        movies=_make_movies(),
        users=_make_users() if settings.DEMO_USERS else 0,
        showtimes=_top_up_showtimes(now or timezone.now()),
    )


def _make_categories() -> int:
    there = set(SeatCategory.objects.values_list("code", flat=True))
    missing = [SeatCategory(**fields) for fields in programme.categories() if fields["code"] not in there]
    return len(SeatCategory.objects.bulk_create(missing))


def _make_auditoriums() -> int:
    # A room may have got another slug or another name since; it is still that room.
    slugs = set(Auditorium.objects.values_list("slug", flat=True))
    names = set(Auditorium.objects.values_list("name", flat=True))
    missing = [room for room in programme.rooms() if room.slug not in slugs and room.name not in names]
    for room in missing:
        auditorium = Auditorium.objects.create(slug=room.slug, name=room.name, description=room.description)
        publish_layout(auditorium=auditorium, layout=room.layout)
    return len(missing)


def _make_movies() -> int:
    # As with rooms: under another slug or another title it is still that film.
    slugs = set(Movie.objects.values_list("slug", flat=True))
    titles = set(Movie.objects.values_list("title", flat=True))
    missing = [
        Movie(**fields)
        for fields in programme.movies()
        if fields["slug"] not in slugs and fields["title"] not in titles
    ]
    return len(Movie.objects.bulk_create(missing))


def _make_users() -> int:
    users = get_user_model().objects
    there = set(users.filter(username__in=["demo", "staff"]).values_list("username", flat=True))
    if "demo" not in there:
        users.create_user("demo", email="demo@cinema.example", password="demo")  # noqa: S106 - known on purpose
    if "staff" not in there:
        users.create_superuser("staff", email="staff@cinema.example", password="staff")  # noqa: S106 - as above
    return 2 - len(there)


def _top_up_showtimes(now: dt.datetime) -> int:
    zone = timezone.get_default_timezone()
    auditoriums = {auditorium.slug: auditorium for auditorium in Auditorium.objects.all()}
    movies = {movie.slug: movie for movie in Movie.objects.all()}
    prices = programme.prices()
    taken = _taken(now)
    made = 0
    starts = programme.starts(programme.slots(), first_day=now.astimezone(zone).date(), days=DAYS, zone=zone)
    for starts_at, slot in starts:
        if slot.auditorium not in auditoriums or slot.movie not in movies:
            continue
        auditorium, movie = auditoriums[slot.auditorium], movies[slot.movie]
        ends_at = starts_at + dt.timedelta(minutes=movie.runtime_minutes) + TURNAROUND
        if starts_at <= now or any(starts_at < end and start < ends_at for start, end in taken[auditorium.pk]):
            continue
        taken[auditorium.pk].append((starts_at, ends_at))
        made += _schedule(movie, auditorium, starts_at, prices[slot.tariff])
    return made


def _taken(now: dt.datetime) -> dict[int, list[tuple[dt.datetime, dt.datetime]]]:
    """Return when each room is in use. What was cancelled counts: the next start must not bring it back."""
    taken = defaultdict(list)
    for auditorium_id, starts_at, ends_at in Showtime.objects.filter(ends_at__gt=now).values_list(
        "auditorium_id", "starts_at", "ends_at"
    ):
        taken[auditorium_id].append((starts_at, ends_at))
    return taken


def _schedule(movie: Movie, auditorium: Auditorium, starts_at: dt.datetime, prices: dict[str, int]) -> int:
    try:
        schedule_showtime(movie=movie, auditorium=auditorium, starts_at=starts_at, prices=prices)
    except (IntegrityError, Layout.DoesNotExist, ValueError):
        # Staff put a film there in this very moment, took the room's layout away, or gave it seats that the demo has
        # no price for. It is their house.
        return 0
    return 1
