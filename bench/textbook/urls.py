"""The addresses."""

from django.http import JsonResponse
from django.urls import path

from bench.textbook.views import Buy, Hold, SeatList, page

urlpatterns = [
    # Where `bench/live.py` asks whether a server is open.
    path("api/v1/health", lambda _request: JsonResponse({})),
    path("showtimes/<int:pk>/", page),
    path("api/showtimes/<int:pk>/seats", SeatList.as_view()),
    path("api/showtimes/<int:pk>/hold", Hold.as_view()),
    path("api/showtimes/<int:pk>/buy", Buy.as_view()),
]
