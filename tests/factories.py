"""Things to test with: each factory makes one that is complete and legal, through the services where there are some."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import factory
from django.utils import timezone

from bookings import models as bookings
from cinebook.core.models import User
from seating import models as seating
from seating.layout import SeatingLayout, SeatKind
from seating.services import publish_layout, schedule_showtime

LEGEND = {
    "s": ("standard", SeatKind.SEAT),
    "p": ("premium", SeatKind.SEAT),
    "w": ("standard", SeatKind.WHEELCHAIR),
    "c": ("standard", SeatKind.COMPANION),
}
# Three rows of six: an aisle in each, a better row at the back, one place for a wheelchair.
DRAWING = """
A sss.sss
B wcs.sss
C ppp.ppp
"""
PRICES = {"standard": 1200, "premium": 1500}


class UserFactory(factory.django.DjangoModelFactory[User]):
    class Meta:
        model = User

    username = factory.Sequence(lambda number: f"person{number}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")


class MovieFactory(factory.django.DjangoModelFactory[seating.Movie]):
    class Meta:
        model = seating.Movie

    title = factory.Sequence(lambda number: f"Film {number}")
    slug = factory.Sequence(lambda number: f"film-{number}")
    runtime_minutes = 100


class AuditoriumFactory(factory.django.DjangoModelFactory[seating.Auditorium]):
    """A room with a layout; `drawing=` draws another one."""

    class Meta:
        model = seating.Auditorium
        skip_postgeneration_save = True

    name = factory.Sequence(lambda number: f"Room {number}")
    slug = factory.Sequence(lambda number: f"room-{number}")

    @factory.post_generation
    def drawing(self: seating.Auditorium, create: bool, extracted: str | None, **kwargs: Any) -> None:  # noqa: FBT001
        for rank, code in enumerate(PRICES):
            seating.SeatCategory.objects.get_or_create(code=code, defaults={"name": code.title(), "rank": rank})
        publish_layout(auditorium=self, layout=SeatingLayout.from_drawing(extracted or DRAWING, LEGEND))


def make_showtime(**given: Any) -> seating.Showtime:
    """Return a showtime on sale that begins in three hours; `drawing=` gives its room a layout of its own."""
    room = {"drawing": given.pop("drawing")} if "drawing" in given else {}
    values = {
        "starts_at": timezone.now() + dt.timedelta(hours=3),
        "prices": PRICES,
        "sales_open_at": timezone.now() - dt.timedelta(days=1),
        **given,
    }
    values.setdefault("movie", None)
    values["movie"] = values["movie"] or MovieFactory()
    values.setdefault("auditorium", None)
    values["auditorium"] = values["auditorium"] or AuditoriumFactory(**room)
    return schedule_showtime(**values)


class HolderFactory(factory.django.DjangoModelFactory[seating.Holder]):
    """A guest."""

    class Meta:
        model = seating.Holder

    guest_key = factory.LazyFunction(uuid.uuid4)


class HoldFactory(factory.django.DjangoModelFactory[seating.Hold]):
    """A live hold without seats."""

    class Meta:
        model = seating.Hold

    holder = factory.SubFactory(HolderFactory)
    showtime = factory.LazyFunction(make_showtime)
    token_hash = factory.LazyFunction(lambda: uuid.uuid4().hex * 2)
    locked_at = factory.LazyFunction(timezone.now)
    expires_at = factory.LazyAttribute(lambda hold: hold.locked_at + dt.timedelta(minutes=15))
    max_expires_at = factory.LazyAttribute(lambda hold: hold.locked_at + dt.timedelta(minutes=45))


class BookingFactory(factory.django.DjangoModelFactory[bookings.Booking]):
    """A booking that waits for its payment."""

    class Meta:
        model = bookings.Booking

    hold = factory.SubFactory(HoldFactory)
    holder = factory.SelfAttribute("hold.holder")
    showtime = factory.SelfAttribute("hold.showtime")
    contact_name = "Ada Example"
    contact_email = "ada@example.org"
    total_amount = 2400
    currency = "EUR"
    pay_by = factory.LazyFunction(lambda: timezone.now() + dt.timedelta(minutes=10))
    hold_expires_at = factory.SelfAttribute("hold.expires_at")


class TicketFactory(factory.django.DjangoModelFactory[bookings.Ticket]):
    """A ticket for the first seat of its booking's showtime."""

    class Meta:
        model = bookings.Ticket

    booking = factory.SubFactory(BookingFactory)
    seat = factory.LazyAttribute(lambda ticket: ticket.booking.showtime.seats.get(code="A1"))
    price_amount = 1200


class PaymentFactory(factory.django.DjangoModelFactory[bookings.Payment]):
    """A payment that has just begun."""

    class Meta:
        model = bookings.Payment

    booking = factory.SubFactory(BookingFactory)
    provider = "demo"
    amount = 2400
