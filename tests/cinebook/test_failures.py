"""When something is wrong on our side, a program reads JSON and a person reads a page, and both learn what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from cinebook import service_urls
from cinebook.engines.postgres import Postgres
from cinebook.engines.throwaway import running_engines
from seating.identity import token_for_guest
from tests.factories import make_showtime
from tests.support.api import ApiClient


@pytest.fixture
def page_client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture(params=[OperationalError, InterfaceError])
def database_away(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL does not answer."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise request.param("nobody answers")

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", refuse)
    monkeypatch.setattr(BaseDatabaseWrapper, "cursor", refuse)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.usefixtures("database_away")
class TestWithoutTheDatabase:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "movies"),
            ("GET", "movies/1"),
            ("GET", "showtimes"),
            ("GET", "showtimes/1/layout"),
            ("GET", "showtimes/1/seats/status"),
            ("GET", "showtimes/1/seats/best"),
            ("POST", "auth/guest"),
        ],
    )
    def test_a_program_learns_when_to_come_back(self, method: str, path: str) -> None:
        answer = ApiClient().ask(method, path)

        assert code(answer) == (503, "unavailable")
        assert answer["Retry-After"] == "2"

    def test_so_it_does_where_its_token_or_session_is_looked_up(self) -> None:
        with_session = ApiClient()
        with_session.cookies["sessionid"] = "a" * 32

        for client in (ApiClient(hold_token="x"), with_session):
            assert code(client.ask("GET", "holds")) == (503, "unavailable")

    def test_what_needs_no_database_is_answered_as_ever(self) -> None:
        assert code(ApiClient(token="x").ask("GET", "movies")) == (401, "not_authenticated")
        assert code(ApiClient().ask("GET", "nothing")) == (404, "not_found")
        assert ApiClient().ask("GET", "health").status_code == 503
        assert Client().get("/api/v1/schema").status_code == 200

    @pytest.mark.parametrize("path", ["/", "/movies/x/", "/showtimes/1/"])
    def test_a_person_reads_that_nothing_is_lost(self, page_client: Client, path: str) -> None:
        answer = page_client.get(path)

        assert answer.status_code == 503
        assert answer["Retry-After"] == "2"
        assert answer["Cache-Control"] == "no-store"
        assert answer["Content-Type"].startswith("text/html")
        text = answer.content.decode()
        assert "We cannot reach our records right now. Nothing is lost: please try again in a moment." in text
        assert "jammed" not in text

    def test_a_person_with_a_session_reads_the_same(self, page_client: Client) -> None:
        page_client.cookies["sessionid"] = "a" * 32

        assert page_client.get("/").status_code == 503

    def test_it_is_logged(self, caplog: pytest.LogCaptureFixture, page_client: Client) -> None:
        ApiClient().ask("GET", "movies")
        page_client.get("/")

        logged = [events(record) for record in caplog.records if record.levelno == logging.ERROR]
        assert [event for event in logged if event.endswith("database_away")] == [
            "api.database_away",
            "request.database_away",
        ]


class TestAFaultOfOurs:
    """An exception that nobody foresaw."""

    @pytest.fixture(autouse=True)
    def fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError("a secret of the house")

        monkeypatch.setattr("seating.api.seats.offered_seats", fail)
        monkeypatch.setattr("seating.views.programme.day_programme", fail)

    def test_is_answered_without_its_secrets(self) -> None:
        answer = ApiClient().ask("GET", "showtimes/1/seats/best")

        assert code(answer) == (500, "server_error")
        assert set(answer.json()) == {"code", "detail"}
        assert "secret" not in answer.content.decode()

    def test_is_logged_with_its_traceback(self, caplog: pytest.LogCaptureFixture) -> None:
        ApiClient().ask("GET", "showtimes/1/seats/best")

        (record,) = [record for record in caplog.records if events(record) == "api.server_error"]
        assert isinstance(record.msg["exc_info"], ZeroDivisionError)  # type: ignore[index]

    @pytest.mark.filterwarnings("ignore")
    def test_shows_a_person_a_page(self, page_client: Client) -> None:
        answer = page_client.get("/")

        assert answer.status_code == 500
        assert "The projector has jammed." in answer.content.decode()
        assert "secret" not in answer.content.decode()


class TestAFaultOutsideTheViews:
    def test_is_json_below_the_api(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("django.contrib.messages.middleware.MessageMiddleware.process_request", fail)

        assert code(ApiClient().ask("GET", "movies")) == (500, "server_error")


class TestPages:
    def test_what_is_not_there(self, page_client: Client) -> None:
        for path in ("/nothing/", "/api", "/apiary/"):
            answer = page_client.get(path)
            assert answer.status_code == 404
            assert answer["Content-Type"].startswith("text/html")

    @pytest.mark.django_db
    def test_a_stale_form(self) -> None:
        answer = Client(enforce_csrf_checks=True).post("/")

        assert answer.status_code in {403, 405}
        assert answer["Content-Type"].startswith("text/html")

    def test_another_host(self, page_client: Client) -> None:
        answer = page_client.get("/", headers={"host": "evil.example"})

        assert answer.status_code == 400
        assert answer["Content-Type"].startswith("text/html")


def test_when_postgresql_is_killed_and_comes_back(another_postgresql: Postgres) -> None:
    """No simulation: kill -9."""
    showtime = make_showtime()
    guest = ApiClient(token=token_for_guest()["access"])
    lock = f"showtimes/{showtime.pk}/seats/lock"
    assert guest.ask("POST", lock, {"seats": ["A1"]}).status_code == 201

    another_postgresql.kill()
    # The first finds its connection broken, the others find nobody to connect to.
    answers = [
        guest.ask("POST", lock, {"seats": ["A2"]}),
        guest.ask("GET", f"showtimes/{showtime.pk}/seats/status"),
        guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock"),
    ]
    page = Client(raise_request_exception=False).get("/")

    assert [code(answer) for answer in answers] == [(503, "unavailable")] * 3
    assert (page.status_code, page["Retry-After"]) == (503, "2")
    another_postgresql.start()
    connection.close()
    assert guest.ask("POST", lock, {"seats": ["A2"]}).json()["seats"] == ["A1", "A2"]


@pytest.fixture
def another_postgresql(transactional_db: None) -> Iterator[Postgres]:
    """A PostgreSQL that this test alone uses, with our tables."""
    usual = connection.settings_dict
    with running_engines() as engines:
        connection.close()
        connection.settings_dict = {**usual, **service_urls.database(engines.postgres.url, pool_size=None)}
        try:
            call_command("migrate", verbosity=0)
            yield engines.postgres
        finally:
            connection.close()
            connection.settings_dict = usual


def events(record: logging.LogRecord) -> str:
    """The name of what a line of the log tells."""
    return str(record.msg["event"]) if isinstance(record.msg, dict) else record.getMessage()
