"""The checkout: what it says, what it refuses, and that one hold is bought once."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from bookings.models import Booking, Ticket
from cinebook.core.models import User
from seating.models import Showtime
from seating.services import release_seats
from tests.bookings.conftest import buying, checkout_of, guest_of, hold_as, hold_as_guest
from tests.support.passing_time import run_out
from tests.support.rivals import race

pytestmark = pytest.mark.django_db(transaction=True)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


class TestThePage:
    def test_says_what_is_bought(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1", "C6")
        html = text(client.get(checkout_of(hold)))
        assert showtime.movie.title in html
        assert showtime.auditorium.name in html
        assert "<strong>A1</strong> Standard" in html
        assert "<strong>C6</strong> Premium" in html
        assert "€12.00" in html
        assert "€15.00" in html
        assert "Pay €27.00" in html
        assert f'href="{showtime.get_absolute_url()}">Change seats' in html

    def test_tells_the_time_that_is_left_with_and_without_a_script(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        html = text(client.get(checkout_of(hold)))
        assert re.search(r"Held for you until <time datetime=\"[^\"]+\">\d\d:\d\d</time>", html)
        assert "&quot;expires_at&quot;" in html
        assert 'data-hold-seconds="900"' in html

    def test_offers_a_guest_to_sign_in_and_come_back(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        assert f'<a href="/accounts/login/?next={checkout_of(hold)}">sign in</a>' in text(client.get(checkout_of(hold)))

    def test_knows_a_user(self, client: Client, ada: User, showtime: Showtime) -> None:
        client.force_login(ada)
        html = text(client.get(checkout_of(hold_as(ada, showtime, "A1"))))
        assert 'value="Ada Example"' in html
        assert 'value="ada@example.org"' in html
        assert "as a guest" not in html

    def test_says_plainly_that_it_is_a_demonstration(self, client: Client, showtime: Showtime) -> None:
        html = text(client.get(checkout_of(hold_as_guest(client, showtime, "A1"))))
        assert "This is a demonstration: no money moves." in html
        assert html.count("Demonstration: ") == 3

    def test_opening_it_is_not_leaving_the_seats(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        client.post(f"/showtimes/{showtime.pk}/leave/")
        hold.refresh_from_db()
        assert hold.left_at
        client.get(checkout_of(hold))
        hold.refresh_from_db()
        assert hold.left_at is None

    def test_every_field_has_a_name_of_its_own(self, client: Client, showtime: Showtime) -> None:
        html = text(client.get(checkout_of(hold_as_guest(client, showtime, "A1", "A2"))))
        fields = re.findall(r'<input type="(?:text|email|radio)"[^>]* id="([^"]+)"', html)
        assert len(fields) == len(set(fields)) == 2 + 4 + 3
        for identifier in fields:
            assert f'for="{identifier}"' in html

    def test_needs_neither_inline_styles_nor_scripts(self, client: Client, showtime: Showtime) -> None:
        html = text(client.get(checkout_of(hold_as_guest(client, showtime, "A1"))))
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", html)

    @pytest.mark.parametrize("signed_in", ["", "yes"])
    def test_costs_few_statements(
        self, client: Client, ada: User, showtime: Showtime, signed_in: str, django_assert_max_num_queries: Any
    ) -> None:
        if signed_in:
            client.force_login(ada)
        hold = hold_as(ada, showtime, "A1", "A2") if signed_in else hold_as_guest(client, showtime, "A1", "A2")
        client.get(checkout_of(hold))
        # Session, holder, hold, the note that somebody is there, showtime, prices; and the user.
        with django_assert_max_num_queries(7 if signed_in else 6):
            client.get(checkout_of(hold))


class TestWhoseItIs:
    def test_somebody_elses_is_not_there(self, client: Client, ada: User, showtime: Showtime) -> None:
        theirs = hold_as(ada, showtime, "A1")
        assert client.get(checkout_of(theirs)).status_code == 404
        hold_as_guest(client, showtime, "A2")
        assert client.get(checkout_of(theirs)).status_code == 404
        assert client.post(checkout_of(theirs), buying()).status_code == 404
        assert not Booking.objects.exists()

    def test_neither_is_one_that_never_was(self, client: Client, showtime: Showtime) -> None:
        hold_as_guest(client, showtime, "A1")
        assert client.get(f"/checkout/{uuid.uuid4()}/").status_code == 404
        assert client.get("/checkout/nothing/").status_code == 404

    @pytest.mark.parametrize("how", ["released", "run out"])
    def test_one_that_is_over_leads_back_to_the_seats(self, client: Client, showtime: Showtime, how: str) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        if how == "released":
            release_seats(holder_id=hold.holder_id, showtime_id=showtime.pk)
        else:
            run_out(hold.pk)
        for response in (client.get(checkout_of(hold)), client.post(checkout_of(hold), buying())):
            assert response.status_code == 410
            assert "no longer held" in text(response)
            assert f'href="{showtime.get_absolute_url()}"' in text(response)


class TestBuying:
    def test_leads_to_the_tickets(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1", "A2")
        response = client.post(checkout_of(hold), buying(**{"first-A2": "Grace", "last-A2": "Example"}))
        booking = Booking.objects.get()
        assert response.status_code == 302
        assert response["Location"] == booking.get_absolute_url()
        assert (booking.status, booking.contact_name, booking.contact_email) == (
            "CONFIRMED",
            "Ada Example",
            "ada@example.org",
        )
        assert list(Ticket.objects.values_list("seat__code", "first_name", "last_name").order_by("seat__code")) == [
            ("A1", "", ""),
            ("A2", "Grace", "Example"),
        ]

    @pytest.mark.parametrize(
        "given",
        [
            {"name": ""},
            {"name": "Ada\nBcc: everybody@example.org"},
            {"name": "a\x00b"},
            {"name": "x" * 201},
            {"email": "no address"},
            {"payment": "gift"},
            {"payment": ""},
            {"first-A1": "x" * 101},
        ],
    )
    def test_says_what_is_wrong_and_keeps_the_seats(
        self, client: Client, showtime: Showtime, given: dict[str, str]
    ) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        response = client.post(checkout_of(hold), buying(**given))
        assert response.status_code == 200
        assert 'class="errorlist"' in text(response)
        assert not Booking.objects.exists()
        if "first-A1" in given:
            assert '<details class="names" open>' in text(response)

    def test_a_decline_keeps_the_seats_and_what_was_typed(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        declined = client.post(checkout_of(hold), buying(payment="decline", name="Countess Example"))
        assert declined.status_code == 402
        assert 'role="alert"' in text(declined)
        assert "The payment was declined." in text(declined)
        assert 'value="Countess Example"' in text(declined)
        bought = client.post(checkout_of(hold), buying(), follow=True)
        assert "Your tickets" in text(bought)
        assert list(Booking.objects.order_by("id").values_list("status", flat=True)) == ["CANCELLED", "CONFIRMED"]

    def test_nobody_pays_for_seats_that_they_were_not_shown(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        assert '<input type="hidden" name="shown" value="A1">' in text(client.get(checkout_of(hold)))
        hold_as_guest(client, showtime, "C6")
        response = client.post(checkout_of(hold), buying(shown="A1", name="Countess Example"))
        assert response.status_code == 200
        assert "Your seats have changed meanwhile." in text(response)
        assert "Pay €27.00" in text(response)
        assert 'value="Countess Example"' in text(response)
        assert not Booking.objects.exists()
        client.post(checkout_of(hold), buying(shown="A1 C6"))
        assert Ticket.objects.count() == 2

    def test_a_stall_leads_to_the_providers_page(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        response = client.post(checkout_of(hold), buying(payment="stall"))
        assert response["Location"].startswith("/payments/demo/demo_")
        assert "demonstration" in text(client.get(response["Location"]))

    def test_twice_is_once(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        first = client.post(checkout_of(hold), buying())
        second = client.post(checkout_of(hold), buying())
        assert first["Location"] == second["Location"] == Booking.objects.get().get_absolute_url()
        assert client.get(checkout_of(hold))["Location"] == first["Location"]

    def test_twice_at_once_is_once(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        cookies = client.cookies

        def press() -> Any:
            tab = Client()
            tab.cookies = cookies
            return tab.post(checkout_of(hold), buying())

        answers = race(press, press)
        assert {answer["Location"] for answer in answers} == {Booking.objects.get().get_absolute_url()}

    def test_while_the_bank_takes_its_time_leads_to_the_booking(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        client.post(checkout_of(hold), buying(payment="stall"))
        booking = Booking.objects.get()
        assert client.get(checkout_of(hold))["Location"] == booking.get_absolute_url()
        assert client.post(checkout_of(hold), buying())["Location"] == booking.get_absolute_url()
        assert Booking.objects.count() == 1

    def test_needs_a_page_of_ours(self, showtime: Showtime) -> None:
        strict = Client(enforce_csrf_checks=True)
        hold = hold_as_guest(strict, showtime, "A1")
        assert strict.post(checkout_of(hold), buying()).status_code == 403

    def test_is_limited(self, client: Client, showtime: Showtime, settings: Any) -> None:
        settings.RATE_LIMITS = True
        hold = hold_as_guest(client, showtime, "A1")
        # Some come back while we ask, so it takes a few more than the burst.
        answers = (client.post(checkout_of(hold), buying(payment="")).status_code for _attempt in range(600))
        assert 429 in answers

    def test_a_showtime_that_was_cancelled_is_not_paid(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        Showtime.objects.filter(pk=showtime.pk).update(cancelled_at="2026-01-01T00:00Z")
        response = client.post(checkout_of(hold), buying())
        assert response.status_code == 409
        assert "not on sale" in text(response)
        release_seats(holder_id=hold.holder_id, showtime_id=showtime.pk)
        gone = client.get(checkout_of(hold))
        assert gone.status_code == 410
        assert "The showtime is cancelled." in text(gone)
        assert f'href="{showtime.movie.get_absolute_url()}">See other showtimes' in text(gone)
        assert guest_of(client).bookings.count() == 0
