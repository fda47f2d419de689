"""The rooms. A room is drawn as text; saving a new drawing publishes a new layout, and the old ones stay."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from cinebook.core.admin import AnyModelAdmin, ReadOnlyAdmin
from seating.drawing import Drawing, drawing_of, legend_text, read_legend, usual_legend
from seating.layout import LayoutError, SeatingLayout
from seating.models import Auditorium, Layout, SeatCategory
from seating.selectors.layouts import parsed_layout
from seating.services import publish_layout
from seating.templatetags.layout_picture import picture

# How many of the showtimes that use a layout its page names; a link leads to all.
NAMED_SHOWTIMES = 10
PREVIEW = "_preview"
NOTHING_SAVED = _("Nothing is saved yet: this is how the room would look.")
SIZE = {"cols": 60, "spellcheck": "false", "class": "house-drawing", "autocomplete": "off"}


@admin.register(SeatCategory)
class SeatCategoryAdmin(AnyModelAdmin):
    """Classes of seats. Layouts name them by their codes, so a code stays, and so does a category that is drawn."""

    list_display = ("name", "code", "rank")
    prepopulated_fields = {"code": ("name",)}

    def get_readonly_fields(self, request: HttpRequest, obj: SeatCategory | None = None) -> tuple[str, ...]:
        """Return the fields that cannot be edited: the code, once it is there."""
        return ("code",) if obj else ()

    def get_prepopulated_fields(self, request: HttpRequest, obj: SeatCategory | None = None) -> dict[str, Any]:
        """Return what fills itself in: the code, while it may be edited."""
        return {} if obj else dict(self.prepopulated_fields)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted, and the layouts that forbid it."""
        to_delete, counts, missing_permissions, protected = super().get_deleted_objects(objs, request)
        codes = {category.code for category in objs}
        drawn = [
            str(layout)
            for layout in Layout.objects.select_related("auditorium")
            if codes.intersection(parsed_layout(layout.pk).categories)
        ]
        return to_delete, counts, missing_permissions, [*protected, *drawn]


class AuditoriumForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the type checker only
    """A room and the drawing of its newest layout."""

    drawing = forms.CharField(
        label=_("Drawing"),
        strip=False,
        required=False,
        widget=forms.Textarea(attrs={**SIZE, "rows": 18}),
        help_text=_(
            "One line per row, from the screen: the row’s label, a space, then one letter per seat. "
            "A dot is a gap of one seat, a comma one of half a seat, an empty line a gap between rows."
        ),
    )
    legend = forms.CharField(
        label=_("Legend"),
        required=False,
        widget=forms.Textarea(attrs={**SIZE, "rows": 6}),
        help_text=_(
            "What each letter is: the letter, the code of a category and, unless it is a plain seat, "
            "wheelchair, companion or loveseat."
        ),
    )
    curve = forms.FloatField(
        label=_("Curve"),
        required=False,
        min_value=0,
        max_value=10,
        help_text=_("How much nearer to the screen the ends of the widest row are than its middle, in seats."),
    )

    class Meta:
        model = Auditorium
        fields = ("name", "slug", "description")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drawn: SeatingLayout | None = None
        self.redrawn = False
        self.is_preview = False
        self.published = self.instance.layouts.order_by("number").last() if self.instance.pk else None
        if self.published:
            self.drawn = parsed_layout(self.published.pk)
        self._fill_in(drawing_of(self.drawn) if self.drawn else None)

    def _fill_in(self, drawing: Drawing | None) -> None:
        legend = drawing.legend if drawing else usual_legend(SeatCategory.objects.values_list("code", flat=True))
        self.initial.update(
            drawing=drawing.rows if drawing else "", legend=legend_text(legend), curve=drawing.curve if drawing else 0
        )
        if self.published and not drawing:
            self.fields["drawing"].help_text += " " + str(
                _("This room’s layout was not drawn as text. Leave this empty to keep it.")
            )

    def clean(self) -> dict[str, Any] | None:
        """Read the drawing, if there is a new one."""
        cleaned = super().clean()
        given = {name: self.cleaned_data.get(name) for name in ("drawing", "legend", "curve")}
        # Browsers send line ends of their own, which are no change of the drawing.
        text = str(given["drawing"] or "").replace("\r\n", "\n")
        same = (
            text == self.initial["drawing"]
            and (given["curve"] or 0) == self.initial["curve"]
            and str(given["legend"] or "").replace("\r\n", "\n") == self.initial["legend"]
        )
        if self.published and (same or not text.strip()):
            return cleaned
        if self.errors.keys() & given.keys():
            return cleaned
        self._draw(text, str(given["legend"] or ""), given["curve"] or 0.0)
        return cleaned

    def _draw(self, text: str, legend: str, curve: float) -> None:
        field = "legend"
        try:
            read = read_legend(legend, set(SeatCategory.objects.values_list("code", flat=True)))
            field = "drawing"
            self.drawn = Drawing(rows=text, legend=read, curve=curve).layout()
            self.redrawn = True
        except LayoutError as error:
            self.drawn = None
            self.add_error(field, str(error))

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc] # Django's stubs leave it out
        if PREVIEW in self.data and not self.errors:
            self.is_preview = True
            # It keeps the form from being saved; what the person is told stands in `render_change_form`.
            self.add_error(None, NOTHING_SAVED)


@admin.register(Auditorium)
class AuditoriumAdmin(AnyModelAdmin):
    """Rooms, with the drawings of their layouts."""

    form = AuditoriumForm
    list_display = ("name", "description", "newest_layout", "seats")
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}
    change_form_template = "admin/seating/auditorium_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Auditorium]:
        """Return the rooms with their layouts."""
        return super().get_queryset(request).prefetch_related("layouts")

    def get_fieldsets(self, request: HttpRequest, obj: Auditorium | None = None) -> Any:
        """Return the fields; who may only look sees no drawing to edit."""
        room = (None, {"fields": ["name", "slug", "description"]})
        layouts = (_("Layouts"), {"fields": ["all_layouts"]})
        if obj and not self.has_change_permission(request, obj):
            return [room, layouts]
        drawing = (_("Layout"), {"fields": ["drawing", "legend", "curve"], "classes": ["wide"]})
        return [room, drawing, layouts] if obj else [room, drawing]

    def get_readonly_fields(self, request: HttpRequest, obj: Auditorium | None = None) -> tuple[str, ...]:
        """Return what is only shown."""
        return ("all_layouts",)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the page; looking at a drawing before saving it is no mistake to be corrected."""
        if context["adminform"].form.is_preview:
            context["errors"] = []
            self.message_user(request, NOTHING_SAVED)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Auditorium, form: Any, change: Any) -> None:
        """Save the room, and publish its layout if it was drawn anew."""
        super().save_model(request, obj, form, change)
        if form.redrawn:
            layout = publish_layout(auditorium=obj, layout=form.drawn)
            self.message_user(
                request,
                ngettext(
                    "%(layout)s has %(count)d seat. Showtimes that exist keep the layout they were made with.",
                    "%(layout)s has %(count)d seats. Showtimes that exist keep the layout they were made with.",
                    len(form.drawn.seats),
                )
                % {"layout": layout, "count": len(form.drawn.seats)},
            )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted; a room's layouts go with it, though nobody may delete them alone."""
        to_delete, counts, missing_permissions, protected = super().get_deleted_objects(objs, request)
        layout = Layout._meta.verbose_name  # noqa: SLF001 - Django's own way to ask
        return to_delete, counts, missing_permissions - {layout}, protected

    @admin.display(description=_("layout"))
    def newest_layout(self, auditorium: Auditorium) -> int | None:
        """Return the number of the layout that new showtimes get."""
        return max((layout.number for layout in auditorium.layouts.all()), default=None)

    @admin.display(description=_("seats"))
    def seats(self, auditorium: Auditorium) -> int:
        """Return how many seats that layout has."""
        newest = max(auditorium.layouts.all(), key=lambda layout: layout.number, default=None)
        return len(parsed_layout(newest.pk).seats) if newest else 0

    @admin.display(description=_("All layouts"))
    def all_layouts(self, auditorium: Auditorium) -> SafeString:
        """Return links to every layout that the room ever had."""
        newest_first = sorted(auditorium.layouts.all(), key=lambda layout: -layout.number)
        links = [(reverse("admin:seating_layout_change", args=[layout.pk]), layout.number) for layout in newest_first]
        return format_html_join(", ", '<a href="{}">{}</a>', links)


@admin.register(Layout)
class LayoutAdmin(ReadOnlyAdmin):
    """Layouts never change: a room is redrawn on its own page."""

    list_display = ("auditorium", "number", "seats", "showtime_count", "created_at")
    list_display_links = ("auditorium", "number")
    list_filter = ("auditorium",)
    list_select_related = ("auditorium",)
    ordering = ("auditorium__name", "-number")
    fields = ("auditorium", "number", "created_at", "seats", "used_by", "plan")
    readonly_fields = ("seats", "used_by", "plan")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the layouts with the number of showtimes that use each."""
        return super().get_queryset(request).annotate(showtime_count=Count("showtimes"))

    @admin.display(description=_("seats"))
    def seats(self, layout: Layout) -> int:
        """Return how many seats it has."""
        return len(parsed_layout(layout.pk).seats)

    @admin.display(description=_("showtimes"), ordering="showtime_count")
    def showtime_count(self, layout: Any) -> int:
        """Return how many showtimes use it."""
        count: int = layout.showtime_count
        return count

    @admin.display(description=_("Used by"))
    def used_by(self, layout: Layout) -> SafeString:
        """Return links to the newest showtimes that use it, and to all of them."""
        showtimes = layout.showtimes.select_related("movie", "auditorium").order_by("-starts_at")[:NAMED_SHOWTIMES]
        links: list[tuple[str, Any]] = [
            (reverse("admin:seating_showtime_change", args=[showtime.pk]), showtime) for showtime in showtimes
        ]
        everything = reverse("admin:seating_showtime_changelist")
        links.append((f"{everything}?layout__id__exact={layout.pk}", _("All of them")))
        return format_html("<ul>{}</ul>", format_html_join("", '<li><a href="{}">{}</a></li>', links))

    @admin.display(description=_("As it is built"))
    def plan(self, layout: Layout) -> SafeString:
        """Return a picture of it."""
        return picture(parsed_layout(layout.pk))
