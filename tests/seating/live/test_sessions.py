"""A socket speaks for a session only as long as that says so: signing out, and being locked out, reach open sockets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from cinebook.core.models import User
from seating.live import hub as hubs
from seating.live.hub import hub
from seating.live.sessions import SessionStore, ended_sessions, shown_session
from seating.live.viewer import POLICY_VIOLATION
from seating.models import Showtime
from tests.factories import UserFactory
from tests.seating.live.conftest import Person
from tests.seating.live.sockets import in_loop, in_thread, socket, until

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "http://localhost:8000"


@pytest.fixture
def browser(showtime: Showtime) -> Client:
    """A guest who has opened the seat map."""
    client = Client()
    assert client.get(f"/showtimes/{showtime.pk}/").status_code == 200
    return client


@pytest.fixture
def user() -> User:
    made: User = UserFactory()
    return made


def sign_in(browser: Client, user: User) -> None:
    browser.force_login(user)


def headers_of(browser: Client) -> dict[str, str]:
    name = settings.SESSION_COOKIE_NAME
    return {"origin": OURS, "cookie": f"{name}={browser.cookies[name].value}"}


def sign_out(browser: Client, user: User) -> None:
    browser.logout()


def lock_out(browser: Client, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(browser: Client, user: User) -> None:
    user.set_password("another one")
    user.save()


def forget_session(browser: Client, user: User) -> None:
    Session.objects.all().delete()


def run_out(browser: Client, user: User) -> None:
    Session.objects.update(expire_date=timezone.now() - dt.timedelta(seconds=1))


def sign_in_as_another(browser: Client, user: User) -> None:
    """In the same session, as Django does not do it by itself."""
    store = SessionStore(browser.session.session_key)
    store.update({"_auth_user_id": str(UserFactory().pk)})
    store.save()


ENDS: list[Callable[[Client, User], None]] = [
    sign_out,
    lock_out,
    change_password,
    forget_session,
    run_out,
    sign_in_as_another,
]


@pytest.mark.parametrize("end", ENDS)
def test_what_has_ended_may_neither_act_nor_stay(
    end: Callable[[Client, User], None], showtime: Showtime, browser: Client, user: User
) -> None:
    sign_in(browser, user)

    @in_loop
    async def scene() -> None:
        async with socket(headers=headers_of(browser), join=showtime.pk) as tab:
            assert (await tab.ask("seat:hold", showtime_id=showtime.pk, seat="A1"))["event"] == "seat:hold:success"
            await hub()._check_sessions()
            await in_thread(end, browser, user)

            refused = await tab.ask("seat:hold", showtime_id=showtime.pk, seat="A2")
            assert (refused["event"], refused["data"]["code"]) == ("seat:hold:failed", "not_authenticated")
            assert (await tab.ask("holds:get"))["data"]["code"] == "not_authenticated"
            await hub()._check_sessions()
            assert await tab.closing_code() == POLICY_VIOLATION

    scene()


@pytest.mark.parametrize("change", [sign_in, run_out])
def test_a_guest_who_signs_in_or_is_forgotten_is_another(
    change: Callable[[Client, User], None], showtime: Showtime, browser: Client, user: User
) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(headers=headers_of(browser), join=showtime.pk) as tab:
            await in_thread(change, browser, user)
            assert (await tab.ask("seat:hold", showtime_id=showtime.pk, seat="A1"))["data"][
                "code"
            ] == "not_authenticated"
            await hub()._check_sessions()
            assert await tab.closing_code() == POLICY_VIOLATION

    scene()


def test_whoever_says_the_same_stays(showtime: Showtime, browser: Client, user: User, ada: Person) -> None:
    signed_in = Client()
    assert signed_in.get(f"/showtimes/{showtime.pk}/").status_code == 200
    sign_in(signed_in, user)

    def go_on() -> None:
        for client in (browser, signed_in):
            # Something else of the session changes.
            store = SessionStore(client.session.session_key)
            store["seat_refusal"] = "x"
            store.save()
        User.objects.filter(pk=user.pk).update(last_login=timezone.now(), first_name="Ada")

    @in_loop
    async def scene() -> None:
        async with (
            socket(headers=headers_of(browser), join=showtime.pk) as guest,
            socket(headers=headers_of(signed_in), join=showtime.pk) as own,
            socket(ada.token, join=showtime.pk) as program,
            socket(join=showtime.pk) as nobody,
        ):
            await in_thread(go_on)
            await hub()._check_sessions()
            for client, seat in ((guest, "A1"), (own, "A2"), (program, "A3")):
                assert (await client.ask("seat:hold", showtime_id=showtime.pk, seat=seat))[
                    "event"
                ] == "seat:hold:success"
            assert (await nobody.ask("join:showtime", showtime_id=showtime.pk))["event"] == "seats:availability"

    scene()


def test_a_guest_in_the_session_of_somebody_locked_out_stays_one(
    showtime: Showtime, browser: Client, user: User
) -> None:
    """Django takes such a session for a stranger's; its guest is still there."""
    browser.force_login(user)
    lock_out(browser, user)

    @in_loop
    async def scene() -> None:
        async with socket(headers=headers_of(browser), join=showtime.pk) as tab:
            await hub()._check_sessions()
            assert (await tab.ask("seat:hold", showtime_id=showtime.pk, seat="A1"))["event"] == "seat:hold:success"

    scene()


def test_it_is_asked_by_itself(
    showtime: Showtime, browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "SESSION_SECONDS", 0.05)

    @in_loop
    async def scene() -> None:
        async with socket(headers=headers_of(browser), join=showtime.pk) as tab:
            await in_thread(sign_out, browser, user)
            assert await tab.closing_code() == POLICY_VIOLATION

    scene()


def test_while_postgresql_is_away_nobody_is_closed(
    showtime: Showtime, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(sessions: Any) -> Any:
        asked.append(sessions)
        raise OperationalError

    @in_loop
    async def scene() -> None:
        async with socket(headers=headers_of(browser), join=showtime.pk) as tab:
            with monkeypatch.context() as away:
                away.setattr(hubs, "ended_sessions", fail)
                await hub()._check_sessions()
            await until(lambda: asked)
            assert (await tab.ask("holds:get"))["event"] == "holds:current"

    scene()


def test_however_many_they_cost_two_statements(user: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    shown = []
    for number in range(6):
        client = Client()
        if number % 2:
            client.force_login(user)
        else:
            session = client.session
            session["guest_key"] = str(number)
            session.save()
        request = client.get("/").wsgi_request
        shown.append(shown_session(client.session, request.user))
    assert sum(session.user_id is None for session in shown) == 3
    with django_assert_num_queries(2):
        assert ended_sessions(shown) == set()
    with django_assert_num_queries(1):
        assert ended_sessions([session for session in shown if session.guest_key]) == set()
    Session.objects.filter(session_key=shown[0].key).delete()
    assert ended_sessions(shown) == {shown[0]}
