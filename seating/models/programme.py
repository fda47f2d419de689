"""What is shown, where and when: movies, auditoriums with their layouts, showtimes with their prices."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from seating.layout import LayoutError, SeatingLayout

# Two showtimes that merely touch (one ends as the next begins) do not overlap: [start, end).
HALF_OPEN = RangeBoundary(inclusive_lower=True, inclusive_upper=False)


class Movie(models.Model):
    """A film that the house shows."""

    title = models.CharField(max_length=200)
    slug = models.SlugField(unique=True, help_text=_("Its place on the web: /movies/<slug>/."))
    tagline = models.CharField(max_length=200, blank=True)
    synopsis = models.TextField(blank=True)
    director = models.CharField(max_length=200, blank=True)
    starring = models.CharField(max_length=300, blank=True)
    genre = models.CharField(max_length=100, blank=True)
    language = models.CharField(
        max_length=100, blank=True, help_text=_("As it is shown, e.g. “French, English subtitles”.")
    )
    age_rating = models.PositiveSmallIntegerField(
        default=0, help_text=_("Youngest age admitted, in years; 0 for everybody.")
    )
    runtime_minutes = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])
    poster = models.CharField(
        max_length=200, blank=True, help_text=_("A picture below static/, e.g. posters/moth-season.svg.")
    )

    class Meta:
        ordering = ("title", "id")
        constraints = [
            models.CheckConstraint(name="movie_runs_for_at_least_a_minute", condition=Q(runtime_minutes__gte=1)),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the address of its page."""
        return reverse("movie", args=[self.slug])


class SeatCategory(models.Model):
    """A class of seats that has a price of its own at each showtime, such as *premium*."""

    code = models.SlugField(primary_key=True, max_length=30)
    name = models.CharField(max_length=60)
    rank = models.PositiveSmallIntegerField(default=0, help_text=_("Order in legends and price lists, cheapest first."))

    class Meta:
        ordering = ("rank", "code")
        verbose_name_plural = _("seat categories")

    def __str__(self) -> str:
        return self.name


class Auditorium(models.Model):
    """A room with a screen. Its geometry stands in its newest `Layout`."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(unique=True)
    description = models.CharField(
        max_length=200, blank=True, help_text=_("One line for the visitor: screen, sound, seats.")
    )

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name

    def current_layout(self) -> Layout:
        """Return the layout that new showtimes get.

        Raises:
            Layout.DoesNotExist: the auditorium has no layout yet.
        """
        return self.layouts.latest("number")


class Layout(models.Model):
    """The fixed geometry of an auditorium, immutable: a rebuilt room gets a new one.

    A showtime keeps the layout that it was made with, so no later edit moves a seat that somebody has bought, and
    every process may cache the parsed geometry by this row's id for ever.
    """

    auditorium = models.ForeignKey(Auditorium, on_delete=models.CASCADE, related_name="layouts", db_index=False)
    number = models.PositiveSmallIntegerField(help_text=_("1 for the first layout of the room, then 2, 3 …"))
    geometry = models.JSONField(help_text=_("Rows of seats with their positions; seating/layout.py knows the form."))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("auditorium", "number")
        constraints = [
            models.UniqueConstraint(name="layout_number_is_unique_in_its_auditorium", fields=["auditorium", "number"]),
        ]

    def __str__(self) -> str:
        return f"{self.auditorium}, layout {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the layout; refuse to change one that is there.

        Raises:
            ValidationError: the row exists already, or its geometry is not a layout.
        """
        if not self._state.adding:
            raise ValidationError(_("A layout never changes: give the auditorium a new one."))
        self.clean()
        super().save(*args, **{**kwargs, "force_insert": True})

    def clean(self) -> None:
        """Refuse a geometry that is not a layout.

        Raises:
            ValidationError: with the reason in words.
        """
        try:
            SeatingLayout.from_geometry(self.geometry)
        except LayoutError as error:
            raise ValidationError({"geometry": str(error)}) from error


class Showtime(models.Model):
    """One film, in one auditorium, at one time."""

    movie = models.ForeignKey(Movie, on_delete=models.PROTECT, related_name="showtimes")
    auditorium = models.ForeignKey(Auditorium, on_delete=models.PROTECT, related_name="showtimes")
    # The database ties layout and auditorium together: a migration adds the key of both columns.
    layout = models.ForeignKey(
        Layout, on_delete=models.PROTECT, related_name="showtimes", editable=False, db_constraint=False
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text=_("When the room is free again: film, trailers and cleaning."))
    sales_open_at = models.DateTimeField()
    sales_close_at = models.DateTimeField()
    hold_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("How long seats are held here, in seconds; empty for the house's default.")
    )
    currency = models.CharField(max_length=3, validators=[RegexValidator(r"^[A-Z]{3}$")])
    cancelled_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("Once set it stays: the database refuses to take it back.")
    )

    class Meta:
        ordering = ("starts_at", "id")
        indexes = [
            # The programme asks for the showtimes of one movie, and of one day, in order of time.
            models.Index(name="showtime_by_start", fields=["starts_at"]),
            models.Index(name="showtime_by_movie_and_start", fields=["movie", "starts_at"]),
        ]
        constraints = [
            models.CheckConstraint(name="showtime_ends_after_it_starts", condition=Q(ends_at__gt=F("starts_at"))),
            models.CheckConstraint(
                name="showtime_sales_close_after_they_open", condition=Q(sales_close_at__gt=F("sales_open_at"))
            ),
            models.CheckConstraint(name="showtime_currency_is_a_code", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(
                name="showtime_hold_lasts_at_least_2_seconds",
                condition=Q(hold_seconds__isnull=True) | Q(hold_seconds__gte=2),
            ),
            ExclusionConstraint(
                name="auditorium_shows_one_film_at_a_time",
                expressions=[
                    ("auditorium", RangeOperators.EQUAL),
                    (
                        Func(
                            "starts_at", "ends_at", HALF_OPEN, function="TSTZRANGE", output_field=DateTimeRangeField()
                        ),
                        RangeOperators.OVERLAPS,
                    ),
                ],
                condition=Q(cancelled_at__isnull=True),
                violation_error_message=_("Another film is shown in this auditorium at that time."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.movie} · {self.auditorium} · {timezone.localtime(self.starts_at):%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        """Return the address of its seat map."""
        return reverse("showtime", args=[self.pk])


class ShowtimeSales(models.Model):
    """Whether a showtime sells, and its version: the one row that every change of its seats locks last.

    It stands apart from `Showtime` so that no form and no `save()` of a showtime can overwrite it.
    """

    showtime = models.OneToOneField(Showtime, on_delete=models.CASCADE, primary_key=True, related_name="sales")
    seq = models.BigIntegerField(
        default=0, db_default=0, help_text=_("Grows by one with each transaction that changes seats: the version.")
    )
    sales_open = models.BooleanField(default=True, db_default=True)

    class Meta:
        verbose_name_plural = _("showtime sales")
        constraints = [models.CheckConstraint(name="showtime_version_is_not_negative", condition=Q(seq__gte=0))]

    def __str__(self) -> str:
        return f"showtime {self.showtime_id} at version {self.seq}"


class Price(models.Model):
    """What a seat of one category costs at one showtime."""

    showtime = models.ForeignKey(Showtime, on_delete=models.CASCADE, related_name="prices", db_index=False)
    category = models.ForeignKey(SeatCategory, on_delete=models.PROTECT, related_name="prices")
    amount = models.PositiveIntegerField(help_text=_("In the currency's minor units: 1250 is 12.50."))

    class Meta:
        ordering = ("showtime", "category__rank")
        constraints = [
            models.UniqueConstraint(name="category_has_one_price_at_a_showtime", fields=["showtime", "category"]),
        ]

    def __str__(self) -> str:
        return f"{self.category_id} {self.amount}"
