"""Rooms get layouts, films get showtimes, showtimes get seats."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from cinebook.core.errors import ErrorCode, Refusal
from seating.layout import SeatingLayout
from seating.models import Auditorium, Layout, Movie, Price, Showtime, ShowtimeSales
from seating.services.transactions import busy_is_refused

# Trailers before the film and cleaning after it, until the room is free again.
TURNAROUND = dt.timedelta(minutes=30)
# Latecomers buy until the trailers are over.
SALES_CLOSE_AFTER_START = dt.timedelta(minutes=15)


@transaction.atomic
def publish_layout(*, auditorium: Auditorium, layout: SeatingLayout) -> Layout:
    """Give an auditorium a new layout, unless its current one is the same.

    Args:
        auditorium: the room; showtimes that it has keep the layout they were made with.
        layout: the new geometry.

    Returns:
        The room's current layout.
    """
    # The room's row is the lock: two editors must not number their layouts alike.
    Auditorium.objects.select_for_update(no_key=True).get(pk=auditorium.pk)
    geometry = layout.geometry()
    current = auditorium.layouts.order_by("number").last()
    if current is not None and current.geometry == geometry:
        return current
    newest = auditorium.layouts.aggregate(newest=Max("number"))["newest"] or 0
    return Layout.objects.create(auditorium=auditorium, number=newest + 1, geometry=geometry)


@transaction.atomic
def schedule_showtime(
    *,
    movie: Movie,
    auditorium: Auditorium,
    starts_at: dt.datetime,
    prices: Mapping[str, int],
    sales_open_at: dt.datetime | None = None,
    sales_close_at: dt.datetime | None = None,
    hold_seconds: int | None = None,
) -> Showtime:
    """Put a film on the programme and make the seats of the showtime.

    Args:
        movie: what is shown.
        auditorium: where; its current layout becomes the showtime's.
        starts_at: when, aware.
        prices: the amount in minor units for each category of the layout, by its code.
        sales_open_at: when selling begins; now, if None.
        sales_close_at: when selling ends; a quarter of an hour after the start, if None.
        hold_seconds: how long seats are held here; the setting SEAT_HOLD_SECONDS, if None.

    Returns:
        The showtime, which sells from `sales_open_at` on.

    Raises:
        Layout.DoesNotExist: the room has no layout.
        ValueError: a category of the layout has no price.
        IntegrityError: the room shows another film then, or the times contradict each other.
    """
    layout = auditorium.current_layout()
    missing = set(SeatingLayout.from_geometry(layout.geometry).categories) - set(prices)
    if missing:
        raise ValueError(f"These categories have no price: {', '.join(sorted(missing))}.")
    showtime = Showtime.objects.create(
        movie=movie,
        auditorium=auditorium,
        layout=layout,
        starts_at=starts_at,
        ends_at=starts_at + dt.timedelta(minutes=movie.runtime_minutes) + TURNAROUND,
        sales_open_at=sales_open_at or timezone.now(),
        sales_close_at=sales_close_at or starts_at + SALES_CLOSE_AFTER_START,
        hold_seconds=hold_seconds,
        currency=settings.CURRENCY,
    )
    Price.objects.bulk_create(
        Price(showtime=showtime, category_id=code, amount=amount) for code, amount in prices.items()
    )
    make_seats(showtime=showtime)
    return showtime


@transaction.atomic
def make_seats(*, showtime: Showtime) -> int:
    """Make the seats of a showtime from its layout, and its counter; those that are there stay as they are.

    Called when the showtime is made, and on first use for a showtime that was made without seats.

    Returns:
        How many seats were made.
    """
    ShowtimeSales.objects.bulk_create([ShowtimeSales(showtime=showtime)], ignore_conflicts=True)
    codes = SeatingLayout.from_geometry(showtime.layout.geometry).codes
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO seating_seat (showtime_id, code, position)
            SELECT %s, code, place - 1 FROM unnest(%s::text[]) WITH ORDINALITY AS drawn (code, place)
            ON CONFLICT (showtime_id, code) DO NOTHING
            """,
            [showtime.pk, codes],
        )
        made: int = cursor.rowcount
    return made


@busy_is_refused()
@transaction.atomic
def make_missing_seats(*, showtime_id: int) -> int:
    """Make the seats of a showtime that was made without them, for instance by an import: this is their first use.

    Returns:
        How many were made.

    Raises:
        Refusal: `not_found` if there is no such showtime: it may have been removed a moment ago; `seat_locked`.
    """
    try:
        showtime = Showtime.objects.select_related("layout").get(pk=showtime_id)
    except Showtime.DoesNotExist:
        raise Refusal(ErrorCode.NOT_FOUND) from None
    made = make_seats(showtime=showtime)
    # Whoever removes the showtime locks its counter first: if they were quicker, they are waited for, and these seats
    # are not made after all; if not, they wait for this transaction, and find the seats.
    for table, key in (("seating_showtimesales", "showtime_id"), ("seating_showtime", "id")):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE {key} = %s FOR KEY SHARE", [showtime_id])
            if not cursor.rowcount:
                raise Refusal(ErrorCode.NOT_FOUND)
    return made
