"""The form of a showtime: its times, and a price for each category of its room."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminDateWidget
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cinebook.core.money import exponent, in_major_units
from seating.models import Auditorium, Layout, Price, SeatCategory, Showtime
from seating.selectors.house import overlapping_showtime, was_ever_held
from seating.selectors.layouts import parsed_layout
from seating.services.programme import SALES_CLOSE_AFTER_START, TURNAROUND
from seating.services.showtimes import MOVIE_STAYS

# How many days a new showtime may be repeated on.
LONGEST_RUN = 31
# The database keeps minor units in four bytes.
DEAREST = 2**31 - 1
PRICE = "price_"


def price_fields(showtime: Showtime | None) -> dict[str, forms.Field]:
    """Return a field for the price of each category, by its name in the form.

    Args:
        showtime: whose; None for a new one, whose room is not chosen yet, so that only the form as a whole can tell
            which prices it needs.
    """
    categories = SeatCategory.objects.all()
    if showtime:
        categories = categories.filter(code__in=parsed_layout(showtime.layout_id).categories)
    currency = showtime.currency if showtime else settings.CURRENCY
    return {
        PRICE + category.code: forms.DecimalField(
            label=f"{category.name} ({currency})",
            required=showtime is not None,
            min_value=Decimal(0),
            max_value=in_major_units(DEAREST, currency),
            decimal_places=exponent(currency),
        )
        for category in categories
    }


class ShowtimeForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the type checker only
    """A showtime. The fields of its prices are added by `price_fields`."""

    repeat_until = forms.DateField(
        label=_("The same again every day until"),
        required=False,
        widget=AdminDateWidget,
        help_text=_("Leave it empty for one showtime."),
    )

    class Meta:
        model = Showtime
        fields = ("movie", "auditorium", "starts_at", "sales_open_at", "sales_close_at", "hold_seconds")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, help_text in {
            "sales_open_at": _("Empty: from now on."),
            "sales_close_at": _("Empty: a quarter of an hour after the start, when the trailers are over."),
        }.items():
            if name in self.fields:
                self.fields[name].required = False
                self.fields[name].help_text = help_text
        if "hold_seconds" in self.fields:
            self.fields["hold_seconds"].validators += [MinValueValidator(2), MaxValueValidator(86_400)]
        if self.instance.pk:
            currency = self.instance.currency
            for price in self.instance.prices.all():
                self.initial[PRICE + price.category_id] = in_major_units(price.amount, currency)

    @property
    def prices(self) -> dict[str, int]:
        """The amounts in minor units, by category."""
        scale = exponent(self.instance.currency or settings.CURRENCY)
        return {
            name.removeprefix(PRICE): int(amount.scaleb(scale))
            for name, amount in self.cleaned_data.items()
            if name.startswith(PRICE) and amount is not None
        }

    @property
    def starts(self) -> list[dt.datetime]:
        """When it starts, on each of its days at the same time by the cinema's clock."""
        first: dt.datetime = self.cleaned_data["starts_at"]
        until = self.cleaned_data.get("repeat_until")
        local = timezone.localtime(first)
        days = (until - local.date()).days if until else 0
        zone = timezone.get_default_timezone()
        # By way of UTC: an hour that a change of the clocks skips becomes the hour after it.
        return [
            first,
            *(
                (local.replace(tzinfo=None) + dt.timedelta(days=day)).replace(tzinfo=zone).astimezone(dt.UTC)
                for day in range(1, days + 1)
            ),
        ]

    def clean(self) -> dict[str, Any] | None:
        """Check what more than one field decides."""
        cleaned = super().clean()
        values = self.cleaned_data
        if self.instance.pk:
            self._keep_the_film()
            self._move_the_sales()
        else:
            self._check_room_and_prices()
            self._check_run()
        start = values.get("starts_at")
        closing = values.get("sales_close_at") or (start + SALES_CLOSE_AFTER_START if start else None)
        opening = values.get("sales_open_at") or timezone.now()
        if closing and not self.errors and opening >= closing:
            self.add_error("sales_open_at", _("Sales must open before they close."))
        if not self.errors:
            self._check_overlaps()
        return cleaned

    def _keep_the_film(self) -> None:
        if "movie" in self.changed_data and was_ever_held(self.instance.pk):
            self.add_error("movie", MOVIE_STAYS)

    def _move_the_sales(self) -> None:
        """Sales that close with the start move with it, unless they were given another end."""
        if not {"starts_at", "sales_close_at"} <= self.cleaned_data.keys() or "sales_close_at" in self.changed_data:
            return
        moved = self.cleaned_data["starts_at"] - self.initial["starts_at"]
        self.cleaned_data["sales_close_at"] = self.initial["sales_close_at"] + moved

    def _check_room_and_prices(self) -> None:
        auditorium: Auditorium | None = self.cleaned_data.get("auditorium")
        if auditorium is None:
            return
        try:
            layout = auditorium.current_layout()
        except Layout.DoesNotExist:
            self.add_error("auditorium", _("This room has no layout yet: draw it first."))
            return
        for category in parsed_layout(layout.pk).categories:
            name = PRICE + category
            if name not in self.fields:
                self.add_error("auditorium", _("This room has seats of a category that is gone: %s.") % category)
            elif self.cleaned_data.get(name) is None and name not in self.errors:
                self.add_error(name, _("This room has such seats: they need a price."))

    def _check_run(self) -> None:
        start, until = self.cleaned_data.get("starts_at"), self.cleaned_data.get("repeat_until")
        if start and start <= timezone.now():
            self.add_error("starts_at", _("This is over already."))
        if start and until and not 0 <= (until - timezone.localtime(start).date()).days < LONGEST_RUN:
            self.add_error(
                "repeat_until", _("A run begins with its first day and lasts at most %s days.") % LONGEST_RUN
            )

    def _check_overlaps(self) -> None:
        """Name the showtime that is in the way. Should another come in between, the database refuses."""
        showtime: Showtime = self.instance
        movie = self.cleaned_data["movie"]
        length = dt.timedelta(minutes=movie.runtime_minutes) + TURNAROUND
        if showtime.pk and "movie" not in self.changed_data:
            length = showtime.ends_at - self.initial["starts_at"]
        auditorium = self.cleaned_data.get("auditorium") or showtime.auditorium
        for starts_at in self.starts:
            other = overlapping_showtime(
                auditorium_id=auditorium.pk, starts_at=starts_at, ends_at=starts_at + length, but_for=showtime.pk
            )
            if other:
                self.add_error(
                    "starts_at",
                    _("%(room)s shows %(movie)s from %(start)s to %(end)s.")
                    % {
                        "room": other.auditorium,
                        "movie": other.movie,
                        "start": timezone.localtime(other.starts_at).strftime("%Y-%m-%d %H:%M"),
                        "end": timezone.localtime(other.ends_at).strftime("%H:%M"),
                    },
                )
                return


def price_table(showtime: Showtime) -> list[Price]:
    """Return the prices of a showtime, cheapest category first."""
    return list(showtime.prices.select_related("category").order_by("category__rank"))
