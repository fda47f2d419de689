"""The seat map, and holding, extending, releasing and buying."""

import datetime as dt
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.textbook.models import Booking, Seat, Showtime
from bench.textbook.serializers import SeatSerializer, SeatsRequest

HOLD = dt.timedelta(minutes=15)


def page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the seat map."""
    showtime = get_object_or_404(Showtime, pk=pk)
    return render(request, "textbook/seats.html", {"showtime": showtime, "seats": showtime.seats.order_by("id")})


class SeatList(APIView):
    """The seats of a showtime."""

    def get(self, request: Request, pk: int) -> Response:
        """Return how they stand."""
        return Response(SeatSerializer(Seat.objects.filter(showtime_id=pk).order_by("id"), many=True).data)


class Hold(APIView):
    """Taking seats for a while."""

    permission_classes = [IsAuthenticated]

    def post(self, request: Request, pk: int) -> Response:
        """Hold seats: all or none."""
        asked = SeatsRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        with transaction.atomic():
            seats = _locked(pk, asked.validated_data["seats"])
            now = timezone.now()
            taken = [seat.code for seat in seats if not _is_free_for(seat, request.user, now)]
            if taken or len(seats) < len(set(asked.validated_data["seats"])):
                return Response({"taken": taken}, status=409)
            for seat in seats:
                seat.status, seat.held_by, seat.held_until = Seat.Status.HELD, request.user, now + HOLD
                seat.save(update_fields=["status", "held_by", "held_until"])
        return Response({"seats": SeatSerializer(seats, many=True).data, "expires_at": now + HOLD}, status=201)

    def put(self, request: Request, pk: int) -> Response:
        """Give one's hold more time."""
        now = timezone.now()
        with transaction.atomic():
            seats = _held_by(pk, request.user, now)
            if not seats:
                return Response(status=410)
            for seat in seats:
                seat.held_until = now + HOLD
                seat.save(update_fields=["held_until"])
        return Response({"seats": SeatSerializer(seats, many=True).data, "expires_at": now + HOLD})

    def delete(self, request: Request, pk: int) -> Response:
        """Let one's seats go."""
        with transaction.atomic():
            for seat in _held_by(pk, request.user, timezone.now()):
                seat.status, seat.held_by, seat.held_until = Seat.Status.AVAILABLE, None, None
                seat.save(update_fields=["status", "held_by", "held_until"])
        return Response(status=204)


class Buy(APIView):
    """Buying what one holds; the payment always succeeds."""

    permission_classes = [IsAuthenticated]

    def post(self, request: Request, pk: int) -> Response:
        """Make a booking of one's hold."""
        with transaction.atomic():
            seats = _held_by(pk, request.user, timezone.now())
            if not seats:
                return Response(status=410)
            booking = Booking.objects.create(user=request.user, showtime_id=pk)
            for seat in seats:
                seat.status, seat.booking, seat.held_by, seat.held_until = Seat.Status.BOOKED, booking, None, None
                seat.save(update_fields=["status", "booking", "held_by", "held_until"])
        amount = sum(seat.price for seat in seats)
        return Response({"id": booking.pk, "seats": [seat.code for seat in seats], "amount": amount}, status=201)


def _locked(showtime_id: int, codes: list[str]) -> list[Seat]:
    """Return seats whose rows are locked, always in the same order."""
    return list(Seat.objects.select_for_update().filter(showtime_id=showtime_id, code__in=codes).order_by("id"))


def _held_by(showtime_id: int, user: Any, now: dt.datetime) -> list[Seat]:
    held = Seat.objects.select_for_update().filter(showtime_id=showtime_id, held_by=user, held_until__gt=now)
    return list(held.order_by("id"))


def _is_free_for(seat: Seat, user: Any, now: dt.datetime) -> bool:
    if seat.status == Seat.Status.HELD:
        return seat.held_by_id == user.pk or seat.held_until is None or seat.held_until <= now
    return seat.status == Seat.Status.AVAILABLE
