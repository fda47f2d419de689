"""Showtimes, seats, bookings."""

from django.conf import settings
from django.db import models


class Showtime(models.Model):
    """A showing of a film."""

    title = models.CharField(max_length=200)
    starts_at = models.DateTimeField()


class Booking(models.Model):
    """What somebody has bought."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    showtime = models.ForeignKey(Showtime, models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)


class Seat(models.Model):
    """A seat of a showtime."""

    class Status(models.TextChoices):
        """How it stands."""

        AVAILABLE = "available"
        HELD = "held"
        BOOKED = "booked"

    showtime = models.ForeignKey(Showtime, models.CASCADE, related_name="seats")
    code = models.CharField(max_length=8)
    price = models.PositiveIntegerField(default=1200)
    status = models.CharField(max_length=10, choices=Status, default=Status.AVAILABLE)
    held_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    booking = models.ForeignKey(Booking, models.SET_NULL, null=True, blank=True, related_name="seats")

    class Meta:
        """One row for each seat."""

        constraints = [models.UniqueConstraint(fields=["showtime", "code"], name="one_row_for_each_seat")]
