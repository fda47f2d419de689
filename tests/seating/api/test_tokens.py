"""Signing in, staying signed in, being a guest; and every way to show a token that is none."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.utils.dateparse import parse_datetime

from seating.identity import tokens_for_user
from seating.models import Holder, Showtime
from tests.factories import UserFactory
from tests.support.api import ApiClient, until_limited

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def sign_in(client: ApiClient, username: str, password: str = PASSWORD) -> Any:
    return client.ask("POST", "auth/token", {"username": username, "password": password})


@pytest.fixture
def person() -> Any:
    person = UserFactory()
    person.set_password(PASSWORD)
    person.save()
    return person


class TestSigningIn:
    def test_gives_two_tokens(self, nobody: ApiClient, person: Any) -> None:
        answer = sign_in(nobody, person.username)

        assert answer.status_code == 200
        assert set(answer.json()) == {"access", "refresh"}
        assert ApiClient(token=answer.json()["access"]).ask("GET", "holds").status_code == 200

    def test_makes_the_user_one_holder_however_often(self, nobody: ApiClient, person: Any) -> None:
        for _ in range(2):
            sign_in(nobody, person.username)

        assert Holder.objects.filter(user=person).count() == 1

    @pytest.mark.parametrize("password", ["wrong", PASSWORD + " ", PASSWORD.upper(), " " + PASSWORD])
    def test_refuses_a_wrong_password(self, nobody: ApiClient, person: Any, password: str) -> None:
        answer = sign_in(nobody, person.username, password)

        assert answer.status_code == 401
        assert answer.json()["code"] == "not_authenticated"

    def test_does_not_tell_whether_a_name_is_known(self, nobody: ApiClient, person: Any) -> None:
        known, unknown = sign_in(nobody, person.username, "wrong"), sign_in(nobody, "nobody-at-all", "wrong")

        assert known.content == unknown.content

    def test_refuses_a_user_who_was_deactivated(self, nobody: ApiClient, person: Any) -> None:
        person.is_active = False
        person.save()

        assert sign_in(nobody, person.username).status_code == 401

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"username": "ada"},
            {"username": "ada", "password": ""},
            {"username": 5, "password": "x"},
            {"username": ["ada"], "password": "x"},
            {"username": "ada", "password": {"$ne": ""}},
            {"username": "ada", "password": True},
            {"username": None, "password": None},
            {"username": "a\x00", "password": "x"},
            {"username": "a\ud800", "password": "x"},
            {"username": "ada", "password": "\x00"},
            {"username": "a" * 151, "password": "x"},
            {"username": "ada", "password": "x" * 1001},
            [],
            "ada",
        ],
    )
    def test_refuses_what_is_no_name_and_password(self, nobody: ApiClient, body: Any) -> None:
        answer = nobody.ask("POST", "auth/token", body)

        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_data"

    def test_is_counted_per_name_and_address(self, nobody: ApiClient) -> None:
        answers = until_limited(lambda: sign_in(nobody, "ada", "guess"), at_most=40)

        assert [answer.status_code for answer in answers[:20]] == [401] * 20
        assert answers[-1].json()["code"] == "rate_limited"
        assert answers[-1].json()["retry_after"] in range(1, 6)
        assert sign_in(nobody, "bob", "guess").status_code == 401

    def test_is_counted_per_address_whatever_the_name(self, nobody: ApiClient) -> None:
        names = itertools.count()
        answers = until_limited(lambda: sign_in(nobody, f"name{next(names)}", "guess"), at_most=200)

        assert [answer.status_code for answer in answers[:100]] == [401] * 100
        assert answers[-1].status_code == 429

    def test_ignores_a_bad_token_that_comes_along(self, person: Any) -> None:
        """Whose token has run out must be able to sign in with the same client."""
        assert sign_in(ApiClient(token="stale"), person.username).status_code == 200


class TestRefreshing:
    def refresh(self, token: Any) -> Any:
        return ApiClient().ask("POST", "auth/token/refresh", {"refresh": token})

    def test_gives_a_new_access_token_of_the_same_holder(self, person: Any) -> None:
        tokens = tokens_for_user(person)

        answer = self.refresh(tokens["refresh"])

        assert answer.status_code == 200
        old, new = (claims(token) for token in (tokens["access"], answer.json()["access"]))
        assert new["holder_id"] == old["holder_id"]
        assert new["user_id"] == old["user_id"] == person.pk
        assert new["token_type"] == "access"

    def test_an_access_token_says_nothing_about_the_password(self, person: Any) -> None:
        tokens = tokens_for_user(person)
        fresh = self.refresh(tokens["refresh"]).json()["access"]

        for token in (tokens["access"], fresh):
            assert set(claims(token)) == {"token_type", "exp", "iat", "jti", "holder_id", "user_id"}

    def test_ends_when_the_user_is_deactivated(self, person: Any) -> None:
        token = tokens_for_user(person)["refresh"]
        person.is_active = False
        person.save()

        assert self.refresh(token).status_code == 401

    def test_ends_when_the_password_is_changed(self, person: Any) -> None:
        token = tokens_for_user(person)["refresh"]
        person.set_password("another one entirely")
        person.save()

        assert self.refresh(token).status_code == 401

    def test_refuses_tokens_of_another_kind(self, person: Any, nobody: ApiClient) -> None:
        guest = nobody.ask("POST", "auth/guest").json()["access"]

        assert self.refresh(guest).status_code == 401
        assert self.refresh(tokens_for_user(person)["access"]).status_code == 401

    def test_refuses_a_refresh_token_that_names_no_user(self) -> None:
        token = signed({"token_type": "refresh", "jti": "a", "exp": later(), "holder_id": 1})

        assert self.refresh(token).status_code == 401

    @pytest.mark.parametrize("token", [None, 5, True, "", ["a"], {"a": 1}, "\x00", "\ud800", "a" * 4001])
    def test_refuses_what_is_no_text(self, token: Any) -> None:
        assert self.refresh(token).status_code == 400

    @pytest.mark.parametrize("token", ["a", "a.b.c", "..", "é.é.é", "null"])
    def test_refuses_what_is_no_token(self, token: str) -> None:
        assert self.refresh(token).status_code == 401


class TestGuests:
    def test_get_a_token_with_its_end(self, nobody: ApiClient) -> None:
        answer = nobody.ask("POST", "auth/guest")

        assert answer.status_code == 201
        assert set(answer.json()) == {"access", "expires_at"}
        expires_at = parse_datetime(answer.json()["expires_at"])
        assert expires_at == dt.datetime.fromtimestamp(claims(answer.json()["access"])["exp"], dt.UTC)
        assert answer.json()["expires_at"].endswith("Z")
        assert "user_id" not in claims(answer.json()["access"])

    def test_are_somebody_new_each_time(self, nobody: ApiClient, showtime: Showtime) -> None:
        first, second = (ApiClient(token=nobody.ask("POST", "auth/guest").json()["access"]) for _ in range(2))
        first.ask("POST", f"showtimes/{showtime.pk}/seats/A1/hold")

        assert first.ask("GET", "holds").json()["count"] == 1
        assert second.ask("GET", "holds").json()["count"] == 0

    def test_are_counted_per_address(self, nobody: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("seating.api.tokens.token_for_guest", lambda: {"access": "a", "expires_at": NOWADAYS})

        answers = until_limited(lambda: nobody.ask("POST", "auth/guest"), at_most=600)

        assert [answer.status_code for answer in answers[:300]] == [201] * 300
        assert answers[-1].status_code == 429

    def test_are_not_counted_when_limits_are_off(self, nobody: ApiClient, settings: Any, monkeypatch: Any) -> None:
        settings.RATE_LIMITS = False
        monkeypatch.setattr("seating.api.tokens.token_for_guest", lambda: {"access": "a", "expires_at": NOWADAYS})

        assert {nobody.ask("POST", "auth/guest").status_code for _ in range(320)} == {201}


NOWADAYS = "2026-11-20T12:00:00Z"


def claims(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, settings.JWT_SECRET, algorithms=["HS256"])
    return decoded


def later() -> int:
    return int(dt.datetime.now(dt.UTC).timestamp()) + 600


def signed(payload: dict[str, Any], *, key: str | None = None, algorithm: str = "HS256") -> str:
    return jwt.encode(payload, settings.JWT_SECRET if key is None else key, algorithm=algorithm)


def unsigned(header: Any, payload: Any) -> str:
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])


GOOD = {"token_type": "access", "jti": "a", "holder_id": 1, "exp": 4_000_000_000}
OTHER_KEY = "another key, which is long enough for anybody"
BAD_TOKENS = {
    "another key": lambda: signed(GOOD, key=OTHER_KEY),
    "another algorithm": lambda: signed(GOOD, algorithm="HS384"),
    "no algorithm": lambda: unsigned({"alg": "none", "typ": "JWT"}, GOOD),
    "no algorithm, in capitals": lambda: unsigned({"alg": "NONE"}, GOOD),
    "a list of algorithms": lambda: unsigned({"alg": ["HS256"]}, GOOD),
    "an object as algorithm": lambda: unsigned({"alg": {}}, GOOD),
    "no header": lambda: unsigned([], GOOD),
    "a header too deep": lambda: unsigned(b"[" * 5000, GOOD),
    "critical extensions": lambda: unsigned({"alg": "HS256", "crit": ["b64"], "b64": False}, GOOD),
    "run out": lambda: signed({**GOOD, "exp": 1}),
    "without an end": lambda: signed({key: value for key, value in GOOD.items() if key != "exp"}),
    "without an id": lambda: signed({key: value for key, value in GOOD.items() if key != "jti"}),
    "a refresh token": lambda: signed({**GOOD, "token_type": "refresh"}),
    "of no type": lambda: signed({key: value for key, value in GOOD.items() if key != "token_type"}),
    "of no holder": lambda: signed({key: value for key, value in GOOD.items() if key != "holder_id"}),
    "of an odd holder": lambda: signed({**GOOD, "holder_id": "everybody"}),
    "of a list of holders": lambda: signed({**GOOD, "holder_id": [1]}),
    "cut off": lambda: signed(GOOD)[:-4],
    "with a forged holder": lambda: _with_holder(signed(GOOD), 2),
    "enormous": lambda: "a" * 60_000,
    "words": lambda: "not a token",
}


def _with_holder(token: str, holder_id: int) -> str:
    header, _payload, signature = token.split(".")
    payload = base64.urlsafe_b64encode(json.dumps({**GOOD, "holder_id": holder_id}).encode()).rstrip(b"=").decode()
    return f"{header}.{payload}.{signature}"


class TestABadTokenIsNeverNobody:
    @pytest.mark.parametrize("path", ["movies", "holds", "showtimes/{}/seats/status", "showtimes/{}/layout"])
    @pytest.mark.parametrize("kind", BAD_TOKENS)
    def test_shown_as_a_bearer(self, showtime: Showtime, kind: str, path: str) -> None:
        answer = ApiClient(token=BAD_TOKENS[kind]()).ask("GET", path.format(showtime.pk))

        assert answer.status_code == 401
        assert answer.json()["code"] == "not_authenticated"
        assert answer["WWW-Authenticate"] == 'Bearer realm="api"'

    @pytest.mark.parametrize(
        "header", ["", " ", "Bearer", "Bearer ", "Basic ZGVtbzpkZW1v", "Token abc", "Bearer a b", "Digest x", "é"]
    )
    def test_any_other_word_in_the_header(self, nobody: ApiClient, header: str) -> None:
        assert nobody.ask("GET", "movies", Authorization=header).status_code == 401

    def test_the_scheme_is_read_in_any_case(self, guest: ApiClient) -> None:
        token = guest.defaults["HTTP_AUTHORIZATION"].split()[1]

        for scheme in ("bearer", "BEARER", "Bearer  "):
            assert ApiClient().ask("GET", "holds", Authorization=f"{scheme} {token}").status_code == 200

    def test_a_token_of_a_holder_that_is_gone_holds_nothing(self, showtime: Showtime) -> None:
        client = ApiClient(token=signed({**GOOD, "holder_id": 2**62}))

        assert client.ask("POST", f"showtimes/{showtime.pk}/seats/A1/hold").status_code == 401
