"""What the staff look at: how full each showtime is, who stands in whose way, who has which seat."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection

from django.db import connection, models
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from seating.models import BlockReason, Hold, Seat, SeatStatus, Showtime
from seating.selectors.layouts import showtime_layout


class ShowtimeState(models.TextChoices):
    """Where a showtime stands, in the words of the house."""

    ON_SALE = "on-sale", _("on sale")
    NOT_YET = "not-yet", _("not yet on sale")
    STOPPED = "stopped", _("sales stopped")
    CLOSED = "closed", _("sales closed")
    CANCELLED = "cancelled", _("cancelled")


@dataclasses.dataclass(frozen=True, slots=True)
class Occupancy:
    """How the seats of a showtime stand, in numbers; all zero while they are not made."""

    seats: int = 0
    available: int = 0
    reserved: int = 0
    sold: int = 0
    blocked: int = 0

    @property
    def per_cent_sold(self) -> int:
        """How many of a hundred seats are sold."""
        return 100 * self.sold // self.seats if self.seats else 0


@dataclasses.dataclass(frozen=True, slots=True)
class HouseSeat:
    """A seat as the staff see it, and who has it."""

    code: str
    status: SeatStatus
    category: str
    kind: str
    hold_id: uuid.UUID | None
    holder: str
    until: dt.datetime | None
    paying: bool
    sold_at: dt.datetime | None
    block_reason: str

    @property
    def reason(self) -> str:
        """Why the house keeps it, in words."""
        return str(BlockReason(self.block_reason).label) if self.block_reason else ""


@dataclasses.dataclass(frozen=True, slots=True)
class LiveHolds:
    """How many holds of a showtime live, and how many of them are being paid."""

    holds: int
    paying: int


def occupancy(showtime_ids: Collection[int]) -> dict[int, Occupancy]:
    """Return how full showtimes are, in one statement; those whose seats are not made are missing."""
    statuses = (SeatStatus.AVAILABLE, SeatStatus.RESERVED, SeatStatus.SOLD, SeatStatus.BLOCKED)
    counts = (
        Seat.objects.filter(showtime__in=showtime_ids)
        .order_by()
        .values("showtime_id")
        .annotate(seats=Count("pk"), **{status.lower(): Count("pk", filter=Q(status=status)) for status in statuses})
        .values_list("showtime_id", "seats", *(status.lower() for status in statuses))
    )
    return {showtime_id: Occupancy(*numbers) for showtime_id, *numbers in counts}


def showtimes_today() -> list[tuple[Showtime, Occupancy]]:
    """Return the showtimes of today, on the cinema's clock, in order of time, and how full they are."""
    day = timezone.localdate()
    zone = timezone.get_default_timezone()
    midnight = dt.datetime.combine(day, dt.time(), tzinfo=zone)
    tomorrow = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=zone)
    showtimes = list(
        Showtime.objects.filter(starts_at__gte=midnight, starts_at__lt=tomorrow)
        .select_related("movie", "auditorium", "sales")
        .order_by("starts_at", "auditorium__name", "pk")
    )
    full = occupancy([showtime.pk for showtime in showtimes])
    return [(showtime, full.get(showtime.pk, Occupancy())) for showtime in showtimes]


def overlapping_showtime(
    *, auditorium_id: int, starts_at: dt.datetime, ends_at: dt.datetime, but_for: int | None = None
) -> Showtime | None:
    """Return a showtime that is in a room's way, or None. The database decides; this is for the words.

    Args:
        auditorium_id: the room.
        starts_at: from when, aware.
        ends_at: until when; a showtime that begins then does not overlap.
        but_for: the showtime that is to be moved.
    """
    return (
        Showtime.objects.filter(
            auditorium=auditorium_id, cancelled_at__isnull=True, starts_at__lt=ends_at, ends_at__gt=starts_at
        )
        .exclude(pk__in=[but_for] if but_for else [])
        .select_related("movie", "auditorium")
        .order_by("starts_at")
        .first()
    )


def was_ever_held(showtime_id: int) -> bool:
    """Return whether anybody ever held a seat at a showtime."""
    return Hold.objects.filter(showtime=showtime_id).exists()


def nothing_ever_happened(showtime_id: int) -> bool:
    """Return whether no seat of a showtime was ever held, sold or blocked."""
    return not was_ever_held(showtime_id) and not Showtime.objects.filter(pk=showtime_id, sales__seq__gt=0).exists()


def live_holds_at(showtime_id: int) -> LiveHolds:
    """Return how many holds somebody has at a showtime."""
    counts = Hold.objects.filter(showtime=showtime_id, ended_at__isnull=True).aggregate(
        holds=Count("pk"), paying=Count("pk", filter=Q(paying=True))
    )
    return LiveHolds(**counts)


def house_seats(showtime_id: int) -> list[HouseSeat]:
    """Return every seat of a showtime, in the order of its layout, with who has it.

    Raises:
        Refusal: `not_found`.
    """
    places = showtime_layout(showtime_id).by_code
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT seat.code, seat.status, seat.hold_id,
                   coalesce(person.username, CASE WHEN holder.id IS NOT NULL THEN 'guest ' || holder.id END, ''),
                   seat.reserved_until, seat.paying, seat.sold_at, seat.block_reason
            FROM seating_seat AS seat
            LEFT JOIN seating_hold AS hold ON hold.id = seat.hold_id
            LEFT JOIN seating_holder AS holder ON holder.id = hold.holder_id
            LEFT JOIN core_user AS person ON person.id = holder.user_id
            WHERE seat.showtime_id = %s
            ORDER BY seat.position
            """,
            [showtime_id],
        )
        return [
            HouseSeat(row[0], SeatStatus(row[1]), places[row[0]].category, places[row[0]].kind.value, *row[2:])
            for row in cursor.fetchall()
        ]


def holds_on(*, showtime_id: int, codes: Collection[str]) -> dict[uuid.UUID, list[str]]:
    """Return the holds that have reserved these seats, each with its seats among them."""
    holds: dict[uuid.UUID, list[str]] = {}
    seats = Seat.objects.filter(showtime=showtime_id, code__in=codes, status=SeatStatus.RESERVED).order_by("position")
    for hold_id, code in seats.values_list("hold_id", "code"):
        if hold_id is not None:
            holds.setdefault(hold_id, []).append(code)
    return holds


def showtime_state(showtime: Showtime, now: dt.datetime) -> ShowtimeState:
    """Return where a showtime stands.

    Args:
        showtime: with its `sales`.
        now: an aware time.
    """
    if showtime.cancelled_at:
        return ShowtimeState.CANCELLED
    if showtime.sales_close_at <= now:
        return ShowtimeState.CLOSED
    if hasattr(showtime, "sales") and not showtime.sales.sales_open:
        return ShowtimeState.STOPPED
    return ShowtimeState.NOT_YET if showtime.sales_open_at > now else ShowtimeState.ON_SALE


def in_state(state: ShowtimeState, now: dt.datetime) -> Q:
    """Return the condition that finds the showtimes that are in a state, as `showtime_state` says it."""
    stopped = Q(sales__sales_open=False)
    running = Q(cancelled_at__isnull=True, sales_close_at__gt=now)
    return {
        ShowtimeState.CANCELLED: Q(cancelled_at__isnull=False),
        ShowtimeState.CLOSED: Q(cancelled_at__isnull=True, sales_close_at__lte=now),
        ShowtimeState.STOPPED: running & stopped,
        ShowtimeState.NOT_YET: running & ~stopped & Q(sales_open_at__gt=now),
        ShowtimeState.ON_SALE: running & ~stopped & Q(sales_open_at__lte=now),
    }[state]
