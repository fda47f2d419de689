"""What was bought: to look at, to find, and to cancel."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bookings.models import LIVE, Booking, BookingStatus, Payment, Ticket
from bookings.services import cancel_booking_for_house
from cinebook.core.admin import ReadOnlyAdmin, ReadOnlyInline
from cinebook.core.errors import Refusal
from seating.admin import ask, in_words
from seating.templatetags.money import money


class TicketInline(ReadOnlyInline):
    """The tickets of a booking. Their codes open doors, so they are not shown here."""

    model = Ticket
    fields = readonly_fields = ("seat_code", "price", "first_name", "last_name", "issued_at", "cancelled_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ticket]:
        """Return the tickets with their seats."""
        return super().get_queryset(request).select_related("seat", "booking").order_by("seat__position")

    @admin.display(description=_("seat"))
    def seat_code(self, ticket: Ticket) -> str:
        """Return which seat it is for."""
        return ticket.seat.code

    @admin.display(description=_("price"))
    def price(self, ticket: Ticket) -> str:
        """Return what it cost."""
        return money(ticket.price_amount, ticket.booking.currency)


class PaymentInline(ReadOnlyInline):
    """The payment of a booking."""

    model = Payment
    fields = readonly_fields = ("provider", "provider_reference", "status", "paid", "refunded", "updated_at", "more")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        """Return the payment with its booking."""
        return super().get_queryset(request).select_related("booking")

    @admin.display(description="")
    def more(self, payment: Payment) -> SafeString:
        """Return a link to all that is known of it."""
        address = reverse("admin:bookings_payment_change", args=[payment.pk])
        return format_html('<a href="{}">{}</a>', address, _("More"))

    @admin.display(description=_("captured"))
    def paid(self, payment: Payment) -> str:
        """Return what has come."""
        return money(payment.captured_amount, payment.booking.currency)

    @admin.display(description=_("refunded"))
    def refunded(self, payment: Payment) -> str:
        """Return what was given back."""
        return money(payment.refunded_amount, payment.booking.currency)


@admin.register(Booking)
class BookingAdmin(ReadOnlyAdmin):
    """Bookings."""

    list_display = ("reference", "status", "showtime", "contact_name", "contact_email", "total", "created_at")
    list_filter = ("status", "created_at")
    list_select_related = ("showtime__movie", "showtime__auditorium")
    search_fields = ("reference", "contact_name", "contact_email")
    search_help_text = _("A reference, a name or an e-mail address.")
    fields = (
        "reference", "status", "showtime", "holder", "hold", "contact_name", "contact_email", "total", "created_at",
        "pay_by", "confirmed_at", "ended_at",
    )  # fmt: skip
    readonly_fields = ("total",)
    inlines = (TicketInline, PaymentInline)
    actions = ("cancel",)
    change_form_template = "admin/bookings/booking_form.html"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether the list may be narrowed so: by the showtime too."""
        return lookup == "showtime__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may cancel bookings."""
        return request.user.has_perm("bookings.change_booking")

    @admin.display(description=_("total"), ordering="total_amount")
    def total(self, booking: Booking) -> str:
        """Return what it costs."""
        return money(booking.total_amount, booking.currency)

    @admin.action(description=_("Cancel, and give the money back"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Booking]) -> HttpResponse | None:
        """Cancel bookings, after asking."""
        bookings = list(queryset.select_related("showtime__movie", "showtime__auditorium"))
        if "confirmed" in request.POST:
            for booking in bookings:
                self._cancel(request, booking)
            return None
        return ask(
            request,
            opts=self.opts,
            title=_("Cancel these bookings?"),
            consequences=[_consequence(booking) for booking in bookings],
            button=_("Cancel them"),
            back=reverse("admin:bookings_booking_changelist"),
            hidden=[
                ("action", "cancel"),
                ("index", "0"),
                *((ACTION_CHECKBOX_NAME, booking.pk) for booking in bookings),
            ],
        )

    def get_urls(self) -> list[Any]:
        """Return the addresses below the list's own."""
        view = self.admin_site.admin_view(self.cancel_view)
        return [path("<int:booking_id>/cancel/", view, name="bookings_booking_cancel"), *super().get_urls()]

    def cancel_view(self, request: HttpRequest, booking_id: int) -> HttpResponse:
        """Cancel one booking, after asking."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        booking = (
            Booking.objects.select_related("showtime__movie", "showtime__auditorium").filter(pk=booking_id).first()
        )
        if booking is None:
            raise Http404
        back = reverse("admin:bookings_booking_change", args=[booking.pk])
        if request.method == "POST":
            self._cancel(request, booking)
            return HttpResponseRedirect(back)
        return ask(
            request,
            opts=self.opts,
            title=_("Cancel this booking?"),
            consequences=[_consequence(booking)],
            button=_("Cancel it"),
            back=back,
        )

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """Show a booking; whoever may cancel it finds a button."""
        context = {**(extra_context or {}), "may_cancel": self.has_cancel_permission(request), "live": LIVE}
        return super().change_view(request, object_id, form_url, context)

    def _cancel(self, request: HttpRequest, booking: Booking) -> None:
        if booking.status not in LIVE:
            told = gettext("%s has ended already.") % booking
            self.message_user(request, told, messages.WARNING)
            return
        try:
            now = cancel_booking_for_house(reference=booking.reference)
        except Refusal as refusal:
            self.message_user(request, f"{booking}: {in_words(refusal)}", messages.ERROR)
            return
        self.log_change(request, now, gettext("Cancelled by the house: %s.") % now.get_status_display())
        self.message_user(request, f"{now}: {now.get_status_display()}.", messages.SUCCESS)


def _consequence(booking: Booking) -> str:
    words = {
        BookingStatus.PENDING: gettext(
            "%(booking)s, %(name)s, %(showtime)s: its payment is stopped, its seats are free."
        ),
        BookingStatus.CONFIRMED: gettext(
            "%(booking)s, %(name)s, %(showtime)s: %(total)s goes back, its seats are free."
        ),
    }.get(BookingStatus(booking.status), gettext("%(booking)s has ended already."))
    return words % {
        "booking": booking,
        "name": booking.contact_name,
        "showtime": booking.showtime,
        "total": money(booking.total_amount, booking.currency),
    }
