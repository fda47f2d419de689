"""Who may open a socket, and as whom: tokens speak for themselves, cookies only from our own pages."""

from __future__ import annotations

import datetime as dt

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from pytest_django import Settings
from rest_framework_simplejwt.tokens import AccessToken

from seating.identity import HOLDER_CLAIM, tokens_for_user
from seating.models import Showtime
from tests.seating.live.conftest import Person
from tests.seating.live.sockets import Refused, in_loop, socket, until

OURS = "http://localhost:8000"
FOREIGN = "https://evil.example"
BAD = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoxfQ.c2lnbmF0dXJl"


def cookie_of(person: Person) -> str:
    client = Client()
    client.force_login(get_user_model().objects.get(username=person.username))
    return f"other=1; {settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


# What is shown, by which origin, and what comes of it: refused with that status, or whether the visitor may act.
RULES: list[tuple[str, str | None, int | bool]] = [
    ("nothing", None, False),
    ("nothing", OURS, False),
    ("nothing", FOREIGN, 403),
    ("nothing", "null", 403),
    ("nothing", "http://localhost:8001", 403),
    ("nothing", "https://localhost:8000", 403),
    ("nothing", "http://localhost", 403),
    ("cookie", None, False),
    ("cookie", OURS, True),
    ("cookie", FOREIGN, 403),
    ("cookie", "null", 403),
    ("bad cookie", OURS, False),
    ("header", None, True),
    ("header", OURS, True),
    ("header", FOREIGN, True),
    ("subprotocol", None, True),
    ("subprotocol", OURS, True),
    ("subprotocol", FOREIGN, True),
    ("both tokens", None, True),
    ("bad header", None, 401),
    ("bad header", OURS, 401),
    ("bad header", FOREIGN, 401),
    ("bad subprotocol", None, 401),
    ("bad subprotocol", OURS, 401),
    ("subprotocol without a token", OURS, 401),
    ("subprotocol with too much", OURS, 401),
    ("header that is no bearer", OURS, 401),
    ("expired header", OURS, 401),
    ("refresh token", OURS, 401),
    ("good header and bad subprotocol", None, 401),
    ("tokens of two people", None, 401),
    ("bad header and good cookie", OURS, 401),
]


@pytest.mark.parametrize("rule", RULES, ids=[f"{rule[0]}, {rule[1]}" for rule in RULES])
def test_the_rules(rule: tuple[str, str | None, int | bool], showtime: Showtime, ada: Person, ben: Person) -> None:
    shown, origin, outcome = rule
    expired = AccessToken(ada.token)
    expired.set_exp(lifetime=-dt.timedelta(seconds=1))
    refresh = tokens_for_user(get_user_model().objects.get(username=ada.username))["refresh"]
    header, subprotocols = {
        "header": (f"Bearer {ada.token}", ()),
        "subprotocol": (None, ("bearer", ada.token)),
        "both tokens": (f"Bearer {ada.token}", ("bearer", ada.token)),
        "bad header": (f"Bearer {BAD}", ()),
        "bad subprotocol": (None, ("bearer", BAD)),
        "subprotocol without a token": (None, ("bearer",)),
        "subprotocol with too much": (None, ("bearer", ada.token, "chat")),
        "header that is no bearer": ("Basic ZGVtbzpkZW1v", ()),
        "expired header": (f"Bearer {expired}", ()),
        "refresh token": (f"Bearer {refresh}", ()),
        "good header and bad subprotocol": (f"Bearer {ada.token}", ("bearer", BAD)),
        "tokens of two people": (f"Bearer {ada.token}", ("bearer", ben.token)),
        "bad header and good cookie": (f"Bearer {BAD}", ()),
    }.get(shown, (None, ()))
    cookie = {
        "cookie": cookie_of(ada),
        "bad header and good cookie": cookie_of(ada),
        "bad cookie": f"{settings.SESSION_COOKIE_NAME}=nonsense",
    }.get(shown)
    headers = {"authorization": header, "origin": origin, "cookie": cookie}
    given = {name: value for name, value in headers.items() if value}

    @in_loop
    async def scene() -> None:
        if type(outcome) is int:
            with pytest.raises(Refused) as refused:
                async with socket(headers=given, subprotocols=subprotocols):
                    pass
            assert refused.value.status == outcome
            return
        async with socket(headers=given, subprotocols=subprotocols, join=showtime.pk) as client:
            assert client.subprotocol == ("bearer" if subprotocols else None)
            answer = await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"])
            if outcome:
                assert answer["event"] == "seat:hold:success"
            else:
                assert answer["event"] == "seat:hold:failed"
                assert answer["data"]["code"] == "not_authenticated"

    scene()


def test_a_guest_of_the_seat_map_may_act(showtime: Showtime) -> None:
    client = Client()
    assert client.get(f"/showtimes/{showtime.pk}/").status_code == 200
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"

    @in_loop
    async def scene() -> None:
        async with socket(headers={"origin": OURS, "cookie": cookie}, join=showtime.pk) as tab:
            answer = await tab.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"])
            assert answer["event"] == "seat:hold:success"
            assert (await tab.ask("join:showtime", showtime_id=showtime.pk))["data"]["seats"]["A1"] == "selected"

    scene()


def test_a_trusted_origin_is_ours_and_tls_is_known(showtime: Showtime, settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.tickets.example"]

    @in_loop
    async def scene() -> None:
        async with socket(headers={"origin": "https://localhost:8000"}, scheme="wss"):
            pass
        with pytest.raises(Refused):
            async with socket(headers={"origin": OURS}, scheme="wss"):
                pass

    scene()


@pytest.mark.parametrize(("path", "host"), [("/ws/", None), ("/ws/seats", None), ("/ws/seats/", "evil.example")])
def test_elsewhere_there_is_no_socket(path: str, host: str | None, showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        with pytest.raises(Refused):
            async with socket(path=path, headers={"host": host} if host else {}):
                pass

    scene()


def test_a_token_that_runs_out_ends_its_right_while_the_socket_lives(showtime: Showtime, ada: Person) -> None:
    token = AccessToken()
    token.set_exp(lifetime=dt.timedelta(seconds=2))
    token[HOLDER_CLAIM] = ada.claimant.holder_id

    @in_loop
    async def scene() -> None:
        async with socket(str(token), join=showtime.pk) as client:
            assert (await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"]))[
                "event"
            ] == "seat:hold:success"
            ends = token["exp"]
            await until(lambda: dt.datetime.now(dt.UTC).timestamp() > ends)

            answer = await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A2"])

            assert answer["data"]["code"] == "not_authenticated"
            snapshot = (await client.ask("join:showtime", showtime_id=showtime.pk))["data"]
            assert snapshot["hold"] is None
            assert snapshot["seats"]["A1"] == "locked"

    scene()
