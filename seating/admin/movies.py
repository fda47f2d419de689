"""The films."""

from __future__ import annotations

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from cinebook.core.admin import AnyModelAdmin
from seating.models import Movie


@admin.register(Movie)
class MovieAdmin(AnyModelAdmin):
    """Films with their posters."""

    list_display = ("title", "director", "genre", "runtime_minutes", "age_rating")
    list_filter = ("genre",)
    search_fields = ("title", "director", "starring")
    prepopulated_fields = {"slug": ("title",)}
    readonly_fields = ("poster_preview",)
    fieldsets = (
        (None, {"fields": ("title", "slug", "tagline", "synopsis")}),
        (_("Credits"), {"fields": ("director", "starring", "genre", "language")}),
        (_("Showing"), {"fields": ("runtime_minutes", "age_rating")}),
        (_("Poster"), {"fields": ("poster", "poster_preview")}),
    )

    @admin.display(description=_("As it is shown"))
    def poster_preview(self, movie: Movie) -> SafeString:
        """Return the poster, or the card that stands for it."""
        return render_to_string("seating/_poster.html", {"movie": movie})
