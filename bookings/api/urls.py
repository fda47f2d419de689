"""The addresses of bookings' part of the API, below /api/v1/."""

from __future__ import annotations

from django.urls import URLPattern, path

from bookings.api import bookings, notices

urlpatterns: list[URLPattern] = [
    path("bookings", bookings.Bookings.as_view()),
    path("bookings/confirm", bookings.ConfirmSeats.as_view()),
    path("bookings/<str:reference>", bookings.BookingDetail.as_view()),
    path("bookings/<str:reference>/cancel", bookings.CancelBooking.as_view()),
    path("payments/<slug:provider>/webhook", notices.Webhook.as_view()),
]
