"""What is on, and the rooms it is shown in."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

import django_filters
from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.http import condition
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from cinebook.core.api_views import ApiMixin, ApiView
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.schema import ETAG, IF_NONE_MATCH, NOT_MODIFIED
from seating.models import Movie, Showtime
from seating.selectors import programme
from seating.serializers import LayoutSerializer, MovieSerializer, ShowtimeSerializer, seating_layout

# Prices may change, geometry does not.
LAYOUT_MAX_AGE_SECONDS = 60


@extend_schema_view(get=extend_schema(operation_id="list_movies"))
class MovieList(ApiMixin, generics.ListAPIView[Movie]):
    """All films."""

    serializer_class = MovieSerializer
    queryset = programme.movies()


@extend_schema_view(get=extend_schema(operation_id="get_movie"))
class MovieDetail(ApiMixin, generics.RetrieveAPIView[Movie]):
    """One film."""

    serializer_class = MovieSerializer
    queryset = programme.movies()


class RowIdFilter(django_filters.Filter):
    """The id of a row. The library's numbers may have decimals, and magnitudes that take minutes to write out."""

    field_class = forms.IntegerField


class ShowtimeFilter(django_filters.FilterSet):
    """Which showtimes."""

    date = django_filters.DateFilter(method="of_day", help_text="A day on the cinema's clock, such as 2026-11-20.")
    movie = RowIdFilter(field_name="movie_id")
    auditorium = RowIdFilter(field_name="auditorium_id")

    def of_day(self, queryset: QuerySet[Showtime], name: str, value: dt.date) -> QuerySet[Showtime]:
        """Return the showtimes of a day, also those that do not sell any more."""
        try:
            return queryset.filter(pk__in=programme.showtimes_of_day(value).values("pk"))
        except OverflowError:
            # The last day that Python knows has no midnight after it.
            return queryset.none()


@extend_schema_view(get=extend_schema(operation_id="list_showtimes"))
class ShowtimeList(ApiMixin, generics.ListAPIView[Showtime]):
    """The showtimes that still sell, or those of a day."""

    serializer_class = ShowtimeSerializer
    filterset_class = ShowtimeFilter

    def get_queryset(self) -> QuerySet[Showtime]:
        """Return all showtimes for a day, else the coming ones."""
        if self.request.query_params.get("date"):
            return programme.showtimes()
        return programme.upcoming_showtimes(now=timezone.now())


@extend_schema_view(get=extend_schema(operation_id="get_showtime"))
class ShowtimeDetail(ApiMixin, generics.RetrieveAPIView[Showtime]):
    """One showtime, whenever it is."""

    serializer_class = ShowtimeSerializer
    queryset = programme.showtimes()


class ShowtimeLayout(ApiView):
    """The room of a showtime."""

    @extend_schema(
        operation_id="get_layout",
        tags=["seats"],
        parameters=[IF_NONE_MATCH, ETAG],
        responses={200: LayoutSerializer, 304: NOT_MODIFIED},
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        """Return the geometry and the prices; everybody may keep the answer for a minute."""
        try:
            showtime = programme.showtime_to_show(pk)
        except Showtime.DoesNotExist:
            raise Refusal(ErrorCode.NOT_FOUND) from None
        layout = seating_layout(showtime, programme.price_list(showtime))
        tag = hashlib.sha256(json.dumps(layout).encode()).hexdigest()[:32]

        @condition(etag_func=lambda _request: f'"{tag}"')
        def answer(_request: HttpRequest) -> Response:
            return Response(layout)

        response: HttpResponse = answer(request._request)  # noqa: SLF001 - the decorator wants Django's own
        patch_cache_control(response, public=True, max_age=LAYOUT_MAX_AGE_SECONDS)
        return response
