"""The money: to look at. It moves through the services alone."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from bookings.models import Payment, PaymentEvent
from cinebook.core.admin import ReadOnlyAdmin, ReadOnlyInline
from seating.templatetags.money import money


class EventInline(ReadOnlyInline):
    """What the provider has told of a payment."""

    model = PaymentEvent
    fields = readonly_fields = ("received_at", "event_id", "told")


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """Payments."""

    list_display = ("booking", "provider", "provider_reference", "status", "due", "captured", "refunded", "updated_at")
    list_filter = ("status", "provider")
    list_select_related = ("booking",)
    search_fields = ("booking__reference", "provider_reference", "booking__contact_email")
    fields = (
        "booking", "provider", "provider_reference", "status", "due", "captured", "refunded", "created_at",
        "updated_at", "next_attempt_at", "asked_at",
    )  # fmt: skip
    readonly_fields = ("due", "captured", "refunded")
    inlines = (EventInline,)

    @admin.display(description=_("amount"), ordering="amount")
    def due(self, payment: Payment) -> str:
        """Return what is to be paid."""
        return money(payment.amount, payment.booking.currency)

    @admin.display(description=_("captured"), ordering="captured_amount")
    def captured(self, payment: Payment) -> str:
        """Return what has come."""
        return money(payment.captured_amount, payment.booking.currency)

    @admin.display(description=_("refunded"), ordering="refunded_amount")
    def refunded(self, payment: Payment) -> str:
        """Return what was given back."""
        return money(payment.refunded_amount, payment.booking.currency)
