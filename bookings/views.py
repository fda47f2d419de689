"""The pages of buying."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@require_safe
@never_cache
def my_bookings(request: HttpRequest) -> HttpResponse:
    """What the visitor has bought."""
    return render(request, "bookings/my_bookings.html", {})
