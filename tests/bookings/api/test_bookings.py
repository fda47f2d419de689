"""Bookings by REST, as the contract has them."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from bookings.models import Booking, BookingStatus, DemoPayment
from cinebook.core.models import User
from cinebook.core.rate_limits import RateLimit
from seating.api import authentication
from seating.identity import tokens_for_user
from seating.models import IdempotencyRecord, Showtime
from seating.services import hold_seats, user_holder
from tests import factories
from tests.support.buying import FlakyDemo, assert_bought_right

pytestmark = pytest.mark.django_db(transaction=True)

CONTACT = {"name": "Ada Example", "email": "ada@example.org"}
DEMO = {"provider": "demo"}


class Caller:
    """Somebody who asks the API with what they have to show."""

    def __init__(self, client: Client, **headers: str) -> None:
        self.client = client
        self.headers = headers

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers={**self.headers, **named}
        )

    def hold(self, showtime: Showtime, *codes: str) -> dict[str, Any]:
        answer = self.post(f"showtimes/{showtime.pk}/seats/lock", {"seats": codes})
        assert answer.status_code == 201, answer.content
        return dict(answer.json())

    def buy(self, held: Mapping[str, Any], token: str = "", **said: Any) -> Any:
        return self.post("bookings", {"hold_id": held["hold_id"], "payment": {**DEMO, "token": token}, **said})


@pytest.fixture
def user() -> User:
    return factories.UserFactory(first_name="Ben", last_name="Example")


@pytest.fixture
def ben(client: Client, user: User) -> Caller:
    """A user with a token."""
    return Caller(client, Authorization=f"Bearer {tokens_for_user(user)['access']}")


@pytest.fixture
def guest() -> Caller:
    """A guest with a token."""
    client = Client()
    return Caller(client, Authorization=f"Bearer {client.post('/api/v1/auth/guest').json()['access']}")


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    return dict(answer.json())


class TestBuying:
    def test_the_answer_is_the_booking(self, ben: Caller, user: User, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1", "C1")
        who = {"seat": "C1", "first_name": "Zoë", "last_name": "Example", "id_type": "passport", "id_number": "X42"}
        answer = ben.buy(held, attendees=[who])

        assert answer.status_code == 201
        booking = answer.json()
        assert set(booking) == {
            "reference", "status", "showtime", "seats", "tickets", "total", "contact", "created_at", "payment",
        }  # fmt: skip
        assert re.fullmatch(r"BK-[0-9A-HJKMNP-TV-Z]{10}", booking["reference"])
        assert (booking["status"], booking["seats"]) == ("CONFIRMED", ["A1", "C1"])
        assert booking["payment"] == {"provider": "demo", "status": "CAPTURED"}
        assert booking["total"] == {"amount": "27.00", "currency": "EUR"}
        assert booking["contact"] == {"name": "Ben Example", "email": user.email}
        assert booking["showtime"]["id"] == showtime.pk
        for instant in (booking["created_at"], booking["showtime"]["starts_at"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", instant)
        first, second = booking["tickets"]
        assert (first["seat"], first["price"]) == ("A1", {"amount": "12.00", "currency": "EUR"})
        assert (second["seat"], second["first_name"], second["last_name"]) == ("C1", "Zoë", "Example")
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{16}", first["code"])
        assert "X42" not in answer.text
        assert answer["Cache-Control"] == "no-store"
        assert_bought_right(showtime)

    def test_the_same_hold_again(self, ben: Caller, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1")
        first, second = ben.buy(held), ben.buy(held)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()

    def test_a_decline(self, ben: Caller, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1")
        refused(ben.buy(held, "decline"), 402, "payment_declined")
        after = ben.get(f"holds/{held['hold_id']}").json()
        assert (after["expires_at"], after["paying"]) == (held["expires_at"], False)
        assert ben.buy(held, "succeed").status_code == 201

    def test_a_page_of_the_provider(self, ben: Caller, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1")
        booking = ben.buy(held, "stall").json()
        there = DemoPayment.objects.get()
        assert (booking["status"], booking["tickets"]) == ("PENDING", [])
        assert booking["payment"] == {
            "provider": "demo",
            "status": "PENDING",
            "redirect_url": f"http://testserver/payments/demo/{there.reference}/",
        }
        assert ben.get(f"holds/{held['hold_id']}").json()["paying"] is True
        refused(ben.post(f"showtimes/{showtime.pk}/seats/lock", {"seats": ["A2"]}), 409, "hold_paying")

    def test_a_provider_that_is_away(self, ben: Caller, showtime: Showtime, provider: FlakyDemo) -> None:
        held = ben.hold(showtime, "A1")
        body = {"hold_id": held["hold_id"], "payment": DEMO}
        provider.lost = {"create"}
        answer = ben.post("bookings", body, Idempotency_Key="k")
        refused(answer, 503, "unavailable")
        assert answer["Retry-After"] == "5"
        provider.lost.clear()
        # The same key tells what became of it.
        again = ben.post("bookings", body, Idempotency_Key="k")
        assert (again.status_code, again.json()["status"]) == (201, "CONFIRMED")
        assert Booking.objects.count() == 1

    def test_a_hold_that_is_gone(self, ben: Caller, guest: Caller, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1")
        refused(guest.buy(held, contact=CONTACT), 404, "not_found")
        refused(guest.buy({"hold_id": str(uuid.uuid4())}, contact=CONTACT), 404, "not_found")
        ben.client.delete(f"/api/v1/holds/{held['hold_id']}", headers=ben.headers)
        refused(ben.buy(held), 410, "hold_expired")

    def test_a_guest_must_say_whom_to_write_to(self, guest: Caller, showtime: Showtime) -> None:
        held = guest.hold(showtime, "A1")
        assert refused(guest.buy(held), 400, "invalid_data")["errors"]["contact"]
        assert guest.buy(held, contact=CONTACT).json()["contact"] == CONTACT

    def test_nobody_buys_nothing(self, client: Client, ben: Caller, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1")
        refused(Caller(client).buy(held), 401, "not_authenticated")
        refused(Caller(client).get("bookings"), 401, "not_authenticated")

    def test_a_browser_buys_with_its_session_and_a_page_s_proof(self, user: User, showtime: Showtime) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        holder = user_holder(user_id=user.pk)
        held = hold_seats(holder_id=holder.pk, user_id=user.pk, showtime_id=showtime.pk, codes=["A1"]).hold
        body = {"hold_id": str(held.hold_id), "payment": DEMO}
        refused(Caller(client).post("bookings", body), 403, "csrf_failed")
        client.get(f"/showtimes/{showtime.pk}/")
        assert Caller(client).post("bookings", body, X_CSRFToken=client.cookies["csrftoken"].value).status_code == 201

    @pytest.mark.parametrize(
        "wrong",
        [
            {"hold_id": None},
            {"hold_id": 5},
            {"hold_id": "soon"},
            {"payment": None},
            {"payment": {}},
            {"payment": "demo"},
            {"payment": {"provider": "none"}},
            {"payment": {"provider": "demo", "token": "perhaps"}},
            {"payment": {"provider": "demo", "token": 5}},
            {"payment": {"provider": "d" * 31}},
            {"contact": {"name": "Ada"}},
            {"contact": {"name": "", "email": "a@example.org"}},
            {"contact": {"name": "Ada\r\nBcc: all", "email": "a@example.org"}},
            {"contact": {"name": "A" * 201, "email": "a@example.org"}},
            {"contact": {"name": "Ada", "email": "nobody"}},
            {"contact": {"name": "Ada", "email": f"{'a' * 250}@example.org"}},
            {"contact": []},
            {"contact": None},
            {"attendees": {}},
            {"attendees": [5]},
            {"attendees": [{"seat": "A1"}]},
            {"attendees": [{"seat": "A2", "first_name": "B", "last_name": "B"}]},
            {"attendees": [{"seat": "A1", "first_name": "B", "last_name": "B"}] * 2},
            {"attendees": [{"seat": "A1", "first_name": "B" * 101, "last_name": "B"}]},
            {"attendees": [{"seat": "A1", "first_name": "B", "last_name": "B", "id_number": "1" * 61}]},
            {"attendees": [{"seat": f"A{n}", "first_name": "B", "last_name": "B"} for n in range(101)]},
        ],
    )
    def test_nonsense(self, ben: Caller, showtime: Showtime, wrong: dict[str, Any]) -> None:
        held = ben.hold(showtime, "A1")
        body = {"hold_id": held["hold_id"], "payment": DEMO, **wrong}
        assert refused(ben.post("bookings", body), 400, "invalid_data")["errors"]
        assert not Booking.objects.exists()

    def test_no_object_at_all(self, ben: Caller) -> None:
        for body in ([], 5, "x", None):
            refused(ben.post("bookings", body), 400, "invalid_data")


class TestIdempotencyKey:
    def test_the_same_request_has_the_same_answer(self, ben: Caller, showtime: Showtime) -> None:
        body = {"hold_id": ben.hold(showtime, "A1")["hold_id"], "payment": DEMO}
        first = ben.post("bookings", body, Idempotency_Key="k")
        # Its order of words does not matter.
        second = ben.post("bookings", dict(reversed(body.items())), Idempotency_Key="k")
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        assert first.status_code == 201

    def test_a_decline_is_told_again_and_another_body_is_refused(self, ben: Caller, showtime: Showtime) -> None:
        held = ben.hold(showtime, "A1")["hold_id"]
        body = {"hold_id": held, "payment": {**DEMO, "token": "decline"}}
        for _ in range(2):
            refused(ben.post("bookings", body, Idempotency_Key="k"), 402, "payment_declined")
        assert Booking.objects.count() == 1
        other = {"hold_id": held, "payment": DEMO}
        refused(ben.post("bookings", other, Idempotency_Key="k"), 422, "idempotency_mismatch")
        refused(
            ben.post("bookings/confirm", {"showtime_id": showtime.pk, "seats": ["A1"], "payment": DEMO},
                     Idempotency_Key="k"),
            422, "idempotency_mismatch",
        )  # fmt: skip
        assert ben.post("bookings", other, Idempotency_Key="l").status_code == 201

    def test_everybody_has_keys_of_their_own(self, ben: Caller, guest: Caller, showtime: Showtime) -> None:
        for caller, code in ((ben, "A1"), (guest, "A2")):
            body = {"hold_id": caller.hold(showtime, code)["hold_id"], "payment": DEMO, "contact": CONTACT}
            assert caller.post("bookings", body, Idempotency_Key="k").status_code == 201

    @pytest.mark.parametrize("key", ["", "k" * 201, "ключ"])
    def test_a_key_is_short_and_plain(self, ben: Caller, showtime: Showtime, key: str) -> None:
        body = {"hold_id": ben.hold(showtime, "A1")["hold_id"], "payment": DEMO}
        refused(ben.post("bookings", body, Idempotency_Key=key), 400, "invalid_data")
        assert not IdempotencyRecord.objects.exists()


class TestConfirm:
    def body(self, showtime: Showtime, *codes: str, **said: Any) -> dict[str, Any]:
        return {"showtime_id": showtime.pk, "seats": codes, "payment": DEMO, **said}

    def test_in_one_step(self, ben: Caller, showtime: Showtime) -> None:
        ben.hold(showtime, "A1", "A2")
        answer = ben.post("bookings/confirm", self.body(showtime, "A2"))
        assert (answer.status_code, answer.json()["seats"]) == (201, ["A2"])
        assert ben.get("holds").json()["count"] == 0
        again = ben.post("bookings/confirm", self.body(showtime, "A2"))
        assert (again.status_code, again.json()) == (200, answer.json())
        assert_bought_right(showtime)

    def test_what_is_not_held(self, ben: Caller, guest: Caller, showtime: Showtime) -> None:
        refused(ben.post("bookings/confirm", self.body(showtime, "A1")), 410, "hold_expired")
        ben.hold(showtime, "A1")
        guest.hold(showtime, "A2")
        error = refused(ben.post("bookings/confirm", self.body(showtime, "A1", "A2")), 409, "seat_held")
        assert error["seats"] == {"A2": "seat_held"}

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ({"seats": []}, "invalid_data"),
            ({"seats": ["A1", "A1"]}, "invalid_data"),
            ({"seats": "A1"}, "invalid_data"),
            ({"showtime_id": "1"}, "invalid_data"),
            ({"seats": ["Z9"]}, "unknown_seat"),
            ({"seats": [f"A{n}" for n in range(11)]}, "too_many_seats"),
        ],
    )
    def test_nonsense(self, ben: Caller, showtime: Showtime, wrong: dict[str, Any], code: str) -> None:
        refused(ben.post("bookings/confirm", {**self.body(showtime, "A1"), **wrong}), 400, code)

    def test_no_such_showtime(self, ben: Caller, showtime: Showtime) -> None:
        refused(ben.post("bookings/confirm", {**self.body(showtime, "A1"), "showtime_id": 2**62}), 404, "not_found")


class TestReading:
    def test_one_s_own_newest_first(self, ben: Caller, guest: Caller, showtime: Showtime) -> None:
        mine = [ben.buy(ben.hold(showtime, code)).json() for code in ("A1", "A2")]
        theirs = guest.buy(guest.hold(showtime, "A3"), contact=CONTACT).json()

        page = ben.get("bookings").json()
        assert page == {"count": 2, "next": None, "previous": None, "results": mine[::-1]}
        assert ben.get(f"bookings/{mine[0]['reference']}").json() == mine[0]
        for reference in (theirs["reference"], "BK-0000000000", "x", "BK-%00"):
            refused(ben.get(f"bookings/{reference}"), 404, "not_found")

    def test_many_cost_as_many_statements_as_one(
        self, ben: Caller, showtime: Showtime, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for code in ("A1", "A2", "A3"):
            ben.buy(ben.hold(showtime, code))
            with django_assert_num_queries(3):
                ben.get("bookings")


class TestHoldToken:
    """Somebody was handed the hold of another: they may buy it and read its booking; no more, and no names."""

    @pytest.fixture
    def held(self, ben: Caller, showtime: Showtime) -> dict[str, Any]:
        return ben.hold(showtime, "A1")

    @pytest.fixture
    def phone(self, client: Client, held: dict[str, Any]) -> Caller:
        return Caller(client, **{"X-Hold-Token": held["hold_token"]})

    def test_it_buys_and_reads(self, ben: Caller, phone: Caller, held: dict[str, Any], showtime: Showtime) -> None:
        other = ben.buy(ben_at_another_showtime(ben)).json()
        refused(phone.buy(held), 400, "invalid_data")
        booking = phone.buy(held, contact=CONTACT).json()
        assert booking["status"] == "CONFIRMED"
        assert phone.get(f"bookings/{booking['reference']}").json() == booking
        assert [one["reference"] for one in phone.get("bookings").json()["results"]] == [booking["reference"]]
        refused(phone.get(f"bookings/{other['reference']}"), 404, "not_found")
        refused(phone.post(f"bookings/{booking['reference']}/cancel"), 403, "permission_denied")
        # It is its holder's booking as well.
        assert ben.get(f"bookings/{booking['reference']}").status_code == 200

    def test_it_confirms(self, phone: Caller, held: dict[str, Any], showtime: Showtime) -> None:
        body = {"showtime_id": showtime.pk, "seats": ["A1"], "payment": DEMO, "contact": CONTACT}
        assert phone.post("bookings/confirm", body).status_code == 201

    def test_it_tells_nothing_of_the_same_seats_bought_with_a_later_hold(
        self, ben: Caller, phone: Caller, held: dict[str, Any], showtime: Showtime
    ) -> None:
        ben.client.delete(f"/api/v1/holds/{held['hold_id']}", headers=ben.headers)
        assert ben.buy(ben.hold(showtime, "A1")).status_code == 201
        body = {"showtime_id": showtime.pk, "seats": ["A1"], "payment": DEMO, "contact": CONTACT}
        refused(phone.post("bookings/confirm", body), 410, "hold_expired")

    def test_it_buys_nothing_else(self, ben: Caller, phone: Caller) -> None:
        other = ben_at_another_showtime(ben)
        refused(phone.buy(other, contact=CONTACT), 404, "not_found")
        body = {"showtime_id": other["showtime_id"], "seats": ["A1"], "payment": DEMO, "contact": CONTACT}
        refused(phone.post("bookings/confirm", body), 403, "permission_denied")


def ben_at_another_showtime(ben: Caller) -> dict[str, Any]:
    return ben.hold(factories.make_showtime(), "A1")


class TestCancelling:
    def test_the_money_is_back(self, ben: Caller, showtime: Showtime) -> None:
        booking = ben.buy(ben.hold(showtime, "A1")).json()
        cancelled = ben.post(f"bookings/{booking['reference']}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "REFUNDED")
        assert (cancelled.json()["tickets"], cancelled.json()["seats"]) == ([], ["A1"])
        assert ben.post(f"bookings/{booking['reference']}/cancel").json() == cancelled.json()
        assert_bought_right(showtime)

    def test_nothing_was_captured(self, ben: Caller, showtime: Showtime) -> None:
        booking = ben.buy(ben.hold(showtime, "A1"), "stall").json()
        answer = ben.post(f"bookings/{booking['reference']}/cancel").json()
        assert (answer["status"], answer["payment"]) == ("CANCELLED", {"provider": "demo", "status": "CANCELLED"})

    def test_too_late(self, ben: Caller, showtime: Showtime) -> None:
        booking = ben.buy(ben.hold(showtime, "A1")).json()
        Showtime.objects.update(starts_at=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=30))
        refused(ben.post(f"bookings/{booking['reference']}/cancel"), 409, "not_cancellable")
        assert Booking.objects.get().status == BookingStatus.CONFIRMED

    def test_somebody_else_s(self, ben: Caller, guest: Caller, showtime: Showtime) -> None:
        booking = ben.buy(ben.hold(showtime, "A1")).json()
        refused(guest.post(f"bookings/{booking['reference']}/cancel"), 404, "not_found")


def test_buying_counts_against_the_limit(ben: Caller, showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "SEAT_OPERATIONS", RateLimit("seats", burst=2, per_second=0.001))
    held = ben.hold(showtime, "A1")
    assert ben.buy(held).status_code == 201
    refused(ben.buy(held), 429, "rate_limited")
