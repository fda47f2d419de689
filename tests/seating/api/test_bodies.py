"""Bodies and addresses that no honest client sends: each gets an error of the contract, and changes nothing."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core.wsgi import get_wsgi_application

from cinebook.core.rest import MAX_BODY
from cinebook.wsgi_in_threads import WsgiInThreads
from seating.identity import token_for_guest
from seating.models import Hold, Showtime
from tests.factories import make_showtime
from tests.support.api import ApiClient
from tests.support.openapi import openapi

pytestmark = pytest.mark.django_db

# What json.loads, DRF or PostgreSQL might stumble over.
BODIES: dict[str, bytes] = {
    "no JSON": b"seats=A1",
    "cut off": b'{"seats": ["A1"',
    "two documents": b'{"seats": ["A1"]}{}',
    "only space": b"  ",
    "NaN": b'{"seats": ["A1"], "x": NaN}',
    "Infinity": b'{"seats": ["A1"], "x": -Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"seats": ["A1"]}',
    "no UTF-8": b'{"seats": ["\xff\xfe"]}',
    "UTF-16": '{"seats": ["A1"]}'.encode("utf-16"),
    "an encoded surrogate": b'{"seats": ["\xed\xa0\x80"]}',
    "an endless number": b'{"seats": ["A1"], "x": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 40_000,
    "a deep list of seats": b'{"seats": ' + b"[" * 500 + b"]" * 500 + b"}",
    "a list": b'["A1"]',
    "a text": b'"A1"',
    "null": b"null",
    "a number": b"1",
    "nothing": b"{}",
    "no seats": b'{"seats": []}',
    "seats null": b'{"seats": null}',
    "seats a text": b'{"seats": "A1"}',
    "seats an object": b'{"seats": {"0": "A1"}}',
    "seats a number": b'{"seats": 1}',
    "a seat that is null": b'{"seats": ["A1", null]}',
    "a seat that is empty": b'{"seats": [""]}',
    "a seat that is a number": b'{"seats": [1]}',
    "a seat that is true": b'{"seats": [true]}',
    "a seat that is a list": b'{"seats": [["A1"]]}',
    "a seat that is an object": b'{"seats": [{"code": "A1"}]}',
    "a seat twice": b'{"seats": ["A1", "A2", "A1"]}',
    "a seat twice, once with space": b'{"seats": ["A1", " A1 "]}',
    "a NUL": b'{"seats": ["A1\\u0000"]}',
    "a lone surrogate": b'{"seats": ["\\ud800"]}',
    "a long code": b'{"seats": ["' + b"A" * 17 + b'"]}',
    "a repeated key": b'{"seats": ["A1"], "seats": []}',
}
MEDIA_TYPES = [
    "text/plain",
    "text/html",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "application/jsonp",
    "application/merge-patch+json",
    "",
    "é",
    "application",
]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


class TestBodies:
    @pytest.mark.parametrize("kind", BODIES)
    def test_that_ask_for_no_seats(self, guest: ApiClient, showtime: Showtime, kind: str) -> None:
        answer = guest.ask("POST", f"showtimes/{showtime.pk}/seats/lock", BODIES[kind])

        assert code(answer) == (400, "invalid_data")
        assert not Hold.objects.exists()

    @pytest.mark.parametrize("kind", [kind for kind in BODIES if kind != "nothing"])
    def test_that_let_no_seats_go(self, guest: ApiClient, showtime: Showtime, kind: str) -> None:
        guest.ask("POST", f"showtimes/{showtime.pk}/seats/lock", {"seats": ["A1", "A2"]})

        answer = guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", BODIES[kind])

        assert code(answer) == (400, "invalid_data")
        assert guest.ask("GET", "holds").json()["results"][0]["seats"] == ["A1", "A2"]

    def test_that_are_too_long(self, guest: ApiClient, showtime: Showtime) -> None:
        path = f"showtimes/{showtime.pk}/seats/lock"
        body = b'{"seats": ["A1"]}'

        assert guest.ask("POST", path, body.ljust(MAX_BODY)).status_code == 201
        for length in (MAX_BODY + 1, 5_000_000):
            assert code(guest.ask("POST", path, body.ljust(length))) == (413, "payload_too_large")

    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    def test_that_are_not_called_json(self, guest: ApiClient, showtime: Showtime, media_type: str) -> None:
        answer = guest.ask("POST", f"showtimes/{showtime.pk}/seats/lock", b'{"seats": ["A1"]}', Content_Type=media_type)

        assert code(answer) == (415, "unsupported_media_type")

    @pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;"])
    def test_that_are_called_json_in_another_way(self, guest: ApiClient, showtime: Showtime, media_type: str) -> None:
        answer = guest.ask("POST", f"showtimes/{showtime.pk}/seats/lock", b'{"seats": ["A1"]}', Content_Type=media_type)

        assert answer.status_code == 201

    @pytest.mark.parametrize("accepted", ["text/html", "application/xml", "image/*;q=0", "x", "é", "*/*"])
    def test_of_answers_are_json_whatever_is_accepted(self, nobody: ApiClient, db: None, accepted: str) -> None:
        answer = nobody.ask("GET", "movies", Accept=accepted)

        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


@pytest.mark.django_db(transaction=True)
class TestBodiesOfUnknownLength:
    """A DELETE that names A1 must never be taken for one that names nothing, which lets go of all."""

    def test_our_server_reads_them(self) -> None:
        status, answer, left = self.let_go_of_a1(WsgiInThreads(get_wsgi_application(), threads=1))

        assert (status, answer["released"], left) == (200, ["A1"], ["A2"])

    def test_behind_a_server_that_does_not_count_them_they_are_refused(self) -> None:
        status, answer, left = self.let_go_of_a1(WSGIMiddleware(get_wsgi_application()))

        assert (status, answer["code"], left) == (400, "invalid_data", ["A1", "A2"])

    def let_go_of_a1(self, server: Any) -> tuple[int, dict[str, Any], list[str]]:
        """Return the status, the answer, and the seats that are left of A1 and A2."""
        showtime = make_showtime()
        token = token_for_guest()["access"]
        guest = ApiClient(token=token)
        guest.ask("POST", f"showtimes/{showtime.pk}/seats/lock", {"seats": ["A1", "A2"]})
        status, answer = async_to_sync(_delete_chunked)(server, f"/api/v1/showtimes/{showtime.pk}/seats/unlock", token)
        return status, answer, guest.ask("GET", "holds").json()["results"][0]["seats"]


class TestAddresses:
    @pytest.mark.parametrize(
        "path",
        [
            "",
            "nothing",
            "movies/",
            "showtimes/1/",
            "holds/",
            "auth/token/",
            "health/",
            "schema/",
            "docs/",
            "showtimes/1/seats",
            "showtimes//seats/status",
            "../v1/movies/x",
            "movies%00",
            "MOVIES",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
    def test_that_lead_nowhere(self, nobody: ApiClient, path: str, method: str) -> None:
        answer = nobody.ask(method, path)

        assert code(answer) == (404, "not_found")
        assert answer["Content-Type"] == "application/json"

    @pytest.mark.parametrize("path", ["/api/", "/api/v1", "/api/v2/movies"])
    def test_beside_the_api_are_json_too(self, nobody: ApiClient, path: str) -> None:
        assert code(nobody.get(path)) == (404, "not_found")

    @pytest.mark.parametrize("host", ["evil.example", "a b", "localhost:port", ""])
    def test_of_another_host(self, nobody: ApiClient, host: str) -> None:
        assert code(nobody.ask("GET", "movies", Host=host)) == (400, "invalid_data")

    def test_every_one_answers_other_methods(self, guest: ApiClient, showtime: Showtime) -> None:
        bought = guest.ask("POST", f"showtimes/{make_showtime().pk}/seats/A1/hold").json()["hold_id"]
        purchase = {"contact": {"name": "Ada", "email": "ada@example.org"}, "payment": {"provider": "demo"}}
        reference = guest.ask("POST", "bookings", {"hold_id": bought, **purchase}).json()["reference"]
        hold_id = guest.ask("POST", f"showtimes/{showtime.pk}/seats/A1/hold").json()["hold_id"]
        other = guest.ask("POST", f"showtimes/{make_showtime().pk}/seats/A1/hold").json()["hold_id"]
        purchase = {"contact": {"name": "Ada", "email": "ada@example.org"}, "payment": {"provider": "demo"}}
        reference = guest.ask("POST", "bookings", {"hold_id": other, **purchase}).json()["reference"]
        for path, methods in openapi()["paths"].items():
            row_id = showtime.movie_id if "movies" in path else showtime.pk
            url = path.format(id=row_id, code="A1", hold_id=hold_id, reference=reference, provider="demo")
            allowed = {method.upper() for method in methods} | {"OPTIONS"} | ({"HEAD"} if "get" in methods else set())
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed:
                answer = guest.generic(method, url)
                assert code(answer) == (405, "method_not_allowed"), (method, url)
                assert set(answer["Allow"].split(", ")) == allowed
            assert set(guest.options(url)["Allow"].split(", ")) == allowed
            if "get" in methods:
                head = guest.head(url)
                assert (head.status_code, head.content) == (HTTPStatus.OK, b"")


async def _delete_chunked(application: Any, path: str, token: str) -> tuple[int, dict[str, Any]]:
    """Send a DELETE of A1 with a chunked body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "DELETE",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    server = ApplicationCommunicator(application, scope)
    await server.send_input({"type": "http.request", "body": b'{"seats": ["A1"]}', "more_body": False})
    start = await server.receive_output(5)
    body = b""
    while True:
        part = await server.receive_output(5)
        body += part.get("body", b"")
        if not part.get("more_body"):
            return start["status"], json.loads(body)
