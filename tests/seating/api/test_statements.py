"""How many statements the requests cost that everybody sends all the time, beside the begin and end of transactions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from seating.models import Showtime
from seating.selectors.layouts import showtime_layout
from tests.factories import make_showtime
from tests.seating.api.conftest import bearer
from tests.support.api import ApiClient

pytestmark = pytest.mark.django_db

BRACKETS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "BEGIN", "COMMIT", "ROLLBACK")


@contextlib.contextmanager
def statements(expected: int) -> Iterator[None]:
    with CaptureQueriesContext(connection) as captured:
        yield
    sent = [query["sql"] for query in captured if not query["sql"].startswith(BRACKETS)]
    assert len(sent) == expected, "\n".join(sent)


@pytest.fixture(autouse=True)
def warm(showtime: Showtime) -> None:
    """Layouts never change: a process reads each once."""
    showtime_layout(showtime.pk)


def lock(client: ApiClient, showtime: Showtime, *seats: str) -> Any:
    return client.ask("POST", f"showtimes/{showtime.pk}/seats/lock", {"seats": list(seats)})


class TestStatus:
    @pytest.fixture
    def path(self, showtime: Showtime) -> str:
        return f"showtimes/{showtime.pk}/seats/status"

    def test_of_a_stranger(self, nobody: ApiClient, path: str) -> None:
        with statements(1):
            tag = nobody.ask("GET", path)["ETag"]
        with statements(1):
            assert nobody.ask("GET", path, If_None_Match=tag).status_code == 304

    def test_of_a_guest_with_a_token(self, guest: ApiClient, showtime: Showtime, path: str) -> None:
        lock(guest, showtime, "A1")
        with statements(2):
            tag = guest.ask("GET", path)["ETag"]
        with statements(2):
            assert guest.ask("GET", path, If_None_Match=tag).status_code == 304

    def test_since_a_version(self, nobody: ApiClient, guest: ApiClient, showtime: Showtime, path: str) -> None:
        """One statement says whether there is news, and which; where that is too long ago, another one says all."""
        lock(guest, showtime, "A1")
        for client, asking in ((nobody, 0), (guest, 1)):
            with statements(asking + 1):
                answer = client.ask("GET", f"{path}?since=0")
            assert "changes" in answer.json()
            with statements(asking + 1):
                assert client.ask("GET", f"{path}?since=1", If_None_Match=answer["ETag"]).status_code == 304
            with statements(asking + 2):
                assert "seats" in client.ask("GET", f"{path}?since=99").json()

    def test_of_the_bearer_of_a_hold(self, guest: ApiClient, showtime: Showtime, path: str) -> None:
        phone = bearer(lock(guest, showtime, "A1").json()["hold_token"])
        with statements(3):
            phone.ask("GET", path)


class TestSeats:
    def test_lock(self, guest: ApiClient, showtime: Showtime) -> None:
        with statements(8):
            assert lock(guest, showtime, "A1", "A2").status_code == 201
        with statements(8):
            assert lock(guest, showtime, "A3", "A4", "A5", "A6").status_code == 201

    def test_lock_that_names_itself(self, guest: ApiClient, showtime: Showtime) -> None:
        """The key is looked up, written first, and answered last; told again it is looked up alone."""
        path, body = f"showtimes/{showtime.pk}/seats/lock", {"seats": ["A1"]}
        with statements(11):
            assert guest.ask("POST", path, body, Idempotency_Key="k").status_code == 201
        with statements(1):
            assert guest.ask("POST", path, body, Idempotency_Key="k").status_code == 201

    def test_conflict(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        """Redis refuses; it is compared with PostgreSQL once a second, and the alternatives are one more."""
        lock(other, showtime, "A1")
        with statements(2):
            assert lock(guest, showtime, "A1", "A2").status_code == 409
        with statements(1):
            assert lock(guest, showtime, "A1", "A2").status_code == 409

    def test_unlock(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1", "A2", "A3")
        with statements(9):
            guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", {"seats": ["A1"]})
        with statements(7):
            guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock")

    def test_extend(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1", "A2")
        with statements(6):
            assert guest.ask("PUT", f"showtimes/{showtime.pk}/seats/extend-lock", {}).status_code == 200


class TestProgramme:
    @pytest.mark.parametrize("path", ["showtimes", "movies", "showtimes?date=2026-11-20"])
    def test_a_list_costs_the_same_however_long(self, nobody: ApiClient, path: str) -> None:
        with CaptureQueriesContext(connection) as short:
            nobody.ask("GET", path)
        for _ in range(5):
            showtime_layout(make_showtime().pk)
        with statements(len(short)):
            nobody.ask("GET", path)

    def test_showtimes(self, nobody: ApiClient) -> None:
        with statements(2):
            nobody.ask("GET", "showtimes")

    def test_layout(self, nobody: ApiClient, showtime: Showtime) -> None:
        with statements(2):
            nobody.ask("GET", f"showtimes/{showtime.pk}/layout")


def test_a_token_costs_no_statement(guest: ApiClient) -> None:
    with statements(1):
        guest.ask("GET", "movies/1")
