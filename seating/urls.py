"""The pages of the programme and the seat map."""

from __future__ import annotations

from django.urls import URLPattern, path

from seating import views

urlpatterns: list[URLPattern] = [
    path("", views.home, name="home"),
    path("movies/<slug:slug>/", views.movie, name="movie"),
    path("showtimes/<int:showtime_id>/", views.showtime, name="showtime"),
    path("showtimes/<int:showtime_id>/seats/", views.seats, name="seats"),
    path("showtimes/<int:showtime_id>/leave/", views.leaving, name="leave"),
    path("layouts/<int:layout_id>-<slug:digest>.css", views.stylesheet, name="layout_stylesheet"),
]
