"""The example client on a line that fails, to a server that says what the tests want."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed

from examples import follow_showtime
from examples.follow_showtime import Refused, Showtime
from tests.examples.test_seat_map import SHOWTIME, a_change, a_hold, a_snapshot

TEST_SECONDS = 20.0


class Cinema:
    """A server that keeps one seat map and answers joins; what else it does is up to the test."""

    def __init__(self) -> None:
        self.lines: list[ServerConnection] = []
        self.heard: asyncio.Queue[tuple[ServerConnection, dict[str, Any]]] = asyncio.Queue()
        self.joins = 0
        self.unanswered_joins: asyncio.Queue[int] = asyncio.Queue()
        self.snapshot = a_snapshot(4, A1="available", A2="available")
        self.answers_joins = True
        self.refusals: list[Response] = []
        self.server: Server

    @property
    def address(self) -> str:
        (listening,) = self.server.sockets
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def tell(self, event: str, data: Any, frame_id: int | None = None) -> None:
        """Send a frame on the newest line."""
        await self.lines[-1].send(json.dumps({"event": event, "data": data, "id": frame_id}))

    async def next_frame(self) -> dict[str, Any]:
        """Return the next frame that is no join."""
        return (await self.heard.get())[1]

    async def serve(self, line: ServerConnection) -> None:
        self.lines.append(line)
        with contextlib.suppress(ConnectionClosed):
            async for text in line:
                frame = json.loads(text)
                if frame["event"] != "join:showtime":
                    self.heard.put_nowait((line, frame))
                    continue
                self.joins += 1
                if self.answers_joins:
                    await self.tell("seats:availability", self.snapshot, frame["id"])
                else:
                    self.unanswered_joins.put_nowait(frame["id"])

    def refuse(self, line: ServerConnection, request: Request) -> Response | None:
        return self.refusals.pop(0) if self.refusals else None


@contextlib.asynccontextmanager
async def running_cinema() -> AsyncIterator[Cinema]:
    cinema = Cinema()
    async with serve(cinema.serve, "127.0.0.1", 0, process_request=cinema.refuse, close_timeout=0.1) as server:
        cinema.server = server
        yield cinema


def with_cinema(test: Callable[[Cinema], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test with a cinema of its own."""

    @functools.wraps(test)
    def run() -> None:
        async def in_loop() -> None:
            async with asyncio.timeout(TEST_SECONDS), running_cinema() as cinema:
                await test(cinema)

        asyncio.run(in_loop())

    # Otherwise pytest would look for a fixture of the argument's name.
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds for people takes less here; a test that needs the order of two keeps them apart."""
    monkeypatch.setattr(follow_showtime, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(follow_showtime, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(follow_showtime, "SPREAD_SECONDS", 0.05)
    monkeypatch.setattr(follow_showtime, "OVERTAKEN_SECONDS", 0.1)


def a_refusal(status: http.HTTPStatus, body: Any = None, **headers: str) -> Response:
    content = json.dumps(body).encode() if body else b"<p>no</p>"
    return Response(status, status.phrase, Headers(headers, **{"Content-Length": str(len(content))}), content)


@with_cinema
async def test_changes_come_as_they_are_told(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        assert await anext(changes) == {"A1": "available", "A2": "available"}
        assert showtime.live

        await cinema.tell("seat:status:changed", a_change(4, 5, A1="locked"))
        assert await anext(changes) == {"A1": "locked"}


@with_cinema
async def test_a_gap_leads_to_one_question_whatever_comes_behind_it(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        await anext(changes)
        cinema.snapshot = a_snapshot(30, A1="available", A2="occupied")

        for version in range(6, 30):
            await cinema.tell("seat:status:changed", a_change(version, version + 1, A1="locked"))
        assert await anext(changes) == {"A2": "occupied"}

        assert (cinema.joins, showtime.map.version, len(cinema.lines)) == (2, 30, 1)


@with_cinema
async def test_a_heartbeat_that_knows_more_leads_to_a_question(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        await anext(changes)
        cinema.snapshot = a_snapshot(5, A1="locked", A2="available")

        await cinema.tell("heartbeat", {"showtime_id": SHOWTIME, "version": 5, "server_time": "", "viewers": 12})

        assert await anext(changes) == {"A1": "locked"}
        assert cinema.joins == 2


@with_cinema
async def test_a_question_that_is_not_answered_is_asked_again(cinema: Cinema) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow_showtime, "SNAPSHOT_SECONDS", 0.05)
        cinema.answers_joins = False
        async with Showtime(cinema.address, SHOWTIME) as showtime:
            changes = asyncio.ensure_future(anext(showtime.changes()))
            await cinema.unanswered_joins.get()
            cinema.answers_joins = True
            assert await changes == {"A1": "available", "A2": "available"}
    assert len(cinema.lines) == 1


@with_cinema
async def test_silence_is_a_loss(cinema: Cinema) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow_showtime, "SILENCE_SECONDS", 0.2)
        async with Showtime(cinema.address, SHOWTIME) as showtime:
            changes = showtime.changes()
            await anext(changes)
            cinema.snapshot = a_snapshot(5, A1="locked", A2="available")
            # Nothing is closed, and nothing comes any more.
            assert await anext(changes) == {"A1": "locked"}
    assert len(cinema.lines) > 1


@with_cinema
async def test_what_was_lost_with_a_line_comes_like_any_change_on_the_next(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        await anext(changes)
        # A lower version: the database was put back to an earlier state.
        cinema.snapshot = a_snapshot(2, A1="available", A2="occupied")

        await cinema.lines[-1].close(1012)

        assert await anext(changes) == {"A2": "occupied"}
        assert (showtime.map.version, len(cinema.lines)) == (2, 2)


@with_cinema
async def test_what_was_asked_on_a_lost_line_is_asked_again_on_the_next(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        holding = asyncio.ensure_future(showtime.hold("A1"))
        asked = await cinema.next_frame()
        cinema.lines[-1].transport.abort()

        assert await cinema.next_frame() == asked
        await cinema.tell("seat:hold:success", a_hold("A1"), asked["id"])

        assert (await holding)["seats"] == ["A1"]
        assert showtime.map.seats()["A1"] == "selected"


@with_cinema
async def test_a_refusal_says_why_and_what_else_there_is(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        holding = asyncio.ensure_future(showtime.hold("A1"))
        asked = await cinema.next_frame()
        error = {"code": "seat_held", "detail": "Held.", "seats": {"A1": "seat_held"}, "alternatives": [["A2"]]}
        await cinema.tell("seat:hold:failed", {**error, "showtime_id": SHOWTIME}, asked["id"])

        with pytest.raises(Refused, match="Held") as refused:
            await holding
        assert (refused.value.code, refused.value.alternatives) == ("seat_held", [["A2"]])


@with_cinema
async def test_what_may_be_asked_again_is_asked_again(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        extending = asyncio.ensure_future(showtime.extend())
        asked = await cinema.next_frame()
        busy = {"code": "unavailable", "detail": "Later.", "retry_after": 0.01, "showtime_id": SHOWTIME}
        await cinema.tell("error", busy, asked["id"])

        again = await cinema.next_frame()
        assert again["id"] != asked["id"]
        await cinema.tell("hold:extended", a_hold("A1"), again["id"])
        assert (await extending)["seats"] == ["A1"]


@with_cinema
async def test_an_error_for_somebody_who_no_longer_waits_ends_nothing(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        await anext(changes)
        with pytest.raises(TimeoutError):
            await showtime.extend(within=0.05)
        asked = await cinema.next_frame()
        late = {"code": "not_found", "detail": "Too late.", "showtime_id": SHOWTIME}
        await cinema.tell("error", late, asked["id"])

        await cinema.tell("seat:status:changed", a_change(4, 5, A1="locked"))
        assert await anext(changes) == {"A1": "locked"}


@with_cinema
async def test_that_a_hold_is_gone_is_asked_about_for_it_has_no_time(cinema: Cinema) -> None:
    cinema.snapshot = a_snapshot(4, hold=a_hold("A1"), A1="selected")
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        assert await anext(changes) == {"A1": "selected"}
        cinema.snapshot = a_snapshot(5, at="2030-01-01T12:00:05Z", A1="available")

        await cinema.tell("hold:changed", {"showtime_id": SHOWTIME + 1, "hold": None})
        await cinema.tell("hold:changed", {"showtime_id": SHOWTIME, "hold": None})

        assert await anext(changes) == {"A1": "available"}
        assert (showtime.map.hold, cinema.joins) == (None, 2)


@with_cinema
async def test_a_hold_of_another_tab_and_its_end_are_heard(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        await anext(changes)
        await cinema.tell("hold:changed", {"showtime_id": SHOWTIME, "hold": a_hold("A1")})
        assert await anext(changes) == {"A1": "selected"}

        await cinema.tell("hold:expired", {"showtime_id": SHOWTIME, "hold_id": "h1", "seats": ["A1"]})
        assert await anext(changes) == {"A1": "available"}
        assert cinema.joins == 1


@with_cinema
async def test_a_hold_is_kept_until_it_can_be_extended_no_further(cinema: Cinema) -> None:
    ends = ["2030-01-01T12:15:00Z", "2030-01-01T12:20:00Z", "2030-01-01T12:20:00Z"]
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        keeping = asyncio.ensure_future(showtime.keep())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(follow_showtime, "SHORTEST_SECONDS", 0.0)
            for end in ends:
                asked = await cinema.next_frame()
                assert asked["event"] == "hold:extend"
                await cinema.tell("hold:extended", a_hold("A1") | {"expires_at": end, "expires_in": 0}, asked["id"])
            await keeping


@with_cinema
async def test_a_house_that_is_full_is_asked_again(cinema: Cinema) -> None:
    cinema.refusals = [
        a_refusal(http.HTTPStatus.TOO_MANY_REQUESTS, {"code": "rate_limited", "detail": "x"}, **{"Retry-After": "0"}),
        a_refusal(http.HTTPStatus.SERVICE_UNAVAILABLE),
    ]
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        assert await anext(showtime.changes()) == {"A1": "available", "A2": "available"}
    assert not cinema.refusals


@with_cinema
async def test_a_bad_token_ends_it_for_everybody_who_waits(cinema: Cinema) -> None:
    refused = {"code": "not_authenticated", "detail": "Please sign in."}
    cinema.refusals = [a_refusal(http.HTTPStatus.UNAUTHORIZED, refused)]
    async with Showtime(cinema.address, SHOWTIME, "bad") as showtime:
        with pytest.raises(Refused, match="Please sign in"):
            await showtime.hold("A1")
        with pytest.raises(Refused, match="Please sign in"):
            await anext(showtime.changes())
        with pytest.raises(Refused, match="Please sign in"):
            await showtime.extend()


@with_cinema
async def test_whatever_answers_in_the_servers_place_ends_it_too(cinema: Cinema) -> None:
    cinema.refusals = [a_refusal(http.HTTPStatus.FORBIDDEN)]
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        with pytest.raises(Refused, match="403") as refused:
            await anext(showtime.changes())
    assert refused.value.code == "not_connected"


@with_cinema
async def test_a_showtime_that_is_not_there_ends_it(cinema: Cinema) -> None:
    cinema.answers_joins = False
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = asyncio.ensure_future(anext(showtime.changes()))
        asked = await cinema.unanswered_joins.get()
        await cinema.tell("error", {"code": "not_found", "detail": "Nothing.", "showtime_id": SHOWTIME}, asked)
        with pytest.raises(Refused, match="Nothing"):
            await changes


@with_cinema
async def test_who_leaves_gets_nothing_more(cinema: Cinema) -> None:
    async with Showtime(cinema.address, SHOWTIME) as showtime:
        changes = showtime.changes()
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await showtime.hold("A1")
