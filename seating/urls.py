"""The pages of the programme and the seat map."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
