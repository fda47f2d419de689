"""The addresses of seating's part of the API, below /api/v1/."""

from __future__ import annotations

from django.urls import URLPattern, path, register_converter
from django.urls.converters import IntConverter

from seating.api import holds, programme, seats, tokens


class RowIdConverter(IntConverter):
    """The id of a row: a number that PostgreSQL's bigint can hold."""

    regex = "[0-9]{1,18}"


register_converter(RowIdConverter, "id")

urlpatterns: list[URLPattern] = [
    path("auth/token", tokens.TokenView.as_view()),
    path("auth/token/refresh", tokens.TokenRefreshView.as_view()),
    path("auth/guest", tokens.GuestView.as_view()),
    path("movies", programme.MovieList.as_view()),
    path("movies/<id:pk>", programme.MovieDetail.as_view()),
    path("showtimes", programme.ShowtimeList.as_view()),
    path("showtimes/<id:pk>", programme.ShowtimeDetail.as_view()),
    path("showtimes/<id:pk>/layout", programme.ShowtimeLayout.as_view()),
    path("showtimes/<id:pk>/seats/status", seats.SeatStatus.as_view()),
    path("showtimes/<id:pk>/seats/best", seats.BestSeats.as_view()),
    path("showtimes/<id:pk>/seats/lock", seats.LockSeats.as_view()),
    path("showtimes/<id:pk>/seats/extend-lock", seats.ExtendLock.as_view()),
    path("showtimes/<id:pk>/seats/unlock", seats.UnlockSeats.as_view()),
    path("showtimes/<id:pk>/seats/<str:code>/hold", seats.HoldOneSeat.as_view()),
    path("holds", holds.Holds.as_view()),
    path("holds/<uuid:hold_id>", holds.HoldDetail.as_view()),
]
