"""Cancelling showtimes, with everything that hangs on them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from bookings.selectors.purchases import cancelled_bookings_at, live_bookings_at
from bookings.services import call_off_showtime
from cinebook.core.errors import Refusal
from seating.admin import ShowtimeAdmin, ask, in_words
from seating.models import Showtime
from seating.selectors.house import live_holds_at


@admin.register(Showtime)
class CancellableShowtimeAdmin(ShowtimeAdmin):
    """Showtimes, as seating has them, and their cancelling."""

    actions = (*ShowtimeAdmin.actions, "cancel")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may cancel showtimes, which cancels bookings."""
        return request.user.has_perms(["seating.change_showtime", "bookings.change_booking"])

    def tools(self, request: HttpRequest, showtime: Showtime) -> list[tuple[str, str]]:
        """Return what else there is to see and do with a showtime, as addresses and words."""
        tools = super().tools(request, showtime)
        if request.user.has_perm("bookings.view_booking"):
            address = reverse("admin:bookings_booking_changelist")
            words = _progress(showtime) if showtime.cancelled_at else gettext("Bookings")
            tools.append((f"{address}?showtime__id__exact={showtime.pk}", words))
        if self.has_cancel_permission(request) and not showtime.cancelled_at:
            tools.append((f"{reverse('admin:seating_showtime_cancel')}?showtime={showtime.pk}", gettext("Cancel it")))
        return tools

    @admin.action(description=_("Cancel for good"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Showtime]) -> HttpResponse:
        """Lead to the page that asks."""
        chosen = "&".join(f"showtime={showtime_id}" for showtime_id in queryset.values_list("pk", flat=True))
        return HttpResponseRedirect(f"{reverse('admin:seating_showtime_cancel')}?{chosen}")

    def get_urls(self) -> list[Any]:
        """Return the addresses below the list's own."""
        view = self.admin_site.admin_view(self.cancel_view)
        return [path("cancel/", view, name="seating_showtime_cancel"), *super().get_urls()]

    def cancel_view(self, request: HttpRequest) -> HttpResponse:
        """Say whom the cancelling of showtimes hits, ask, and cancel them."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        chosen = [int(given) for given in request.GET.getlist("showtime") if given.isascii() and given.isdigit()]
        showtimes = list(Showtime.objects.select_related("movie", "auditorium").filter(pk__in=chosen))
        if not showtimes:
            raise Http404
        back = reverse("admin:seating_showtime_changelist")
        if request.method == "POST":
            for showtime in showtimes:
                self._call_off(request, showtime)
            return HttpResponseRedirect(back)
        return ask(
            request,
            opts=self.opts,
            title=ngettext("Cancel this showtime for good?", "Cancel these showtimes for good?", len(showtimes)),
            consequences=[_consequence(showtime) for showtime in showtimes],
            button=_("Cancel for good, and give the money back"),
            back=back,
        )

    def _call_off(self, request: HttpRequest, showtime: Showtime) -> None:
        try:
            done = call_off_showtime(showtime_id=showtime.pk)
        except Refusal as refusal:
            self.message_user(request, f"{showtime}: {in_words(refusal)}", messages.ERROR)
            return
        told = gettext("Cancelled; holds taken back: %(holds)d, bookings to cancel: %(bookings)d.") % {
            "holds": done.holds,
            "bookings": done.bookings,
        }
        self.log_change(request, showtime, told)
        self.message_user(request, f"{showtime}: {told}", messages.SUCCESS)
        if done.bookings:
            on = gettext("They are cancelled and paid back by themselves; the showtime's page says how far that is.")
            self.message_user(request, on, messages.INFO)


def _progress(showtime: Showtime) -> str:
    done = cancelled_bookings_at(showtime.pk)
    return gettext("Bookings: %(to_cancel)d to cancel, %(to_refund)d to pay back, %(refunded)d paid back") % {
        "to_cancel": done.to_cancel,
        "to_refund": done.to_refund,
        "refunded": done.refunded,
    }


def _consequence(showtime: Showtime) -> str:
    confirmed, pending = live_bookings_at(showtime.pk)
    return gettext(
        "%(showtime)s: holds that end: %(holds)d; bookings that are paid and get their money back: %(confirmed)d; "
        "bookings that are being paid and are cancelled: %(pending)d."
    ) % {
        "showtime": showtime,
        "holds": (live := live_holds_at(showtime.pk)).holds - live.paying,
        "confirmed": confirmed,
        "pending": pending,
    }
