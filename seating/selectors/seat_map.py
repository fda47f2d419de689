"""The states of a showtime's seats, read at one version."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Mapping

from django.db import connection, models
from django.utils.translation import gettext_lazy as _

from cinebook.core.errors import ErrorCode, Refusal
from seating.layout import PlacedSeat
from seating.models import Price, SeatStatus, Showtime
from seating.selectors.holds import HeldSeats
from seating.selectors.layouts import parsed_layout


class ViewedStatus(models.TextChoices):
    """What one viewer sees of a seat, and the words for it."""

    AVAILABLE = "available", _("available")
    LOCKED = "locked", _("temporarily unavailable")
    SELECTED = "selected", _("selected")
    OCCUPIED = "occupied", _("sold")
    BLOCKED = "blocked", _("not on sale")


class SaleState(models.TextChoices):
    """Whether seats of a showtime can be had now, by PostgreSQL's clock and what the house says."""

    OPEN = "open", _("on sale")
    CLOSED = "closed", _("not on sale")
    CANCELLED = "cancelled", _("cancelled")


# The state of the sale, of a `showtime` with its `sales`: as `lock_holder` asks it before anybody gets a seat.
SALE_STATE = """
    CASE WHEN showtime.cancelled_at IS NOT NULL THEN 'cancelled'
         WHEN coalesce(sales.sales_open, true) AND clock_timestamp() >= showtime.sales_open_at
              AND clock_timestamp() < showtime.sales_close_at THEN 'open'
         ELSE 'closed' END
"""

# How many versions the ledger is searched for what has changed; to whoever knows an older one, the whole is as quick.
MOST_VERSIONS = 500
# A `seat` that has changed since the version `known`, unless that is more than `most` versions ago.
CHANGED_SINCE = """
    sales.seq - %(most)s <= %(known)s AND seat.id IN (
        SELECT event.seat_id FROM seating_seatevent AS event
        WHERE event.showtime_id = showtime.id AND event.seq > %(known)s
    )
"""

# What somebody sees who holds nothing. A reservation that has run out is still one: its end is an event of its own.
SEEN_BY_OTHERS = {
    SeatStatus.AVAILABLE: ViewedStatus.AVAILABLE,
    SeatStatus.RESERVED: ViewedStatus.LOCKED,
    SeatStatus.SOLD: ViewedStatus.OCCUPIED,
    SeatStatus.BLOCKED: ViewedStatus.BLOCKED,
}


@dataclasses.dataclass(frozen=True, slots=True)
class SeatSnapshot:
    """Seats of a showtime at one version, each with its status as one viewer sees it, by its code: all, or some."""

    showtime_id: int
    version: int
    sale: SaleState
    server_time: dt.datetime
    seats: dict[str, ViewedStatus]

    @property
    def available(self) -> set[str]:
        """The codes of the free seats."""
        return {code for code, status in self.seats.items() if status is ViewedStatus.AVAILABLE}


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
        return self.count(ViewedStatus.AVAILABLE)

    def count(self, status: ViewedStatus) -> int:
        """Return how many seats stand so."""
        return sum(seat.status is status for _label, row in self.rows for seat in row)


def seat_snapshot(*, showtime_id: int, holder_id: int | None) -> SeatSnapshot:
    """Return the state of every seat at one version: both are read in one statement.

    Args:
        showtime_id: whose seats.
        holder_id: whose own seats read `selected`; None for a stranger.

    Raises:
        Refusal: `not_found` if there is no such showtime.
    """
    return _read(showtime_id, holder_id, "true", {})


def seats_changed_since(*, showtime_id: int, holder_id: int | None, version: int) -> SeatSnapshot | None:
    """Return the state of those seats alone that have changed since a version, as `seat_snapshot` would show them.

    The ledger says which they are, and the seats themselves how they stand: nothing is replayed.

    Args:
        showtime_id: whose seats.
        holder_id: whose own seats read `selected`; None for a stranger.
        version: the one that is known.

    Returns:
        None if that is too long ago to be looked up, or has never been.

    Raises:
        Refusal: `not_found` if there is no such showtime.
    """
    changed = _read(showtime_id, holder_id, CHANGED_SINCE, {"known": version, "most": MOST_VERSIONS})
    return changed if 0 <= changed.version - version <= MOST_VERSIONS else None


def _read(showtime_id: int, holder_id: int | None, which: str, parameters: Mapping[str, int]) -> SeatSnapshot:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT coalesce(sales.seq, 0), {SALE_STATE}, clock_timestamp(), seats.codes, seats.statuses, seats.own
            FROM seating_showtime AS showtime
            LEFT JOIN seating_showtimesales AS sales ON sales.showtime_id = showtime.id
            CROSS JOIN LATERAL (
                SELECT array_agg(seat.code ORDER BY seat.position) AS codes,
                       array_agg(seat.status ORDER BY seat.position) AS statuses,
                       array_agg(own.id IS NOT NULL ORDER BY seat.position) AS own
                FROM seating_seat AS seat
                LEFT JOIN seating_hold AS own
                    ON own.id = seat.hold_id AND own.holder_id = %(holder)s AND own.ended_at IS NULL
                WHERE seat.showtime_id = showtime.id AND {which}
            ) AS seats
            WHERE showtime.id = %(showtime)s
            """,  # noqa: S608 - our own words
            {"showtime": showtime_id, "holder": holder_id, **parameters},
        )
        row = cursor.fetchone()
    if row is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    version, sale, server_time, codes, statuses, own = row
    return SeatSnapshot(
        showtime_id=showtime_id,
        version=version,
        sale=SaleState(sale),
        server_time=server_time,
        seats={
            code: ViewedStatus.SELECTED if mine else SEEN_BY_OTHERS[SeatStatus(status)]
            for code, status, mine in zip(codes or (), statuses or (), own or (), strict=True)
        },
    )


def current_version(*, showtime_id: int) -> tuple[int, SaleState]:
    """Return the version of a showtime's seats, 0 before their first use, and whether it sells.

    Raises:
        Refusal: `not_found`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT coalesce(sales.seq, 0), {SALE_STATE} FROM seating_showtime AS showtime
            LEFT JOIN seating_showtimesales AS sales ON sales.showtime_id = showtime.id
            WHERE showtime.id = %s
            """,  # noqa: S608 - our own words
            [showtime_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    version, sale = row
    return version, SaleState(sale)


def seat_map(*, showtime: Showtime, prices: Iterable[Price], snapshot: SeatSnapshot) -> SeatMap:
    """Return every seat of a showtime with its place, its price and its status.

    Args:
        showtime: whose seats.
        prices: its prices with their categories, as `price_list` returns them.
        snapshot: how its seats stand.
    """
    priced = {price.category_id: price for price in prices}
    return SeatMap(
        version=snapshot.version,
        rows=[
            (row.label, [_mapped(place, priced, snapshot.seats) for place in row.seats if place.code in snapshot.seats])
            for row in parsed_layout(showtime.layout_id).rows
        ],
    )


def chosen_seats(drawn: SeatMap, hold: HeldSeats) -> list[MappedSeat]:
    """Return the seats of a hold, each with the price that it was held at."""
    amounts = dict(zip(hold.seats, hold.amounts, strict=True))
    return [
        dataclasses.replace(seat, amount=amounts[seat.place.code])
        for _label, row in drawn.rows
        for seat in row
        if seat.place.code in amounts
    ]


def _mapped(place: PlacedSeat, prices: Mapping[str, Price], statuses: Mapping[str, ViewedStatus]) -> MappedSeat:
    price = prices.get(place.category)
    # A category that lost its price cannot be sold.
    if price is None:
        return MappedSeat(place=place, category=place.category, amount=None, status=ViewedStatus.BLOCKED)
    return MappedSeat(place=place, category=price.category.name, amount=price.amount, status=statuses[place.code])


def seats_of_others(*, showtime_id: int, codes: Collection[str], holder_id: int) -> set[str]:
    """Return those of the seats that others hold, by PostgreSQL; a reservation that has run out is none.

    Args:
        holder_id: who is asking: what they hold themselves stands in nobody's way.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT seat.code FROM seating_seat AS seat JOIN seating_hold AS hold ON hold.id = seat.hold_id
            WHERE seat.showtime_id = %s AND seat.code = ANY(%s) AND hold.holder_id <> %s
              AND seat.status = 'RESERVED' AND (seat.paying OR seat.reserved_until > clock_timestamp())
            """,
            [showtime_id, list(codes), holder_id],
        )
        return {row[0] for row in cursor.fetchall()}
