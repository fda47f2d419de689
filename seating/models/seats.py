"""The seats of a showtime and the ledger of everything that happened to them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from seating.models.holds import Hold
from seating.models.programme import Showtime


class SeatStatus(models.TextChoices):
    """What the database says of a seat. What one viewer sees of it is another list."""

    AVAILABLE = "AVAILABLE", _("available")
    RESERVED = "RESERVED", _("reserved")
    SOLD = "SOLD", _("sold")
    BLOCKED = "BLOCKED", _("blocked")


class BlockReason(models.TextChoices):
    """Why the house keeps a seat back."""

    HOUSE_SEAT = "house_seat", _("house seat")
    BROKEN = "broken", _("broken")
    WHEELCHAIR_RESERVE = "wheelchair_reserve", _("wheelchair reserve")


class SeatChange(models.TextChoices):
    """Why a seat's row changed: the cause that the ledger keeps."""

    HELD = "held", _("held")
    RELEASED = "released", _("released")
    EXPIRED = "expired", _("expired")
    WITHDRAWN = "withdrawn", _("taken back by the house")
    OVERTAKEN = "overtaken", _("taken over from a hold that had run out")
    SOLD = "sold", _("sold")
    CANCELLED = "cancelled", _("booking cancelled")
    BLOCKED = "blocked", _("blocked")
    UNBLOCKED = "unblocked", _("unblocked")


# One sentence per status: which columns it fills. The CHECK constraints below are these sentences.
_NO_RESERVATION = Q(reserved_at__isnull=True, reserved_until__isnull=True, paying=False)
_AVAILABLE = Q(hold__isnull=True, sold_at__isnull=True, block_reason="") & _NO_RESERVATION
_RESERVED = Q(
    hold__isnull=False, reserved_at__isnull=False, reserved_until__isnull=False, sold_at__isnull=True, block_reason=""
)
_SOLD = Q(hold__isnull=False, sold_at__isnull=False, block_reason="") & _NO_RESERVATION
_BLOCKED = Q(hold__isnull=True, sold_at__isnull=True) & ~Q(block_reason="") & _NO_RESERVATION


def _only_when(status: SeatStatus, columns: Q) -> Q:
    return ~Q(status=status) | columns


class Seat(models.Model):
    """One place at one showtime. It is one row, so it cannot be sold twice.

    What the seat looks like (row, number, position, category) stands in the showtime's layout under its `code`;
    here is only what changes while it is sold. Nothing but the services of `seating` writes these rows.
    """

    # The unique constraint's index begins with the showtime, so the key needs none of its own.
    showtime = models.ForeignKey(Showtime, on_delete=models.PROTECT, related_name="seats", db_index=False)
    code = models.CharField(max_length=8, help_text=_("What the ticket says, such as A5."))
    position = models.PositiveSmallIntegerField(help_text=_("Its place in the order of the layout, from 0."))
    status = models.CharField(
        max_length=9, choices=SeatStatus, default=SeatStatus.AVAILABLE, db_default=SeatStatus.AVAILABLE
    )
    hold = models.ForeignKey(
        Hold,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="seats",
        # The database ties hold and showtime together: a migration adds the key of both columns.
        db_constraint=False,
        help_text=_("The hold that reserved or bought it."),
    )
    reserved_at = models.DateTimeField(null=True, blank=True)
    reserved_until = models.DateTimeField(null=True, blank=True)
    paying = models.BooleanField(default=False, db_default=False, help_text=_("Its hold is being paid."))
    sold_at = models.DateTimeField(null=True, blank=True)
    block_reason = models.CharField(max_length=20, choices=BlockReason, blank=True, default="", db_default="")
    fence = models.BigIntegerField(
        default=0, db_default=0, help_text=_("Grows with every change, so that a late Redis write can be told.")
    )
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("showtime", "position")
        indexes = [
            # The ticker and the reconciler ask every second which reservations have run out.
            models.Index(
                name="seat_reserved_until",
                fields=["reserved_until"],
                condition=Q(status=SeatStatus.RESERVED),
            ),
        ]
        constraints = [
            models.UniqueConstraint(name="seat_code_is_unique_in_its_showtime", fields=["showtime", "code"]),
            models.CheckConstraint(name="seat_status_is_known", condition=Q(status__in=SeatStatus.values)),
            models.CheckConstraint(
                name="seat_available_belongs_to_nobody", condition=_only_when(SeatStatus.AVAILABLE, _AVAILABLE)
            ),
            models.CheckConstraint(
                name="seat_reserved_has_a_hold_and_an_end", condition=_only_when(SeatStatus.RESERVED, _RESERVED)
            ),
            models.CheckConstraint(name="seat_sold_has_a_hold", condition=_only_when(SeatStatus.SOLD, _SOLD)),
            models.CheckConstraint(
                name="seat_blocked_has_a_reason", condition=_only_when(SeatStatus.BLOCKED, _BLOCKED)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} ({self.status})"


class SeatEvent(models.Model):
    """A line of the ledger: one seat's change in one transaction. Append-only; replaying it gives the seats."""

    showtime = models.ForeignKey(Showtime, on_delete=models.PROTECT, related_name="seat_events", db_index=False)
    seq = models.BigIntegerField(help_text=_("The showtime's version after the transaction that wrote this line."))
    seat = models.ForeignKey(Seat, on_delete=models.PROTECT, related_name="events", db_index=False)
    from_status = models.CharField(max_length=9, choices=SeatStatus)
    to_status = models.CharField(max_length=9, choices=SeatStatus)
    cause = models.CharField(max_length=10, choices=SeatChange)
    hold = models.ForeignKey(
        Hold,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="seat_events",
        db_index=False,
        help_text=_("The hold that has the seat after the change; none when nobody has."),
    )
    happened_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("showtime", "seq", "seat")
        constraints = [
            models.UniqueConstraint(name="seat_changes_once_per_version", fields=["showtime", "seq", "seat"]),
            models.CheckConstraint(name="seat_event_has_a_version", condition=Q(seq__gte=1)),
            models.CheckConstraint(
                name="seat_event_is_in_known_words",
                condition=Q(
                    from_status__in=SeatStatus.values, to_status__in=SeatStatus.values, cause__in=SeatChange.values
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.seq} {self.cause}"
