"""Who holds seats for some minutes, and the audit of every seat that was ever held."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from seating.models.programme import Showtime


class Holder(models.Model):
    """A signed-in user or a guest, as far as seats are concerned.

    The key of a guest lives in the data of its session (and so survives the new session key of a login), or in its
    guest token.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="holder"
    )
    guest_key = models.UUIDField(null=True, blank=True, unique=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="holder_is_either_a_user_or_a_guest",
                condition=Q(user__isnull=False, guest_key__isnull=True) | Q(user__isnull=True, guest_key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"user {self.user_id}" if self.user_id else f"guest {self.pk}"


class HoldEnd(models.TextChoices):
    """How a hold came to its end."""

    RELEASED = "released", _("released")
    EXPIRED = "expired", _("expired")
    WITHDRAWN = "withdrawn", _("taken back by the house")
    SOLD = "sold", _("sold")


class Hold(models.Model):
    """What one holder has at one showtime: one expiry for all its seats. At most one of them lives."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    holder = models.ForeignKey(Holder, on_delete=models.PROTECT, related_name="holds")
    showtime = models.ForeignKey(Showtime, on_delete=models.PROTECT, related_name="holds")
    token_hash = models.CharField(max_length=64, unique=True, help_text=_("SHA-256 of the hold token, in hex."))
    locked_at = models.DateTimeField(help_text=_("When its first seat was taken."))
    expires_at = models.DateTimeField()
    max_expires_at = models.DateTimeField(help_text=_("No extension goes past this."))
    paying = models.BooleanField(default=False, db_default=False)
    visited_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When a page that shows it was opened for the last time.")
    )
    left_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When its page was closed; empty as soon as the holder is seen again.")
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=10, choices=HoldEnd, blank=True, default="", db_default="")

    class Meta:
        ordering = ("-locked_at", "id")
        indexes = [
            # The reconciler asks for live holds that have run out.
            models.Index(name="live_hold_by_expiry", fields=["expires_at"], condition=Q(ended_at__isnull=True)),
            # The ticker asks every second whose page was closed: nearly always nobody's.
            models.Index(
                name="live_hold_that_was_left",
                fields=["left_at"],
                condition=Q(ended_at__isnull=True, left_at__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                name="holder_has_one_live_hold_per_showtime",
                fields=["holder", "showtime"],
                condition=Q(ended_at__isnull=True),
            ),
            models.CheckConstraint(
                name="hold_that_ended_says_how",
                condition=Q(ended_at__isnull=True, end_reason="")
                | (Q(ended_at__isnull=False, paying=False) & Q(end_reason__in=HoldEnd.values)),
            ),
            models.CheckConstraint(name="hold_expires_after_it_began", condition=Q(expires_at__gt=F("locked_at"))),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class SeatHoldEnd(models.TextChoices):
    """How one seat left its hold."""

    RELEASED = "released", _("released")
    EXPIRED = "expired", _("expired")
    WITHDRAWN = "withdrawn", _("taken back by the house")
    SOLD = "sold", _("sold")
    OVERTAKEN = "overtaken", _("taken over after it had run out")


class SeatHold(models.Model):
    """The audit: one row per seat that a hold ever took, closed with a reason and never deleted."""

    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="seat_holds")
    seat = models.ForeignKey("seating.Seat", on_delete=models.PROTECT, related_name="seat_holds", db_index=False)
    price_amount = models.PositiveIntegerField(help_text=_("The price when the seat was held, in minor units."))
    held_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=10, choices=SeatHoldEnd, blank=True, default="", db_default="")

    class Meta:
        db_table = "seat_holds"
        ordering = ("held_at", "id")
        constraints = [
            models.UniqueConstraint(
                name="seat_is_in_one_live_hold", fields=["seat"], condition=Q(ended_at__isnull=True)
            ),
            models.CheckConstraint(
                name="seat_hold_that_ended_says_how",
                condition=Q(ended_at__isnull=True, end_reason="")
                | (Q(ended_at__isnull=False) & Q(end_reason__in=SeatHoldEnd.values)),
            ),
        ]

    def __str__(self) -> str:
        return f"seat {self.seat_id} in hold {self.hold_id}"
