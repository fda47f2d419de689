"""The money: to look at. It moves through the services alone."""

from __future__ import annotations

import datetime as dt

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from bookings.models import Payment, PaymentEvent, PaymentStatus
from bookings.services import hasten_refunds
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
        "updated_at", "refund_attempts", "next_refund", "asked_at",
    )  # fmt: skip
    readonly_fields = ("due", "captured", "refunded", "next_refund")
    inlines = (EventInline,)
    actions = ("refund_now",)

    def has_refund_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may have refunds tried again."""
        return request.user.has_perm("bookings.change_payment")

    @admin.action(description=_("Try the refunds that are due again now"), permissions=["refund"])
    def refund_now(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        """Have refunds tried again that would wait for longer."""
        due = list(queryset.filter(status=PaymentStatus.REFUND_DUE))
        hastened = hasten_refunds(payment_ids=[payment.pk for payment in due])
        for payment in due:
            self.log_change(request, payment, "Refund tried again.")
        told = ngettext("%d refund is tried again.", "%d refunds are tried again.", hastened) % hastened
        self.message_user(request, told, messages.SUCCESS if hastened else messages.WARNING)

    @admin.display(description=_("next attempt to refund"))
    def next_refund(self, payment: Payment) -> dt.datetime | None:
        """Return when the refund is tried next, if it is due."""
        return payment.next_attempt_at if payment.status == PaymentStatus.REFUND_DUE else None

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
