"""Strangers are told by the quick way what the usual way would tell them, to the letter."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection
from typing import Any

import pytest
from django.db import connection

from cinebook.asgi import wsgi_application
from cinebook.wsgi_in_threads import WsgiInThreads
from seating.api import quick_status
from seating.api.quick_status import QuickStatus
from seating.models import BlockReason, Holder, Seat, Showtime
from seating.services import block_seats, hold_seats, release_seats, stop_sales
from tests.factories import HolderFactory, make_showtime

pytestmark = pytest.mark.django_db(transaction=True)

HOST = (b"host", b"localhost")


class Server:
    """The quick way before the usual one, of which it counts how often it was taken."""

    def __init__(self) -> None:
        self.taken = 0
        self._usual = WsgiInThreads(wsgi_application, threads=1)
        self._quick = QuickStatus(self._usual_way)

    async def _usual_way(self, scope: Any, receive: Any, send: Any) -> None:
        self.taken += 1
        await self._usual(scope, receive, send)

    async def ask(
        self, showtime: Showtime | int, *headers: tuple[bytes, bytes], method: str = "GET", query: bytes = b""
    ) -> tuple[int, dict[bytes, bytes], Any]:
        """Return status, headers and body."""
        number = showtime if isinstance(showtime, int) else showtime.pk
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": f"/api/v1/showtimes/{number}/seats/status",
            "query_string": query,
            "headers": [HOST, *headers],
            "server": ("127.0.0.1", 80),
            "client": ("192.0.2.1", 5),
        }
        await self._quick(scope, receive, send)
        start, body = sent
        return start["status"], dict(start["headers"]), json.loads(body["body"]) if body["body"] else None

    async def quickly(self, *given: Any, **named: Any) -> tuple[int, dict[bytes, bytes], Any]:
        """Ask by the quick way, and by no other."""
        before = self.taken
        answer = await self.ask(*given, **named)
        assert self.taken == before
        return answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def showtime() -> Showtime:
    return make_showtime()


@pytest.fixture
def ada() -> Holder:
    return HolderFactory()


def hold(showtime: Showtime, holder: Holder, *codes: str) -> None:
    hold_seats(holder_id=holder.pk, user_id=None, showtime_id=showtime.pk, codes=codes)


def without_time(body: dict[str, Any]) -> dict[str, Any]:
    assert body["server_time"].endswith("Z")
    return {**body, "server_time": ""}


async def in_thread(work: Any, *given: Any, **named: Any) -> Any:
    return await asyncio.to_thread(lambda: _closing(work, *given, **named))


def _closing(work: Any, *given: Any, **named: Any) -> Any:
    try:
        return work(*given, **named)
    finally:
        connection.close()


def test_both_ways_tell_the_same(server: Server, showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "A1", "A2")
    block_seats(showtime_id=showtime.pk, codes=["B1"], reason=BlockReason.BROKEN)

    async def scene() -> None:
        status, headers, usual = await server.ask(showtime)
        assert server.taken == 1
        quick_status_code, quick_headers, quick = await server.quickly(showtime)

        assert (quick_status_code, quick_headers) == (status, headers) == (200, headers)
        assert without_time(quick) == without_time(usual)
        assert list(quick) == list(usual)
        assert list(quick["seats"]) == list(usual["seats"])
        assert (quick["seats"]["A1"], quick["seats"]["B1"]) == ("locked", "blocked")

        known = (b"if-none-match", headers[b"etag"])
        for tag in (headers[b"etag"], b'"x", ' + headers[b"etag"], b"*"):
            status, quick_headers, body = await server.quickly(showtime, (b"if-none-match", tag))
            assert (status, body) == (304, None)
        # The usual way, since a session is shown.
        status, headers, body = await server.ask(showtime, known, (b"cookie", b"x=y"))
        assert (status, body) == (304, None)
        assert quick_headers == headers

    asyncio.run(scene())


def test_whoever_asks_is_told_of_all_that_was_committed_before(server: Server, showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "C1")

    async def scene() -> None:
        await server.ask(showtime)
        for number in range(1, 7):
            await in_thread(hold, showtime, ada, f"A{number}")
            _status, headers, body = await server.quickly(showtime)
            assert body["seats"][f"A{number}"] == "locked"
            assert headers[b"etag"] == f'W/"{body["version"]}.open"'.encode()
        await in_thread(release_seats, holder_id=ada.pk, showtime_id=showtime.pk)
        assert "locked" not in (await server.quickly(showtime))[2]["seats"].values()
        await in_thread(stop_sales, showtime_id=showtime.pk)
        _status, headers, body = await server.quickly(showtime)
        assert (body["on_sale"], headers[b"etag"]) == (False, f'W/"{body["version"]}.closed"'.encode())

    asyncio.run(scene())


def test_a_reading_that_began_before_the_question_is_no_answer(
    server: Server, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(showtime, ada, "A1")
    read, may_end = asyncio.Event(), asyncio.Event()
    read_once = server._quick._read_once

    async def slowly(showtime_id: int) -> Any:
        board = await read_once(showtime_id)
        read.set()
        await may_end.wait()
        return board

    async def scene() -> None:
        await server.ask(showtime)
        monkeypatch.setattr(server._quick, "_read_once", slowly)
        server._quick._reading.clear()
        first = asyncio.ensure_future(server.ask(showtime))
        await read.wait()
        # Both the board and the version that it is compared with are older than this.
        await in_thread(hold, showtime, ada, "A2")
        server._quick._boards.clear()
        server._quick._reading[showtime.pk] = asyncio.ensure_future(_of(old))
        second = await server.ask(showtime)
        may_end.set()
        assert (await first)[2]["seats"]["A2"] == "available"
        assert second[2]["seats"]["A2"] == "locked"

    old = quick_status._board(showtime.pk)
    asyncio.run(scene())


async def _of(board: Any) -> Any:
    return board


def test_those_who_ask_together_share_what_is_read(server: Server, showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "A1")
    read: list[Collection[int]] = []
    current_versions = quick_status.current_versions

    async def scene() -> list[tuple[int, dict[bytes, bytes], Any]]:
        await server.ask(showtime)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                quick_status,
                "current_versions",
                lambda *, showtime_ids: (read.append(showtime_ids), current_versions(showtime_ids=showtime_ids))[1],
            )
            return list(await asyncio.gather(*(server.quickly(showtime) for _number in range(40))))

    answers = asyncio.run(scene())

    assert {status for status, _headers, _body in answers} == {200}
    # They came in one turn of the loop.
    assert read == [[showtime.pk]]


@pytest.mark.parametrize(
    "told",
    [
        {"headers": [(b"authorization", b"Bearer nonsense")], "status": 401},
        {"headers": [(b"cookie", b"sessionid=nonsense")], "status": 200},
        {"headers": [(b"x-hold-token", b"nonsense")], "status": 401},
        {"headers": [(b"origin", b"https://elsewhere.example")], "status": 200},
        {"headers": [(b"accept", b"text/html")], "status": 200},
        {"query": b"since=0", "status": 200},
        {"method": "HEAD", "status": 200},
        {"method": "POST", "status": 401},
    ],
    ids=lambda told: str(told.get("headers") or told.get("query") or told.get("method")),
)
def test_whatever_is_out_of_the_ordinary_goes_the_usual_way(
    server: Server, showtime: Showtime, ada: Holder, told: dict[str, Any]
) -> None:
    hold(showtime, ada, "A1")

    async def scene() -> int:
        await server.ask(showtime)
        named = {name: told[name] for name in ("query", "method") if name in told}
        return (await server.ask(showtime, *told.get("headers", ()), **named))[0]

    assert asyncio.run(scene()) == told["status"]
    assert server.taken == 2


def test_what_is_not_there_is_told_by_the_usual_way(server: Server, showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "A1")

    async def scene() -> tuple[int, int]:
        await server.ask(showtime)
        return (await server.ask(showtime.pk + 1))[0], (await server.ask(10**17))[0]

    assert asyncio.run(scene()) == (404, 404)


def test_a_host_that_is_not_ours_is_refused(server: Server, showtime: Showtime) -> None:
    async def scene() -> list[int]:
        return [
            (await server.ask(showtime, (b"host", b"evil.example")))[0],
            (await server.ask(showtime, (b"host", b"evil.example")))[0],
        ]

    assert asyncio.run(scene()) == [400, 400]
    assert server.taken == 2


def test_what_a_database_says_that_was_put_back_is_shown_soon(
    server: Server, showtime: Showtime, ada: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come to the same version again by another way."""
    hold(showtime, ada, "A1")

    async def scene() -> list[str]:
        await server.ask(showtime)
        told = [(await server.quickly(showtime))[2]["seats"]["A2"]]
        await in_thread(
            Seat.objects.filter(showtime=showtime, code="A2").update, status="BLOCKED", block_reason="broken"
        )
        told.append((await server.quickly(showtime))[2]["seats"]["A2"])
        monkeypatch.setattr(quick_status, "KEPT_SECONDS", 0)
        told.append((await server.quickly(showtime))[2]["seats"]["A2"])
        return told

    assert asyncio.run(scene()) == ["available", "available", "blocked"]


@pytest.mark.parametrize("proto", [b"https", b"http"])
def test_the_headers_are_those_of_how_it_was_reached(
    server: Server, showtime: Showtime, ada: Holder, proto: bytes
) -> None:
    hold(showtime, ada, "A1")

    async def scene() -> None:
        await server.ask(showtime)
        reached = (b"x-forwarded-proto", proto)
        _status, usual, _body = await server.ask(showtime, reached)
        assert server.taken == 2
        assert (await server.quickly(showtime, reached))[1] == usual

    asyncio.run(scene())


def test_while_postgresql_is_away_it_says_so(server: Server, showtime: Showtime, ada: Holder) -> None:
    hold(showtime, ada, "A1")

    async def scene() -> int:
        await server.ask(showtime)
        with _away():
            return (await server.ask(showtime))[0]

    assert asyncio.run(scene()) == 503


@contextlib.contextmanager
def _away() -> Any:
    """Let nobody connect to PostgreSQL."""
    port = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = "1"
    try:
        yield
    finally:
        connection.settings_dict["PORT"] = port
