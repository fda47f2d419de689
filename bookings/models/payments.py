"""Payments of bookings, whoever the provider is."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from bookings.models.bookings import Booking


class PaymentStatus(models.TextChoices):
    """Where a payment stands."""

    PENDING = "PENDING", _("pending")
    CAPTURED = "CAPTURED", _("captured")
    DECLINED = "DECLINED", _("declined")
    CANCELLED = "CANCELLED", _("cancelled")
    REFUND_DUE = "REFUND_DUE", _("refund due")
    REFUNDED = "REFUNDED", _("refunded")


class Payment(models.Model):
    """One attempt to pay one booking at one provider. Amounts are minor units of the booking's currency."""

    booking = models.OneToOneField(Booking, on_delete=models.PROTECT, related_name="payment")
    provider = models.SlugField(max_length=30)
    provider_reference = models.CharField(
        max_length=200, blank=True, help_text=_("The provider's own id of it; empty until the provider answered.")
    )
    status = models.CharField(
        max_length=10, choices=PaymentStatus, default=PaymentStatus.PENDING, db_default=PaymentStatus.PENDING
    )
    amount = models.PositiveIntegerField()
    captured_amount = models.PositiveIntegerField(default=0, db_default=0)
    refunded_amount = models.PositiveIntegerField(default=0, db_default=0)
    redirect_url = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    next_attempt_at = models.DateTimeField(
        db_default=Now(), help_text=_("From when on the provider may be asked again to cancel or to refund it.")
    )
    refund_attempts = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text=_("How often somebody has set out to refund it."),
    )
    asked_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When the provider was last asked how it stands.")
    )

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = [
            # The ticker and the reconciler ask for money that is to be given back.
            models.Index(
                name="refund_due_by_next_attempt", fields=["next_attempt_at"], condition=Q(status="REFUND_DUE")
            ),
        ]
        constraints = [
            models.CheckConstraint(name="payment_status_is_known", condition=Q(status__in=PaymentStatus.values)),
            models.UniqueConstraint(
                name="provider_reference_is_one_payment",
                fields=["provider", "provider_reference"],
                condition=~Q(provider_reference=""),
            ),
            models.CheckConstraint(
                name="payment_status_matches_its_amounts",
                condition=Q(status__in=[PaymentStatus.PENDING, PaymentStatus.DECLINED, PaymentStatus.CANCELLED])
                & Q(captured_amount=0)
                | Q(status__in=[PaymentStatus.CAPTURED, PaymentStatus.REFUND_DUE], captured_amount=F("amount"))
                | Q(status=PaymentStatus.REFUNDED, refunded_amount=F("captured_amount")),
            ),
            models.CheckConstraint(
                name="payment_captures_at_most_its_amount", condition=Q(captured_amount__lte=F("amount"))
            ),
            models.CheckConstraint(
                name="payment_refunds_at_most_what_it_captured",
                condition=Q(refunded_amount__lte=F("captured_amount")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.status}"


class PaymentEvent(models.Model):
    """What a provider has told of a payment, each notice once: a second one with the same id changes nothing."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="events")
    provider = models.SlugField(max_length=30)
    event_id = models.CharField(max_length=200)
    told = models.CharField(max_length=10, choices=PaymentStatus)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("received_at", "id")
        constraints = [
            models.UniqueConstraint(name="payment_event_is_heard_once", fields=["provider", "event_id"]),
            models.CheckConstraint(name="payment_event_is_in_known_words", condition=Q(told__in=PaymentStatus.values)),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.event_id}"


class DemoPayment(models.Model):
    """A payment as the provider `demo` has it in its own books. Nothing but that provider reads or writes them."""

    reference = models.CharField(max_length=40, unique=True)
    order = models.CharField(max_length=40, unique=True, help_text=_("What the house calls it: the booking."))
    amount = models.PositiveIntegerField(help_text=_("In the currency's minor units."))
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=10, choices=PaymentStatus)
    refunded_amount = models.PositiveIntegerField(default=0, db_default=0)
    script = models.CharField(
        max_length=10, blank=True, db_default="", help_text=_("The token that says what it tells by itself, and when.")
    )
    told = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text=_("How many notices of its script it has sent.")
    )
    tells_at = models.DateTimeField(null=True, blank=True, help_text=_("When it sends the next one; null if never."))
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = [
            # The ticker asks once a second what is to be told.
            models.Index(name="demo_notice_by_time", fields=["tells_at"], condition=Q(tells_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                name="demo_payment_status_is_known",
                condition=Q(status__in=["PENDING", "CAPTURED", "DECLINED", "CANCELLED", "REFUNDED"]),
            ),
            models.CheckConstraint(
                name="demo_payment_refunds_what_it_captured",
                condition=Q(status="REFUNDED", refunded_amount=F("amount"))
                | (~Q(status="REFUNDED") & Q(refunded_amount=0)),
            ),
        ]

    def __str__(self) -> str:
        return self.reference
