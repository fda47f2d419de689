"""Holds, their audit, the ledger and the holders: all of it to look at. A live hold may be taken back."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from cinebook.core.admin import ReadOnlyAdmin, ReadOnlyInline
from cinebook.core.errors import Refusal
from seating.admin.confirming import ask
from seating.admin.refusing import in_words
from seating.models import Hold, Holder, SeatEvent, SeatHold
from seating.selectors.holds import unended_hold
from seating.services import withdraw_hold
from seating.templatetags.money import money


class StateFilter(admin.SimpleListFilter):
    """Whether a hold lives."""

    title = _("state")
    parameter_name = "state"
    CONDITIONS = {
        "live": Q(ended_at__isnull=True),
        "paying": Q(ended_at__isnull=True, paying=True),
        "ended": Q(ended_at__isnull=False),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return [("live", _("live")), ("paying", _("being paid")), ("ended", _("ended"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Hold]) -> QuerySet[Hold]:
        """Return the holds in the chosen state."""
        return queryset.filter(self.CONDITIONS.get(self.value() or "", Q()))


class AuditInline(ReadOnlyInline):
    """Every seat that a hold ever had."""

    model = SeatHold
    fields = readonly_fields = ("seat_code", "price", "held_at", "ended_at", "end_reason")
    verbose_name_plural = _("seats that it has had")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SeatHold]:
        """Return the rows with their seats."""
        return super().get_queryset(request).select_related("seat__showtime").order_by("seat__position", "pk")

    @admin.display(description=_("seat"))
    def seat_code(self, row: SeatHold) -> str:
        """Return which seat it was."""
        return row.seat.code

    @admin.display(description=_("price"))
    def price(self, row: SeatHold) -> str:
        """Return what it cost."""
        return money(row.price_amount, row.seat.showtime.currency)


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Who holds what."""

    list_display = ("short_id", "showtime", "holder", "seat_count", "state", "locked_at", "expires_at")
    list_filter = (StateFilter, "end_reason")
    list_select_related = ("showtime__movie", "showtime__auditorium", "holder__user")
    search_fields = ("holder__user__username",)
    search_help_text = _("A user’s name, or the whole id of a hold.")
    fields = ("id", "showtime", "holder", "state", "locked_at", "expires_at", "max_expires_at", "ended_at")
    readonly_fields = ("state",)
    inlines = (AuditInline,)
    actions = ("withdraw",)
    change_form_template = "admin/seating/hold_form.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the holds, each with the number of the seats that it has had."""
        return super().get_queryset(request).annotate(seats_had=Count("seat_holds"))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """Return what was searched for: an id, or part of a name."""
        try:
            return queryset.filter(pk=uuid.UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may take holds back."""
        return bool(request.user.has_perm("seating.change_hold"))

    @admin.display(description=_("hold"))
    def short_id(self, hold: Hold) -> str:
        """Return the beginning of its id, which tells it apart from its neighbours."""
        return str(hold.pk)[:8]

    @admin.display(description=_("seats"), ordering="seats_had")
    def seat_count(self, hold: Any) -> int:
        """Return how many seats it has had."""
        count: int = hold.seats_had
        return count

    @admin.display(description=_("state"))
    def state(self, hold: Hold) -> str:
        """Return whether it lives, or how it ended."""
        if hold.ended_at:
            return str(hold.get_end_reason_display())
        return gettext("being paid") if hold.paying else gettext("live")

    @admin.action(description=_("Take back the chosen holds"), permissions=["withdraw"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Hold]) -> HttpResponse | None:
        """Take back holds, after asking."""
        holds = list(queryset.select_related("showtime__movie", "showtime__auditorium", "holder__user"))
        if "confirmed" in request.POST:
            self._withdraw_each(request, holds)
            return None
        return ask(
            request,
            opts=self.opts,
            title=_("Take these holds back?"),
            consequences=[_consequence(hold) for hold in holds],
            button=_("Take them back"),
            back=reverse("admin:seating_hold_changelist"),
            hidden=[
                ("action", "withdraw"),
                ("index", "0"),
                *((ACTION_CHECKBOX_NAME, hold.pk) for hold in holds),
            ],
        )

    def get_urls(self) -> list[Any]:
        """Return the addresses below the list's own."""
        view = self.admin_site.admin_view(self.withdraw_view)
        return [path("<uuid:hold_id>/withdraw/", view, name="seating_hold_withdraw"), *super().get_urls()]

    def withdraw_view(self, request: HttpRequest, hold_id: uuid.UUID) -> HttpResponse:
        """Take one hold back, after asking."""
        if not self.has_withdraw_permission(request):
            raise PermissionDenied
        hold = Hold.objects.select_related("showtime__movie", "showtime__auditorium", "holder__user").filter(pk=hold_id)
        found = hold.first()
        if found is None:
            raise Http404
        back = reverse("admin:seating_hold_change", args=[hold_id])
        if request.method == "POST":
            self._withdraw_each(request, [found])
            return HttpResponseRedirect(back)
        return ask(
            request,
            opts=self.opts,
            title=_("Take this hold back?"),
            consequences=[_consequence(found)],
            button=_("Take it back"),
            back=back,
        )

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """Show a hold; whoever may take it back finds a button."""
        context = {**(extra_context or {}), "may_withdraw": self.has_withdraw_permission(request)}
        return super().change_view(request, object_id, form_url, context)

    def _withdraw_each(self, request: HttpRequest, holds: list[Hold]) -> None:
        count = 0
        for hold in holds:
            try:
                seats = withdraw_hold(hold_id=hold.pk)
            except Refusal as refusal:
                self.message_user(request, f"{hold}: {in_words(refusal)}", messages.ERROR)
                continue
            self.log_change(request, hold, gettext("Taken back: %s") % ", ".join(seats))
            count += 1
        if count:
            told = ngettext("%d hold was taken back.", "%d holds were taken back.", count)
            self.message_user(request, told % count, messages.SUCCESS)


def _consequence(hold: Hold) -> str:
    live = unended_hold(hold.pk)
    words = (
        gettext("%(holder)s loses %(seats)s at %(showtime)s.") if live else gettext("The hold of %(holder)s is over.")
    )
    return words % {"holder": hold.holder, "showtime": hold.showtime, "seats": ", ".join(live.seats) if live else ""}


@admin.register(Holder)
class HolderAdmin(ReadOnlyAdmin):
    """Users and guests, as far as seats are concerned."""

    list_display = ("__str__", "user", "guest_key", "live_holds", "created_at")
    list_filter = (("user", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email")
    fields = ("user", "guest_key", "created_at", "live_holds")
    readonly_fields = ("live_holds",)
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the holders, each with the number of its live holds."""
        live = Count("holds", filter=Q(holds__ended_at__isnull=True))
        return super().get_queryset(request).annotate(live=live)

    @admin.display(description=_("live holds"), ordering="live")
    def live_holds(self, holder: Any) -> int:
        """Return how many holds it has now."""
        count: int = holder.live
        return count


@admin.register(SeatHold)
class SeatHoldAdmin(ReadOnlyAdmin):
    """The audit: every seat that was ever held."""

    list_display = ("seat_code", "showtime", "hold", "price_amount", "held_at", "ended_at", "end_reason")
    list_filter = ("end_reason",)
    list_select_related = ("seat__showtime__movie", "seat__showtime__auditorium", "hold")
    fields = ("seat_code", "showtime", "hold", "price_amount", "held_at", "ended_at", "end_reason")
    readonly_fields = ("seat_code", "showtime")
    ordering = ("-pk",)

    @admin.display(description=_("seat"))
    def seat_code(self, row: SeatHold) -> str:
        """Return which seat it was."""
        return row.seat.code

    @admin.display(description=_("showtime"))
    def showtime(self, row: SeatHold) -> str:
        """Return at which showtime."""
        return str(row.seat.showtime)


@admin.register(SeatEvent)
class SeatEventAdmin(ReadOnlyAdmin):
    """The ledger: every change of every seat. A showtime's own page leads to its part of it."""

    list_display = ("happened_at", "showtime", "seq", "seat_code", "from_status", "to_status", "cause", "hold")
    list_filter = ("cause", "to_status")
    list_select_related = ("showtime__movie", "showtime__auditorium", "seat", "hold")
    fields = ("showtime", "seq", "seat_code", "from_status", "to_status", "cause", "hold", "happened_at")
    readonly_fields = ("seat_code",)
    ordering = ("-pk",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether the list may be narrowed so: by the showtime too."""
        return lookup == "showtime__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @admin.display(description=_("seat"))
    def seat_code(self, event: SeatEvent) -> str:
        """Return which seat it was."""
        return event.seat.code
