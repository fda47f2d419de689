"""The showtimes: put on, moved, stopped and looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from cinebook.core.admin import AnyModelAdmin
from cinebook.core.errors import Refusal
from seating.admin.refusing import in_words
from seating.admin.seats import seats_page
from seating.admin.showtime_form import ShowtimeForm, price_fields, price_table
from seating.live.presence import presence
from seating.models import Showtime
from seating.selectors.house import (
    Occupancy,
    ShowtimeState,
    in_state,
    nothing_ever_happened,
    occupancy,
    showtime_state,
)
from seating.services import change_showtime, remove_showtime, resume_sales, schedule_showtime, stop_sales
from seating.services.showtimes import STAYS_IN_THE_BOOKS
from seating.templatetags.money import money


class StateFilter(admin.SimpleListFilter):
    """Where showtimes stand."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return list(ShowtimeState.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Showtime]) -> QuerySet[Showtime]:
        """Return the showtimes in the chosen state."""
        chosen = self.value()
        if chosen not in ShowtimeState.values:
            return queryset
        return queryset.filter(in_state(ShowtimeState(str(chosen)), timezone.now()))


class TimeFilter(admin.SimpleListFilter):
    """What is to come, unless something else is asked for."""

    title = _("time")
    parameter_name = "time"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices beside the usual one."""
        return [("past", _("Over")), ("all", _("All"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the links; the first is what one sees without a choice."""
        usual, *others = super().choices(changelist)
        yield {**usual, "display": _("To come")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Showtime]) -> QuerySet[Showtime]:
        """Return the showtimes of the chosen time. Who follows a link to one day, or one layout, sees all of it."""
        narrowed = any(name.startswith(("starts_at__", "layout__")) for name in request.GET)
        if self.value() == "all" or narrowed:
            return queryset
        over = {"ends_at__lte": timezone.now()}
        return queryset.filter(**over) if self.value() == "past" else queryset.exclude(**over)


class OccupiedChangeList(ChangeList):
    """A page of showtimes that counts all their seats in one statement."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the showtimes of the page, and how full they are."""
        super().get_results(request)
        full = occupancy([showtime.pk for showtime in self.result_list])
        for showtime in self.result_list:
            showtime.occupancy = full.get(showtime.pk, Occupancy())


class ShowtimeAdmin(AnyModelAdmin):
    """Showtimes: saving one makes its seats. Cancelling, which concerns bookings too, is added by bookings."""

    form = ShowtimeForm
    change_form_template = "admin/seating/showtime_form.html"
    list_display = ("start", "seats_link", "movie", "auditorium", "state", "sold", "held", "free", "blocked", "viewers")
    list_filter = (TimeFilter, StateFilter, "auditorium", "movie")
    list_select_related = ("movie", "auditorium", "sales")
    date_hierarchy = "starts_at"
    search_fields = ("movie__title",)
    ordering = ("starts_at", "auditorium__name")
    list_per_page = 50
    actions: tuple[str, ...] = ("stop_sales", "resume_sales")

    # --- Who may what ------------------------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Showtime | None = None) -> bool:
        """Return whether it may be edited: a cancelled showtime stays as it is."""
        return super().has_change_permission(request, obj) and not (obj and obj.cancelled_at)

    def get_actions(self, request: HttpRequest) -> Any:
        """Return the actions: deleting is for one at a time, and for those that nothing has happened to."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    # --- The list ----------------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return OccupiedChangeList

    @admin.display(description=_("start"), ordering="starts_at")
    def start(self, showtime: Showtime) -> str:
        """Return when it starts, by the cinema's clock."""
        return date_format(timezone.localtime(showtime.starts_at), "D j M, H:i")

    @admin.display(description=_("state"))
    def state(self, showtime: Showtime) -> SafeString:
        """Return where it stands."""
        state = showtime_state(showtime, timezone.now())
        return format_html('<span class="house-state state-{}">{}</span>', state.value, state.label)

    @admin.display(description=_("sold"))
    def sold(self, showtime: Any) -> str:
        """Return how many seats are sold, and how many that is of a hundred."""
        return f"{showtime.occupancy.sold} ({showtime.occupancy.per_cent_sold}\N{NO-BREAK SPACE}%)"

    @admin.display(description=_("held"))
    def held(self, showtime: Any) -> int:
        """Return how many seats are held."""
        count: int = showtime.occupancy.reserved
        return count

    @admin.display(description=_("free"))
    def free(self, showtime: Any) -> int:
        """Return how many seats are free."""
        count: int = showtime.occupancy.available
        return count

    @admin.display(description=_("blocked"))
    def blocked(self, showtime: Any) -> int:
        """Return how many seats the house keeps."""
        count: int = showtime.occupancy.blocked
        return count

    @admin.display(description=_("looking on"))
    def viewers(self, showtime: Showtime) -> int:
        """Return how many people look at its seats at the moment."""
        return presence().count(showtime.pk)

    @admin.display(description=_("seats"))
    def seats_link(self, showtime: Showtime) -> SafeString:
        """Return a link to its seats."""
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:seating_showtime_seats", args=[showtime.pk]), _("Seats")
        )

    @admin.action(description=_("Stop sales"), permissions=["change"])
    def stop_sales(self, request: HttpRequest, queryset: QuerySet[Showtime]) -> None:
        """Sell no seats of these until further notice."""
        self._do_each(request, queryset, lambda showtime: stop_sales(showtime_id=showtime.pk), _("Stopped sales"))

    @admin.action(description=_("Resume sales"), permissions=["change"])
    def resume_sales(self, request: HttpRequest, queryset: QuerySet[Showtime]) -> None:
        """Sell these again."""
        self._do_each(request, queryset, lambda showtime: resume_sales(showtime_id=showtime.pk), _("Resumed sales"))

    def _do_each(
        self, request: HttpRequest, queryset: QuerySet[Showtime], do: Callable[[Showtime], None], done: Any
    ) -> None:
        count = 0
        for showtime in queryset.select_related("movie", "auditorium"):
            try:
                do(showtime)
            except Refusal as refusal:
                self.message_user(request, f"{showtime}: {in_words(refusal)}", messages.ERROR)
                continue
            self.log_change(request, showtime, str(done))
            count += 1
        if count:
            told = ngettext("%(done)s of %(count)d showtime.", "%(done)s of %(count)d showtimes.", count)
            self.message_user(request, told % {"done": done, "count": count}, messages.SUCCESS)

    # --- The form ----------------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Showtime | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's
        """Return the form, with a field for each price."""
        fields: dict[str, Any] = {}
        if not obj or self.has_change_permission(request, obj):
            fields = dict(price_fields(obj))
        if obj:
            fields["repeat_until"] = None
        form = type("ShowtimeForm", (ShowtimeForm,), fields)
        return super().get_form(request, obj, change=change, **{**kwargs, "form": form})

    def get_fieldsets(self, request: HttpRequest, obj: Showtime | None = None) -> Any:
        """Return the fields by their groups."""
        sales = (_("Sales"), {"fields": ["sales_open_at", "sales_close_at", "hold_seconds"]})
        if obj is None:
            what = (None, {"fields": ["movie", "auditorium", "starts_at", "repeat_until"]})
            hint = _("Every category that the room has needs a price; leave the others empty.")
            return [what, (_("Prices"), {"fields": list(price_fields(None)), "description": hint}), sales]
        what = (None, {"fields": ["movie", "auditorium", "starts_at", "ends_at", "layout", "state", "cancelled_at"]})
        if not self.has_change_permission(request, obj):
            return [what, (_("Prices"), {"fields": ["prices"]}), sales]
        hint = _("For seats that are held from now on: a seat costs what it cost when it was held.")
        return [what, (_("Prices"), {"fields": list(price_fields(obj)), "description": hint}), sales]

    def get_readonly_fields(self, request: HttpRequest, obj: Showtime | None = None) -> tuple[str, ...]:
        """Return what is only shown: a showtime keeps its room, whose seats have been made."""
        return ("auditorium", "ends_at", "layout", "state", "cancelled_at", "prices") if obj else ()

    @admin.display(description=_("Prices"))
    def prices(self, showtime: Showtime) -> SafeString:
        """Return its prices, for those who may only look."""
        rows = [(price.category, money(price.amount, showtime.currency)) for price in price_table(showtime)]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} {}</li>", rows))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save the form. Whoever was quicker between its checks and its saving, the form then sees them."""
        showtime = self.get_object(request, object_id) if object_id else None
        context = {**(extra_context or {}), "tools": self.tools(request, showtime) if showtime else []}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except (IntegrityError, Refusal):
            return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Showtime, form: Any, change: Any) -> None:
        """Save through the services: a new showtime gets its seats, one that is there changes what it may."""
        values = {
            "movie": form.cleaned_data["movie"],
            "prices": form.prices,
            "sales_open_at": form.cleaned_data["sales_open_at"],
            "sales_close_at": form.cleaned_data["sales_close_at"],
            "hold_seconds": form.cleaned_data["hold_seconds"],
        }
        if change:
            sales_open_at = values.pop("sales_open_at") or timezone.now()
            changed = change_showtime(
                showtime_id=obj.pk, starts_at=form.cleaned_data["starts_at"], sales_open_at=sales_open_at, **values
            )
            obj.ends_at = changed.ends_at
            return
        first, *others = (
            schedule_showtime(auditorium=form.cleaned_data["auditorium"], starts_at=starts_at, **values)
            for starts_at in form.starts
        )
        obj.pk = first.pk
        obj.refresh_from_db()
        for other in others:
            self.log_addition(request, other, [{"added": {}}])
        if others:
            told = ngettext("And on %d more day.", "And on %d more days.", len(others))
            self.message_user(request, told % len(others), messages.SUCCESS)

    # --- Deleting ----------------------------------------------------------------------------------------------------

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Delete a showtime that nothing has happened to; say why not of any other."""
        showtime = self.get_object(request, object_id)
        if showtime and self.has_delete_permission(request, showtime):
            try:
                if nothing_ever_happened(showtime.pk):
                    return super().delete_view(request, object_id, extra_context)
                self.message_user(request, STAYS_IN_THE_BOOKS, messages.ERROR)
            except Refusal as refusal:
                self.message_user(request, in_words(refusal), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:seating_showtime_change", args=[showtime.pk]))
        return super().delete_view(request, object_id, extra_context)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted: the showtime with its seats and prices, which nobody has touched."""
        names = [str(showtime) for showtime in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Showtime) -> None:
        """Delete it."""
        remove_showtime(showtime_id=obj.pk)

    # --- Pages of its own --------------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        """Return the addresses below the list's own."""
        seats = path(
            "<int:showtime_id>/seats/", self.admin_site.admin_view(self.seats_view), name="seating_showtime_seats"
        )
        return [seats, *super().get_urls()]

    def seats_view(self, request: HttpRequest, showtime_id: int) -> HttpResponse:
        """Show the seats of a showtime, and block, unblock or take back those that were chosen."""
        return seats_page(self, request, showtime_id)

    def tools(self, request: HttpRequest, showtime: Showtime) -> list[tuple[str, str]]:
        """Return what else there is to see and do with a showtime, as addresses and words."""
        tools = [(reverse("admin:seating_showtime_seats", args=[showtime.pk]), gettext("Seats"))]
        for model, words in (("hold", gettext("Holds")), ("seatevent", gettext("Ledger"))):
            if request.user.has_perm(f"seating.view_{model}"):
                address = reverse(f"admin:seating_{model}_changelist")
                tools.append((f"{address}?showtime__id__exact={showtime.pk}", words))
        return tools
