"""What may still be done with a showtime once it stands on the programme: move it, reprice it, stop it, cancel it.

Each of these locks the showtime's row first and its counter last. Sales never lock the first, so they never wait for a
form; whether something was held is asked under the second, so no hold slips in between.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping

import structlog
from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _

from cinebook.core.errors import ErrorCode, Refusal
from seating.layout import SeatingLayout
from seating.models import Movie, Price, Showtime
from seating.selectors.house import was_ever_held
from seating.services.announcing import announce_sale
from seating.services.house import Withdrawn, withdraw_holds
from seating.services.programme import SALES_CLOSE_AFTER_START, TURNAROUND
from seating.services.transactions import busy_is_refused, run_sale

log = structlog.get_logger(__name__)

STAYS_CANCELLED = _("A cancelled showtime stays as it is.")
MOVIE_STAYS = _("Seats have been held for this film: its showtime cannot show another one. Cancel it instead.")
STAYS_IN_THE_BOOKS = _(
    "Seats of this showtime have been held, sold or blocked, so it stays in the books. Cancel it instead."
)


@busy_is_refused()
@transaction.atomic
def change_showtime(
    *,
    showtime_id: int,
    movie: Movie,
    starts_at: dt.datetime,
    prices: Mapping[str, int],
    sales_open_at: dt.datetime,
    sales_close_at: dt.datetime | None,
    hold_seconds: int | None,
) -> Showtime:
    """Change what may change of a showtime: its time and sales window always, its film while nobody has held a seat.

    Room, layout and currency never change. A seat costs what it cost when it was held, so prices are for new holds.

    Args:
        showtime_id: which one.
        movie: what is shown; with another film the showtime takes that film's time.
        starts_at: when, aware.
        prices: the amount in minor units for each category of the layout, by its code.
        sales_open_at: when selling begins.
        sales_close_at: when selling ends; a quarter of an hour after the start, if None.
        hold_seconds: how long seats are held here; the setting SEAT_HOLD_SECONDS, if None.

    Returns:
        The showtime as it is now.

    Raises:
        Refusal: `not_found`; `invalid_data`, in words, if it is cancelled or its film stays; `seat_locked`.
        ValueError: a category of the layout has no price.
        IntegrityError: the room shows another film then, or the times contradict each other.
    """
    showtime = _lock_showtime(showtime_id)
    if showtime.cancelled_at:
        raise Refusal(ErrorCode.INVALID_DATA, STAYS_CANCELLED)
    missing = set(SeatingLayout.from_geometry(showtime.layout.geometry).categories) - set(prices)
    if missing:
        raise ValueError(f"These categories have no price: {', '.join(sorted(missing))}.")
    length = showtime.ends_at - showtime.starts_at
    if movie.pk != showtime.movie_id:
        _lock_counter(showtime_id)
        if was_ever_held(showtime_id):
            raise Refusal(ErrorCode.INVALID_DATA, MOVIE_STAYS)
        showtime.movie = movie
        length = dt.timedelta(minutes=movie.runtime_minutes) + TURNAROUND
    showtime.starts_at, showtime.ends_at = starts_at, starts_at + length
    showtime.sales_open_at = sales_open_at
    showtime.sales_close_at = sales_close_at or starts_at + SALES_CLOSE_AFTER_START
    showtime.hold_seconds = hold_seconds
    showtime.save(
        update_fields=["movie", "starts_at", "ends_at", "sales_open_at", "sales_close_at", "hold_seconds"],
    )
    Price.objects.bulk_create(
        [Price(showtime=showtime, category_id=code, amount=amount) for code, amount in prices.items()],
        update_conflicts=True,
        unique_fields=["showtime", "category"],
        update_fields=["amount"],
    )
    announce_sale(showtime_id=showtime_id)
    return showtime


def stop_sales(*, showtime_id: int) -> None:
    """Sell no seats of a showtime until further notice; holds may still be kept and paid.

    Raises:
        Refusal: `not_found`, `seat_locked`.
    """
    run_sale(functools.partial(_write_sales, showtime_id, sales_open=False))
    log.info("sales.stopped", showtime_id=showtime_id)


def resume_sales(*, showtime_id: int) -> None:
    """Sell a showtime again, within its sales window.

    Raises:
        Refusal: `not_found`, `seat_locked`; `invalid_data`, in words, if it is cancelled.
    """
    run_sale(functools.partial(_write_sales, showtime_id, sales_open=True))
    log.info("sales.resumed", showtime_id=showtime_id)


def cancel_showtime(*, showtime_id: int, also: Callable[[], None] = lambda: None) -> Withdrawn:
    """Cancel a showtime for good, as far as its seats are concerned: no more holds, and those that there are end.

    A hold that is being paid, and a seat that is sold, is left to its booking. Cancelling again ends what was left.

    Args:
        showtime_id: which one.
        also: writes what else is to be committed with that, or not at all.

    Returns:
        The holds that were taken back.

    Raises:
        Refusal: `not_found`; `seat_locked` when a hold was busy: the showtime is cancelled, its holds wait to be ended.
    """
    # In a transaction of its own, and first: from its commit on no new hold can come, so the second one finds all.
    run_sale(functools.partial(_write_cancelled, showtime_id, also))
    log.info("showtime.cancelled", showtime_id=showtime_id)
    return withdraw_holds(showtime_id=showtime_id)


@busy_is_refused()
@transaction.atomic
def remove_showtime(*, showtime_id: int) -> None:
    """Delete a showtime that nothing has ever happened to.

    Raises:
        Refusal: `not_found`; `invalid_data`, in words, if a seat was ever held, sold or blocked; `seat_locked`.
    """
    _lock_showtime(showtime_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM seating_seat WHERE showtime_id = %s ORDER BY id FOR UPDATE",
            [showtime_id],
        )
        if _lock_counter(showtime_id) or was_ever_held(showtime_id):
            raise Refusal(ErrorCode.INVALID_DATA, STAYS_IN_THE_BOOKS)
        for table in ("seating_seat", "seating_price", "seating_showtimesales"):
            cursor.execute(f"DELETE FROM {table} WHERE showtime_id = %s", [showtime_id])  # noqa: S608 - our own words
        cursor.execute("DELETE FROM seating_showtime WHERE id = %s", [showtime_id])
    log.info("showtime.removed", showtime_id=showtime_id)


def _lock_showtime(showtime_id: int) -> Showtime:
    try:
        return (
            Showtime.objects.select_for_update(no_key=True, of=("self",)).select_related("layout").get(pk=showtime_id)
        )
    except Showtime.DoesNotExist:
        raise Refusal(ErrorCode.NOT_FOUND) from None


def _lock_counter(showtime_id: int) -> int:
    """Lock the showtime's counter, so that no seat changes and none is made before the commit; return its version."""
    with connection.cursor() as cursor:
        # Whoever makes the first seats makes it, too, and must be waited for: what is not there cannot be locked.
        cursor.execute(
            "INSERT INTO seating_showtimesales (showtime_id) VALUES (%s) ON CONFLICT DO NOTHING", [showtime_id]
        )
        cursor.execute("SELECT seq FROM seating_showtimesales WHERE showtime_id = %s FOR UPDATE", [showtime_id])
        version: int = cursor.fetchone()[0]
    return version


def _write_sales(showtime_id: int, *, sales_open: bool) -> None:
    showtime = _lock_showtime(showtime_id)
    if showtime.cancelled_at and sales_open:
        raise Refusal(ErrorCode.INVALID_DATA, STAYS_CANCELLED)
    _write_sales_open(showtime_id, sales_open=sales_open)


def _write_cancelled(showtime_id: int, also: Callable[[], None]) -> None:
    _lock_showtime(showtime_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seating_showtime SET cancelled_at = clock_timestamp() WHERE id = %s AND cancelled_at IS NULL",
            [showtime_id],
        )
    _write_sales_open(showtime_id, sales_open=False)
    also()


def _write_sales_open(showtime_id: int, *, sales_open: bool) -> None:
    """Write the switch, also for a showtime that has no counter before the first use of its seats."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO seating_showtimesales (showtime_id, sales_open) VALUES (%(showtime)s, %(open)s)
            ON CONFLICT (showtime_id) DO UPDATE SET sales_open = excluded.sales_open
            """,
            {"showtime": showtime_id, "open": sales_open},
        )
    announce_sale(showtime_id=showtime_id)
