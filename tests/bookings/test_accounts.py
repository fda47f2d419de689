"""Signing up, in and out: what a guest held comes along, and nobody is sent where they did not want to go."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from bookings.models import Booking
from cinebook.core.models import User
from cinebook.core.redis import locks_command
from seating.identity import GUEST_KEY
from seating.models import Hold, Showtime
from seating.services import user_holder
from tests.bookings.conftest import PASSWORD, buying, checkout_of, guest_of, hold_as, hold_as_guest
from tests.factories import BookingFactory, HoldFactory, UserFactory, make_showtime

pytestmark = pytest.mark.django_db(transaction=True)


def sign_in(client: Client, password: str = PASSWORD, **more: str) -> Any:
    return client.post(reverse("login"), {"username": "ada", "password": password, **more})


def lock_of(showtime: Showtime, code: str) -> dict[str, Any] | None:
    text: Any = locks_command(lambda redis: redis.get(f"seat_lock:{{{showtime.pk}}}:{code}"))
    return json.loads(text) if text else None


class TestSigningIn:
    def test_leads_home_and_the_header_says_who_it_is(self, client: Client, ada: User) -> None:
        response = sign_in(client)
        assert response.status_code == 302
        assert response["Location"] == "/"
        html = client.get("/").content.decode()
        assert "Ada" in html
        assert "Sign out" in html
        assert 'href="/accounts/login/' not in html

    def test_a_stranger_is_offered_to_come_back_to_the_same_page(self, client: Client, showtime: Showtime) -> None:
        url = showtime.get_absolute_url()
        assert f'href="/accounts/login/?next={url}"' in client.get(url).content.decode()

    def test_leads_back_to_where_it_was_asked_for(self, client: Client, ada: User, showtime: Showtime) -> None:
        url = showtime.get_absolute_url()
        form = client.get(reverse("login"), {"next": url}).content.decode()
        assert f'name="next" value="{url}"' in form
        assert f'href="/accounts/signup/?next={url}"' in form
        assert sign_in(client, next=url)["Location"] == url

    @pytest.mark.parametrize(
        "address",
        ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "http:///evil"],
    )
    def test_never_leads_to_another_house(self, client: Client, ada: User, address: str) -> None:
        assert sign_in(client, next=address)["Location"] == "/"
        assert client.get(reverse("login"), {"next": address})["Location"] == "/"

    def test_a_wrong_password_says_so_without_saying_which(self, client: Client, ada: User) -> None:
        wrong = sign_in(client, "wrong").content.decode()
        unknown = client.post(reverse("login"), {"username": "nobody", "password": PASSWORD}).content.decode()
        for html in (wrong, unknown):
            assert "do not belong together" in html
            assert 'role="alert"' in html

    def test_is_limited_together_with_the_api(self, client: Client, ada: User, settings: Any) -> None:
        settings.RATE_LIMITS = True
        for _attempt in range(10):
            sign_in(client, "guess")
            client.post("/api/v1/auth/token", {"username": "ada", "password": "guess"}, content_type="application/json")
        refused = sign_in(client)
        assert refused.status_code == 429
        assert int(refused["Retry-After"]) >= 1
        assert "Please wait" in refused.content.decode()
        assert "_auth_user_id" not in client.session
        # Somebody else at the same address is not locked out.
        assert client.post(reverse("login"), {"username": "bob", "password": "x"}).status_code == 200

    def test_works_only_from_our_own_page(self, ada: User) -> None:
        strict = Client(enforce_csrf_checks=True)
        assert sign_in(strict).status_code == 403

    def test_the_session_gets_a_new_key(self, client: Client, ada: User, showtime: Showtime) -> None:
        client.get(showtime.get_absolute_url())
        before = client.session.session_key
        sign_in(client)
        assert client.session.session_key != before


class TestWhatAGuestHeld:
    def test_comes_along(self, client: Client, ada: User, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1", "A2")
        sign_in(client)
        hold.refresh_from_db()
        assert hold.holder.user == ada
        assert hold.ended_at is None
        html = client.get(showtime.get_absolute_url()).content.decode()
        assert re.search(r'id="seat-A1" data-status="selected"', html)
        assert GUEST_KEY not in client.session

    def test_is_locked_for_the_user_in_redis(self, client: Client, ada: User, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        before = lock_of(showtime, "A1")
        assert before
        assert before["user_id"] is None
        sign_in(client)
        lock = lock_of(showtime, "A1")
        assert lock
        assert lock["user_id"] == ada.pk
        assert lock["hold_id"] == str(hold.pk)
        assert lock["owner"] == str(user_holder(user_id=ada.pk).pk)
        # The user's own lock does not stand in the user's way.
        assert hold_as(ada, showtime, "A1", "A2").pk == hold.pk

    def test_comes_along_from_every_showtime(self, client: Client, ada: User) -> None:
        holds = [hold_as_guest(client, make_showtime(), "B3") for _number in range(3)]
        sign_in(client)
        assert set(Hold.objects.filter(holder__user=ada, ended_at=None)) == set(holds)

    def test_comes_along_when_one_signs_up(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        response = sign_up(client, next=showtime.get_absolute_url())
        assert response["Location"] == showtime.get_absolute_url()
        hold.refresh_from_db()
        assert hold.holder.user == User.objects.get(username="grace")

    def test_comes_along_from_the_door_of_the_staff(self, client: Client, showtime: Showtime) -> None:
        staff = User.objects.create_superuser("staff", password=PASSWORD)
        hold = hold_as_guest(client, showtime, "A1")
        booking = BookingFactory(hold=HoldFactory(holder=hold.holder))
        client.post(reverse("admin:login"), {"username": "staff", "password": PASSWORD})
        client.get(showtime.get_absolute_url())
        hold.refresh_from_db()
        assert hold.holder.user == staff
        client.get(reverse("my_bookings"))
        booking.refresh_from_db()
        assert booking.holder == hold.holder
        assert GUEST_KEY not in client.session

    def test_the_newer_of_two_holds_stays(self, client: Client, ada: User, showtime: Showtime) -> None:
        older = hold_as(ada, showtime, "C1")
        newer = hold_as_guest(client, showtime, "A1")
        sign_in(client)
        older.refresh_from_db()
        newer.refresh_from_db()
        assert (older.end_reason, newer.end_reason) == ("released", "")
        assert newer.holder == older.holder
        assert dict(showtime.seats.filter(code__in=["A1", "C1"]).values_list("code", "status")) == {
            "A1": "RESERVED",
            "C1": "AVAILABLE",
        }
        assert lock_of(showtime, "C1") is None

    def test_the_newer_may_be_the_users(self, client: Client, ada: User, showtime: Showtime) -> None:
        older = hold_as_guest(client, showtime, "A1")
        newer = hold_as(ada, showtime, "C1")
        sign_in(client)
        older.refresh_from_db()
        newer.refresh_from_db()
        assert (older.end_reason, newer.end_reason) == ("released", "")
        assert showtime.seats.get(code="A1").status == "AVAILABLE"
        assert lock_of(showtime, "A1") is None

    def test_bookings_come_along(self, client: Client, ada: User, showtime: Showtime) -> None:
        client.get(showtime.get_absolute_url())
        booking = BookingFactory(hold=HoldFactory(holder=guest_of(client)))
        sign_in(client)
        assert Booking.objects.get(pk=booking.pk).holder.user == ada

    def test_who_goes_to_sign_in_has_not_left(self, client: Client, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        for name in ("login", "signup"):
            client.post(reverse("leave", args=[showtime.pk]))
            hold.refresh_from_db()
            assert hold.left_at
            client.get(reverse(name))
            hold.refresh_from_db()
            assert hold.left_at is None

    def test_goes_on_being_paid_and_can_be_seen(self, client: Client, ada: User, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        bank = client.post(checkout_of(hold), buying(payment="stall"))["Location"]
        sign_in(client)
        hold.refresh_from_db()
        assert hold.holder.user is None
        booking = Booking.objects.get(hold=hold)
        assert booking.holder.user == ada
        assert client.get(booking.get_absolute_url()).status_code == 200
        assert client.get(checkout_of(hold))["Location"] == booking.get_absolute_url()
        client.post(bank, {"outcome": "succeed"})
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"
        client.get(reverse("my_bookings"))
        hold.refresh_from_db()
        assert hold.holder.user == ada
        assert GUEST_KEY not in client.session

    def test_follows_when_its_payment_is_declined(self, client: Client, ada: User, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        bank = client.post(checkout_of(hold), buying(payment="stall"))["Location"]
        sign_in(client)
        client.post(bank, {"outcome": "decline"})
        assert client.get(checkout_of(hold)).status_code == 200
        hold.refresh_from_db()
        assert hold.holder.user == ada
        assert client.post(checkout_of(hold), buying(), follow=True).status_code == 200
        assert Booking.objects.get(hold=hold, status="CONFIRMED").holder.user == ada

    def test_that_is_over_is_over_for_the_user(self, client: Client, ada: User, showtime: Showtime) -> None:
        older = hold_as_guest(client, showtime, "A1")
        hold_as(ada, showtime, "C1")
        sign_in(client)
        assert client.get(checkout_of(older)).status_code == 410

    def test_without_anything_there_is_nothing_to_do(self, client: Client, ada: User, showtime: Showtime) -> None:
        client.get(showtime.get_absolute_url())
        assert sign_in(client).status_code == 302
        assert not Hold.objects.exists()


class TestSigningOut:
    def test_makes_a_stranger_and_leaves_the_users_holds(self, client: Client, ada: User, showtime: Showtime) -> None:
        hold = hold_as_guest(client, showtime, "A1")
        guest = guest_of(client)
        sign_in(client)
        response = client.post(reverse("logout"))
        assert response["Location"] == "/"
        hold.refresh_from_db()
        assert hold.ended_at is None
        assert hold.holder.user == ada
        html = client.get(showtime.get_absolute_url()).content.decode()
        assert re.search(r'id="seat-A1" data-status="locked"', html)
        assert guest_of(client) != guest

    def test_on_a_seat_map_leaves_that(self, client: Client, ada: User, showtime: Showtime) -> None:
        elsewhere = hold_as(ada, make_showtime(), "A1")
        hold = hold_as_guest(client, showtime, "A1")
        sign_in(client)
        html = client.get(showtime.get_absolute_url()).content.decode()
        [left] = re.findall(r'name="leaves" value="(\d+)"', html)
        client.post(reverse("logout"), {"leaves": left})
        hold.refresh_from_db()
        elsewhere.refresh_from_db()
        assert hold.left_at is not None
        assert elsewhere.left_at is None

    @pytest.mark.parametrize("left", ["", "x", "-1", "9" * 40, "٣"])
    def test_takes_no_nonsense(self, client: Client, ada: User, left: str) -> None:
        sign_in(client)
        assert client.post(reverse("logout"), {"leaves": left})["Location"] == "/"
        assert "_auth_user_id" not in client.session

    def test_takes_more_than_a_link(self, client: Client, ada: User) -> None:
        sign_in(client)
        assert client.get(reverse("logout")).status_code == 405
        assert "_auth_user_id" in client.session


def sign_up(client: Client, **given: str) -> Any:
    return client.post(
        reverse("signup"),
        {
            "username": "grace",
            "email": "grace@example.org",
            "password1": PASSWORD,
            "password2": PASSWORD,
            **given,
        },
    )


class TestSigningUp:
    def test_makes_a_moviegoer_and_signs_them_in(self, client: Client) -> None:
        assert sign_up(client)["Location"] == "/"
        grace = User.objects.get(username="grace")
        assert grace.email == "grace@example.org"
        assert grace.check_password(PASSWORD)
        assert not grace.is_staff
        assert client.session["_auth_user_id"] == str(grace.pk)

    @pytest.mark.parametrize(
        ("given", "complaint"),
        [
            ({"email": ""}, "This field is required"),
            ({"email": "no address"}, "valid email address"),
            ({"username": "ada"}, "already exists"),
            ({"username": "ADA"}, "already exists"),
            ({"password2": "something else"}, "match"),
            ({"password1": "12345", "password2": "12345"}, "too short"),
            ({"username": "a\x00b"}, "Null characters are not allowed"),
        ],
    )
    def test_says_what_is_wrong(self, client: Client, ada: User, given: dict[str, str], complaint: str) -> None:
        response = sign_up(client, **given)
        assert response.status_code == 200
        assert complaint in response.content.decode()
        assert User.objects.count() == 1

    def test_never_leads_to_another_house(self, client: Client) -> None:
        assert sign_up(client, next="https://evil.example/")["Location"] == "/"

    def test_is_limited(self, client: Client, settings: Any) -> None:
        settings.RATE_LIMITS = True
        answers = [sign_up(client, email="") for _attempt in range(21)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429]

    def test_a_name_that_is_taken_this_instant_is_an_error_of_the_form(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Somebody else is quicker between the question whether the name is free and the row.
        monkeypatch.setattr(
            "bookings.forms.SignUpForm.validate_unique", lambda _form: UserFactory(username="grace"), raising=True
        )
        response = sign_up(client)
        assert response.status_code == 200
        assert "already exists" in response.content.decode()

    def test_who_is_signed_in_has_an_account(self, client: Client, ada: User) -> None:
        sign_in(client)
        assert client.get(reverse("signup"), {"next": "/my/bookings/"})["Location"] == "/my/bookings/"


class TestPasswords:
    def test_a_new_one_needs_the_old_one(self, client: Client, ada: User) -> None:
        sign_in(client)
        new = {"new_password1": "another long one", "new_password2": "another long one"}
        wrong = client.post(reverse("password_change"), {"old_password": "guess", **new})
        assert "not your old password" in wrong.content.decode()
        response = client.post(reverse("password_change"), {"old_password": PASSWORD, **new}, follow=True)
        assert "has been changed" in response.content.decode()
        ada.refresh_from_db()
        assert ada.check_password("another long one")
        assert client.session["_auth_user_id"] == str(ada.pk)

    def test_needs_somebody(self, client: Client) -> None:
        response = client.get(reverse("password_change"))
        assert response["Location"] == f"/accounts/login/?next={reverse('password_change')}"
        assert client.post(reverse("password_change")).status_code == 302

    def test_a_forgotten_one_is_replaced_by_a_link_that_works_once(self, client: Client, ada: User) -> None:
        response = client.post(reverse("password_reset"), {"email": "ada@example.org"}, follow=True)
        assert "on its way" in response.content.decode()
        [message] = mail.outbox
        assert message.subject == "Your password at testserver"
        [link] = re.findall(r"http://testserver(/\S+)", message.body)
        form = client.get(link, follow=True)
        url = form.redirect_chain[-1][0]
        new = {"new_password1": "another long one", "new_password2": "another long one"}
        assert "has been changed" in client.post(url, new, follow=True).content.decode()
        ada.refresh_from_db()
        assert ada.check_password("another long one")
        assert "used already" in client.get(link, follow=True).content.decode()

    def test_nobody_learns_which_addresses_have_accounts(self, client: Client, ada: User) -> None:
        answers = [
            client.post(reverse("password_reset"), {"email": address}, follow=True).content
            for address in ("ada@example.org", "nobody@example.org")
        ]
        assert answers[0] == answers[1]
        assert len(mail.outbox) == 1

    def test_mail_is_limited(self, client: Client, ada: User, settings: Any) -> None:
        settings.RATE_LIMITS = True
        spellings = ["ada@example.org", "ADA@example.org"] * 3
        answers = [client.post(reverse("password_reset"), {"email": email}).status_code for email in spellings]
        assert answers == [302] * 4 + [429] * 2
        assert len(mail.outbox) == 4

    def test_asking_for_many_addresses_is_limited(self, client: Client, settings: Any) -> None:
        settings.RATE_LIMITS = True
        for number in range(20):
            client.post(reverse("password_reset"), {"email": f"somebody{number}@example.org"})
        assert client.post(reverse("password_reset"), {"email": "one@example.org"}).status_code == 429


class TestEveryPageOfAccounts:
    @pytest.mark.parametrize("name", ["login", "signup", "password_reset", "password_reset_done"])
    def test_is_kept_by_nobody_and_has_nothing_inline(self, client: Client, name: str) -> None:
        response = client.get(reverse(name))
        html = response.content.decode()
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", html)
        for identifier in re.findall(r'<input type="(?!hidden)[^>]* id="([^"]+)"', html):
            assert f'for="{identifier}"' in html
