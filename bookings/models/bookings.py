"""A booking, and one ticket per seat of it."""

from __future__ import annotations

import secrets

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from seating.models import Hold, Holder, Seat, Showtime

# Crockford's base 32: no I, L, O, U, so a reference can be read out on the telephone.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
REFERENCE = RegexValidator(r"^BK-[0-9A-HJKMNP-TV-Z]{10}$")


def new_reference() -> str:
    """Return a new booking reference: 50 random bits, so it can neither be guessed nor counted."""
    return "BK-" + "".join(secrets.choice(ALPHABET) for _position in range(10))


def new_ticket_code() -> str:
    """Return a new ticket code: 80 random bits."""
    return "".join(secrets.choice(ALPHABET) for _position in range(16))


class BookingStatus(models.TextChoices):
    """Where a booking stands."""

    PENDING = "PENDING", _("being paid")
    CONFIRMED = "CONFIRMED", _("confirmed")
    CANCELLED = "CANCELLED", _("cancelled")
    EXPIRED = "EXPIRED", _("expired")
    REFUND_DUE = "REFUND_DUE", _("refund due")
    REFUNDED = "REFUNDED", _("refunded")


# A booking that is live has its seats; any other has given them back.
LIVE = (BookingStatus.PENDING, BookingStatus.CONFIRMED)


class Booking(models.Model):
    """Seats bought, or being paid."""

    reference = models.CharField(max_length=13, unique=True, default=new_reference, validators=[REFERENCE])
    status = models.CharField(
        max_length=10, choices=BookingStatus, default=BookingStatus.PENDING, db_default=BookingStatus.PENDING
    )
    showtime = models.ForeignKey(Showtime, on_delete=models.PROTECT, related_name="bookings")
    # The database ties hold and showtime together: a migration adds the key of both columns.
    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="bookings", db_constraint=False)
    holder = models.ForeignKey(
        Holder,
        on_delete=models.PROTECT,
        related_name="bookings",
        help_text=_("Whose booking it is; a guest who signs in takes theirs along."),
    )
    contact_name = models.CharField(max_length=200)
    contact_email = models.EmailField()
    total_amount = models.PositiveIntegerField(help_text=_("In the currency's minor units."))
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(db_default=Now())
    pay_by = models.DateTimeField(help_text=_("When the window of its payment closes."))
    hold_expires_at = models.DateTimeField(
        help_text=_("When the hold would have ended without the payment: a decline gives it back that end.")
    )
    confirmed_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text=_("When it was declined, expired or cancelled."))
    paid_too_late = models.BooleanField(
        default=False,
        db_default=False,
        help_text=_("Its money came when its seats could not be had any more; equal ones are offered instead."),
    )

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = [
            # The reconciler asks for payments whose window is over.
            models.Index(name="pending_booking_by_deadline", fields=["pay_by"], condition=Q(status="PENDING")),
        ]
        constraints = [
            models.CheckConstraint(name="booking_status_is_known", condition=Q(status__in=BookingStatus.values)),
            models.UniqueConstraint(
                # After a decline the hold may be paid again, by another booking (ADR 0005).
                name="hold_has_one_live_booking",
                fields=["hold"],
                condition=Q(status__in=[BookingStatus.PENDING, BookingStatus.CONFIRMED]),
            ),
            models.CheckConstraint(
                name="booking_confirmed_has_a_time",
                condition=~Q(status=BookingStatus.CONFIRMED) | Q(confirmed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="booking_pending_was_never_confirmed",
                condition=~Q(status=BookingStatus.PENDING) | Q(confirmed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="booking_paid_too_late_is_refunded",
                condition=Q(paid_too_late=False) | Q(status__in=[BookingStatus.REFUND_DUE, BookingStatus.REFUNDED]),
            ),
            models.CheckConstraint(
                name="booking_that_ended_has_a_time",
                condition=Q(status__in=[BookingStatus.PENDING, BookingStatus.CONFIRMED], ended_at__isnull=True)
                | (~Q(status__in=[BookingStatus.PENDING, BookingStatus.CONFIRMED]) & Q(ended_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        """Return the address of its page with the tickets."""
        return reverse("booking", args=[self.reference])


class Ticket(models.Model):
    """One admission: one seat of a booking. It is made with the booking and issued when that is confirmed."""

    booking = models.ForeignKey(Booking, on_delete=models.PROTECT, related_name="tickets")
    seat = models.ForeignKey(Seat, on_delete=models.PROTECT, related_name="tickets", db_index=False)
    code = models.CharField(max_length=16, unique=True, default=new_ticket_code)
    price_amount = models.PositiveIntegerField(help_text=_("In the currency's minor units."))
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    id_type = models.CharField(max_length=40, blank=True)
    id_number = models.CharField(max_length=60, blank=True)
    issued_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("booking", "seat__position")
        constraints = [
            # The second, independent guard against a double sale: see ADR 0001.
            models.UniqueConstraint(
                name="seat_has_one_ticket", fields=["seat"], condition=Q(cancelled_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.code
