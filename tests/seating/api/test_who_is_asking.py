"""Browsers with their session, and whoever was handed the token of a hold."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session

from seating.models import Hold, Holder, Showtime
from tests.factories import UserFactory, make_showtime
from tests.seating.api.conftest import bearer
from tests.support.api import ApiClient

pytestmark = pytest.mark.django_db


def open_map(showtime: Showtime) -> ApiClient:
    """A browser that has opened a seat map."""
    browser = ApiClient(enforce_csrf_checks=True)
    assert browser.get(f"/showtimes/{showtime.pk}/").status_code == 200
    return browser


def lock(client: ApiClient, showtime: Showtime, *seats: str, **headers: str) -> Any:
    return client.ask("POST", f"showtimes/{showtime.pk}/seats/lock", {"seats": list(seats)}, **headers)


def csrf(browser: ApiClient) -> dict[str, str]:
    return {"X_CSRFToken": browser.cookies["csrftoken"].value}


class TestABrowser:
    def test_acts_with_the_token_of_its_page(self, showtime: Showtime) -> None:
        browser = open_map(showtime)

        assert lock(browser, showtime, "A1", **csrf(browser)).status_code == 201
        assert browser.ask("GET", "holds").json()["count"] == 1
        assert browser.ask("GET", f"showtimes/{showtime.pk}/seats/status").json()["seats"]["A1"] == "selected"

    @pytest.mark.parametrize("token", [None, "", "x", "a" * 32, "a" * 64])
    def test_without_that_token_only_reads(self, showtime: Showtime, token: str | None) -> None:
        browser = open_map(showtime)
        headers = {} if token is None else {"X_CSRFToken": token}

        answer = lock(browser, showtime, "A1", **headers)

        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
        assert not Hold.objects.exists()
        assert browser.ask("GET", "holds").status_code == 200

    def test_cannot_be_sent_by_another_site(self, showtime: Showtime) -> None:
        browser = open_map(showtime)

        answer = lock(browser, showtime, "A1", **csrf(browser), Origin="https://evil.example")

        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")

    def test_cannot_be_sent_as_a_form(self, showtime: Showtime) -> None:
        browser = open_map(showtime)
        form = f"csrfmiddlewaretoken={browser.cookies['csrftoken'].value}&seats=A1".encode()

        answer = browser.ask(
            "POST", f"showtimes/{showtime.pk}/seats/lock", form, Content_Type="application/x-www-form-urlencoded"
        )

        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")

    @pytest.mark.parametrize(
        "media_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data"]
    )
    def test_a_long_form_is_not_read(self, showtime: Showtime, media_type: str) -> None:
        body = b"a=1&" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 4 + 1)

        answer = open_map(showtime).ask("POST", "holds", body, Content_Type=media_type)

        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")

    def test_that_never_opened_a_seat_map_is_nobody(self, showtime: Showtime) -> None:
        browser = open_map(showtime)
        session = browser.session
        session.flush()
        session["something"] = "else"
        session.save()
        browser.cookies[settings.SESSION_COOKIE_NAME] = session.session_key

        assert browser.ask("GET", "holds").status_code == 401
        assert lock(browser, showtime, "A1", **csrf(browser)).status_code == 401
        assert browser.ask("GET", "movies").status_code == 200

    @pytest.mark.parametrize("key", ["", "x", "a" * 32, "../../etc", "\x00", "a" * 5000])
    def test_with_a_session_that_never_was_is_nobody(self, showtime: Showtime, key: str) -> None:
        browser = ApiClient()
        browser.cookies[settings.SESSION_COOKIE_NAME] = key

        assert browser.ask("GET", "holds").status_code == 401
        assert browser.ask("GET", "movies").status_code == 200
        assert not Session.objects.exists()

    def test_reading_makes_no_holder_and_no_session(self, showtime: Showtime, nobody: ApiClient) -> None:
        for path in ("movies", "showtimes", f"showtimes/{showtime.pk}/layout", f"showtimes/{showtime.pk}/seats/status"):
            assert nobody.ask("GET", path).status_code == 200

        assert not Holder.objects.exists()
        assert not Session.objects.exists()

    def test_that_is_signed_in_acts_as_its_user(self, showtime: Showtime) -> None:
        user = UserFactory()
        browser = open_map(showtime)
        browser.force_login(user)

        assert lock(browser, showtime, "A1", **csrf(browser)).status_code == 201
        assert Hold.objects.get().holder.user == user
        assert lock(browser, showtime, "A2").status_code == 403

    def test_of_a_deactivated_user_is_nobody(self, showtime: Showtime) -> None:
        user = UserFactory()
        browser = ApiClient()
        browser.force_login(user)
        user.is_active = False
        user.save()

        assert browser.ask("GET", "holds").status_code == 401

    def test_a_bad_token_is_not_healed_by_a_good_session(self, showtime: Showtime) -> None:
        browser = open_map(showtime)

        assert browser.ask("GET", "holds", Authorization="Bearer x").status_code == 401
        assert browser.ask("GET", "holds", X_Hold_Token="x").status_code == 401

    def test_a_token_needs_no_csrf_and_wins_over_the_session(self, showtime: Showtime, guest: ApiClient) -> None:
        browser = open_map(showtime)

        assert lock(browser, showtime, "A1", Authorization=guest.defaults["HTTP_AUTHORIZATION"]).status_code == 201
        assert guest.ask("GET", "holds").json()["count"] == 1
        assert browser.ask("GET", "holds").json()["count"] == 0


class TestTheBearerOfAHold:
    @pytest.fixture
    def hold(self, guest: ApiClient, showtime: Showtime) -> dict[str, Any]:
        answer: dict[str, Any] = lock(guest, showtime, "A1", "A2").json()
        return answer

    def test_reads_that_hold_alone(self, hold: dict[str, Any], guest: ApiClient) -> None:
        elsewhere = lock(guest, make_showtime(), "A1").json()
        phone = bearer(hold["hold_token"])

        assert phone.ask("GET", f"holds/{hold['hold_id']}").json()["seats"] == ["A1", "A2"]
        assert [row["hold_id"] for row in phone.ask("GET", "holds").json()["results"]] == [hold["hold_id"]]
        for method in ("GET", "DELETE"):
            assert phone.ask(method, f"holds/{elsewhere['hold_id']}").status_code == 404

    def test_extends_it(self, hold: dict[str, Any], showtime: Showtime) -> None:
        answer = bearer(hold["hold_token"]).ask("PUT", f"showtimes/{showtime.pk}/seats/extend-lock", {"seats": ["A1"]})

        assert answer.status_code == 200
        assert answer.json()["expires_at"] > hold["expires_at"]
        assert "hold_token" not in answer.json()

    def test_releases_some_of_it_and_all_of_it(self, hold: dict[str, Any], showtime: Showtime) -> None:
        phone = bearer(hold["hold_token"])

        assert phone.ask("DELETE", f"showtimes/{showtime.pk}/seats/A1/hold").json()["hold"]["seats"] == ["A2"]
        assert phone.ask("DELETE", f"holds/{hold['hold_id']}").json()["released"] == ["A2"]

    def test_cannot_take_further_seats(self, hold: dict[str, Any], showtime: Showtime) -> None:
        phone = bearer(hold["hold_token"])

        answers = [
            lock(phone, showtime, "A3"),
            lock(phone, showtime, "A1"),
            phone.ask("POST", f"showtimes/{showtime.pk}/seats/A3/hold"),
            phone.ask("POST", "holds", {"showtime_id": showtime.pk, "seats": ["A3"]}),
            phone.ask("POST", "holds", {"showtime_id": showtime.pk, "quantity": 1}),
        ]

        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "permission_denied")}
        assert phone.ask("GET", f"holds/{hold['hold_id']}").json()["seats"] == ["A1", "A2"]

    def test_can_do_nothing_at_another_showtime(self, hold: dict[str, Any], guest: ApiClient) -> None:
        elsewhere = make_showtime()
        lock(guest, elsewhere, "A1")
        phone = bearer(hold["hold_token"])
        base = f"showtimes/{elsewhere.pk}/seats"

        answers = [
            lock(phone, elsewhere, "A2"),
            phone.ask("PUT", f"{base}/extend-lock", {}),
            phone.ask("DELETE", f"{base}/unlock"),
            phone.ask("DELETE", f"{base}/A1/hold"),
            phone.ask("POST", "holds", {"showtime_id": elsewhere.pk, "quantity": 1}),
        ]

        assert {answer.status_code for answer in answers} == {403}
        assert guest.ask("GET", "holds").json()["count"] == 2

    def test_of_an_ended_hold_does_not_touch_a_newer_one(
        self, hold: dict[str, Any], guest: ApiClient, showtime: Showtime
    ) -> None:
        guest.ask("DELETE", f"holds/{hold['hold_id']}")
        newer = lock(guest, showtime, "A1", "A2").json()
        phone = bearer(hold["hold_token"])
        base = f"showtimes/{showtime.pk}/seats"

        assert phone.ask("DELETE", f"{base}/unlock").json()["released"] == []
        assert phone.ask("DELETE", f"{base}/unlock", {"seats": ["A1"]}).json()["released"] == []
        assert phone.ask("DELETE", f"{base}/A1/hold").json() | {"server_time": ""} == {
            "released": [],
            "hold": None,
            "server_time": "",
        }
        assert phone.ask("PUT", f"{base}/extend-lock", {}).status_code == 410
        for method in ("GET", "DELETE"):
            assert phone.ask(method, f"holds/{hold['hold_id']}").status_code == 410
            assert phone.ask(method, f"holds/{newer['hold_id']}").status_code == 404
        assert phone.ask("GET", "holds").json()["results"] == []
        mine = guest.ask("GET", "holds").json()["results"]
        assert [(row["seats"], row["expires_at"]) for row in mine] == [(["A1", "A2"], newer["expires_at"])]

    @pytest.mark.parametrize("token", ["", " ", "x", "é", "a" * 60_000, "0" * 64])
    @pytest.mark.parametrize("path", ["movies", "holds"])
    def test_with_a_bad_token_is_not_even_nobody(self, nobody: ApiClient, path: str, token: str) -> None:
        answer = nobody.ask("GET", path, X_Hold_Token=token)

        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")

    def test_shows_the_token_and_not_what_is_stored_of_it(self, hold: dict[str, Any], nobody: ApiClient) -> None:
        stored = Hold.objects.get().token_hash

        assert stored != hold["hold_token"]
        assert nobody.ask("GET", "holds", X_Hold_Token=stored).status_code == 401

    def test_cannot_use_it_as_another_kind_of_token(self, hold: dict[str, Any], guest: ApiClient) -> None:
        token = guest.defaults["HTTP_AUTHORIZATION"].split()[1]

        assert ApiClient(token=hold["hold_token"]).ask("GET", "holds").status_code == 401
        assert ApiClient(hold_token=token).ask("GET", "holds").status_code == 401
        assert ApiClient(hold_token=hold["hold_id"]).ask("GET", "holds").status_code == 401

    def test_needs_every_token_that_is_shown_to_be_good(self, hold: dict[str, Any], other: ApiClient) -> None:
        assert other.ask("GET", "holds", X_Hold_Token="x").status_code == 401
        assert bearer(hold["hold_token"]).ask("GET", "holds", Authorization="Bearer x").status_code == 401
        shown = other.ask("GET", "holds", X_Hold_Token=hold["hold_token"]).json()["results"]
        assert [row["hold_id"] for row in shown] == [hold["hold_id"]]

    def test_needs_no_csrf_in_a_browser(self, hold: dict[str, Any]) -> None:
        browser = open_map(make_showtime())

        assert browser.ask("DELETE", f"holds/{hold['hold_id']}", X_Hold_Token=hold["hold_token"]).status_code == 200
