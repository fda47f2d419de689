"""Buying over the socket: the buyer is answered, and everybody who watches sees the seats go."""

from __future__ import annotations

from typing import Any

import pytest

from bookings.models import Booking, BookingStatus
from seating.models import Showtime
from tests.factories import make_showtime
from tests.seating.live.conftest import Person, person
from tests.seating.live.sockets import in_loop, in_thread, socket

pytestmark = pytest.mark.django_db(transaction=True)
PURCHASE = {"contact": {"name": "Ada Example", "email": "ada@example.org"}, "payment": {"provider": "demo"}}


@pytest.fixture
def showtime(transactional_db: None) -> Showtime:
    return make_showtime()


@pytest.fixture
def ada(showtime: Showtime) -> Person:
    return person()


def test_a_purchase_is_answered_and_seen_by_everybody(showtime: Showtime, ada: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token, join=showtime.pk) as client, socket(join=showtime.pk) as stranger:
            await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1", "A2", "A3"])
            sold = await client.ask("booking:confirm", showtime_id=showtime.pk, seats=["A1", "A2"], **PURCHASE)

            assert sold["event"] == "booking:success"
            assert (sold["data"]["status"], sold["data"]["seats"]) == ("CONFIRMED", ["A1", "A2"])
            booking = await in_thread(Booking.objects.get, reference=sold["data"]["reference"])
            assert booking.status == BookingStatus.CONFIRMED
            seen = await stranger.receive("seats:booked")
            assert sorted(seen["data"]["seats"]) == ["A1", "A2"]

            again = await client.ask("booking:confirm", showtime_id=showtime.pk, seats=["A1", "A2"], **PURCHASE)
            assert again["data"]["reference"] == sold["data"]["reference"]

    scene()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"seats": ["A1"], **PURCHASE}, "hold_expired"),
        ({"seats": ["A1"], "payment": {"provider": "demo", "token": "decline"}}, "hold_expired"),
        ({"seats": []}, "invalid_data"),
        ({"seats": ["A1"], "payment": "demo"}, "invalid_data"),
    ],
)
def test_what_cannot_be_bought_is_answered(showtime: Showtime, ada: Person, said: dict[str, Any], code: str) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            answer = await client.ask("booking:confirm", showtime_id=showtime.pk, **said)
            assert (answer["event"], answer["data"]["code"]) == ("booking:failed", code)

    scene()


def test_a_declined_payment_leaves_the_hold(showtime: Showtime, ada: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"])
            purchase = {**PURCHASE, "payment": {"provider": "demo", "token": "decline"}}
            answer = await client.ask("booking:confirm", showtime_id=showtime.pk, seats=["A1"], **purchase)
            assert (answer["event"], answer["data"]["code"]) == ("booking:failed", "payment_declined")
            held = await client.ask("holds:get")
            assert [hold["seats"] for hold in held["data"]["holds"]] == [["A1"]]

    scene()
