"""Shapes."""

from rest_framework import serializers

from bench.textbook.models import Seat


class SeatSerializer(serializers.ModelSerializer[Seat]):
    """A seat on the map."""

    class Meta:
        """What of it is told."""

        model = Seat
        fields = ["code", "price", "status"]


class SeatsRequest(serializers.Serializer[None]):
    """The seats that somebody wants."""

    seats = serializers.ListField(child=serializers.CharField(max_length=8), min_length=1, max_length=10)
