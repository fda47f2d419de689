"""How the seats stand, for strangers, without Django's way of a request: the most frequent question of a rush.

Whoever shows neither a token nor a session sees what all strangers see. That is made into bytes once per version and
process. What each request still asks PostgreSQL is the version, so nobody is ever told less than what was committed
before they asked; and those who ask while a reading is under way share the next one (docs/adr/0012).

Everything else, and everything that is out of the ordinary, goes the usual way. The headers are those of the usual way,
too: they are learned from its answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.utils.http import parse_etags

from cinebook.core.errors import Refusal
from seating.api.seats import is_one_of, status_tag
from seating.live.presence import presence
from seating.live.threads import hub_thread, service_threads
from seating.selectors.seat_changes import current_versions
from seating.selectors.seat_map import SaleState, SeatSnapshot, seat_snapshot
from seating.serializers import instant, seat_status

# A request has the same line in the log, whichever way it went.
log = structlog.get_logger("django_structlog.middlewares.request")

PATH = re.compile(r"/api/v1/showtimes/([0-9]{1,18})/seats/status")
# Who sends one of these may be somebody, or wants an answer of their own.
TELLING = {b"authorization", b"cookie", b"x-hold-token", b"origin", b"content-length", b"transfer-encoding"}
ANY_TYPE, JSON_TYPE = b"*/*", b"application/json"
# What is learned of an answer but for these, which are its own.
OF_ONE_ANSWER = {b"etag", b"content-length"}
# Of how many showtimes a process keeps the bytes, and for how long, in seconds: a PostgreSQL that was put back to an
# earlier state comes to the same version again, with other seats.
MOST_KEPT, KEPT_SECONDS = 200, 10.0
# Of how many hosts it keeps the headers.
MOST_HOSTS = 20

Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Found = tuple[dt.datetime | None, dict[int, tuple[int, SaleState]]]


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """What strangers are shown of a showtime: all but the time and the number of viewers, which go on by themselves.

    `read_at` is of the monotonic clock.
    """

    read_at: float
    version: int
    sale: SaleState
    before_time: bytes
    before_viewers: bytes
    after: bytes

    @classmethod
    def of(cls, snapshot: SeatSnapshot, read_at: float) -> Board:
        """Return what strangers are shown of a snapshot that was read at, or after, a time."""
        # The time and the number are in a known place, so that they can be cut out.
        shown = seat_status(snapshot, None, viewers=0)
        text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
        before_time, shown_time, rest = text.partition(json.dumps(shown["server_time"]))
        before_viewers, viewers, after = rest.partition('"viewers":0')
        assert shown_time, "it is in every status"  # noqa: S101
        assert viewers, "it is in every status"  # noqa: S101
        return cls(
            read_at=read_at,
            version=snapshot.version,
            sale=snapshot.sale,
            before_time=before_time.encode(),
            before_viewers=before_viewers.encode(),
            after=after.encode(),
        )

    def content(self, server_time: str, viewers: int) -> bytes:
        """Return the body of an answer."""
        return b'%b"%b"%b"viewers":%d%b' % (
            self.before_time,
            server_time.encode(),
            self.before_viewers,
            viewers,
            self.after,
        )

    def shows(self, version: int, sale: SaleState) -> bool:
        """Return whether this is how the seats stand at a version, while the sale stands so."""
        return (self.version, self.sale) == (version, sale) and time.monotonic() < self.read_at + KEPT_SECONDS

    @property
    def tag(self) -> str:
        """The ETag."""
        return status_tag(self.version, self.sale, None)


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a stranger asks: which showtime, what they know of it already, and where they ask.

    `where` is all of the address, and of how it was reached, that the headers of an answer depend on.
    """

    showtime_id: int
    known: bytes
    where: tuple[str, bytes, bytes]
    path: str
    address: str | None

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> Question | None:
        """Return what a request asks; None if it is anything else."""
        path = PATH.fullmatch(scope["path"])
        if path is None or scope["method"] != "GET" or scope["query_string"]:
            return None
        headers = dict(scope["headers"])
        accepts = headers.get(b"accept", ANY_TYPE)
        if not headers.keys().isdisjoint(TELLING) or accepts not in (ANY_TYPE, JSON_TYPE) or b"host" not in headers:
            return None
        return cls(
            showtime_id=int(path[1]),
            known=headers.get(b"if-none-match", b""),
            where=(scope["scheme"], headers[b"host"], headers.get(b"x-forwarded-proto", b"")),
            path=scope["path"],
            address=scope["client"][0] if scope.get("client") else None,
        )


class QuickStatus:
    """The ASGI application that answers strangers who ask how the seats stand, and leaves the rest to another one.

    Args:
        usual_way: answers everything.
    """

    def __init__(self, usual_way: Application) -> None:
        self._usual_way = usual_way
        self._headers: dict[tuple[str, bytes, bytes], Headers] = {}
        self._boards: dict[int, Board] = {}
        self._reading: dict[int, asyncio.Future[Board]] = {}
        self._versions = SharedVersions()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request of ASGI's type `http`."""
        question = Question.of(scope)
        if question is None:
            await self._usual_way(scope, receive, send)
            return
        headers = self._headers.get(question.where)
        if headers is None:
            await self._usual_way(scope, receive, self._learning(question, send))
            return
        answer = await self._answer(question)
        if answer is None:
            # Nothing of the body was taken, for there is none.
            await self._usual_way(scope, receive, send)
            return
        status, tag, content = answer
        own = [(b"etag", tag), (b"content-length", str(len(content)).encode())]
        if status == HTTPStatus.NOT_MODIFIED:
            headers = [header for header in headers if header[0] != b"content-type"]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})
        await send({"type": "http.response.body", "body": content})
        log.info(
            "request_finished",
            code=status,
            request=f"GET {question.path}",
            ip=question.address,
            request_id=str(uuid.uuid4()),
        )

    def _learning(self, question: Question, send: Send) -> Send:
        """Return a `send` that learns the headers of an answer on its way."""

        async def learn(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.OK:
                if len(self._headers) >= MOST_HOSTS:
                    self._headers.clear()
                kept = [header for header in message["headers"] if header[0] not in OF_ONE_ANSWER]
                self._headers[question.where] = kept
            await send(message)

        return learn

    async def _answer(self, question: Question) -> tuple[int, bytes, bytes] | None:
        """Return status, tag and body; None if the usual way knows better what to say."""
        try:
            found = await self._versions.of(question.showtime_id)
            if found is None:
                return None
            now, version, sale = found
            board = self._boards.get(question.showtime_id)
            if board is None or not board.shows(version, sale):
                board = await self._read(question.showtime_id)
        except (DatabaseError, Refusal):
            return None
        if board.version < version:
            # It was being read when what is asked for was not committed yet.
            return None
        known = parse_etags(question.known.decode("latin-1"))
        if is_one_of(known, board.tag):
            return HTTPStatus.NOT_MODIFIED, board.tag.encode(), b""
        return HTTPStatus.OK, board.tag.encode(), board.content(instant(now), presence().count(question.showtime_id))

    async def _read(self, showtime_id: int) -> Board:
        """Return the seats as they stand now; whoever else wants them meanwhile waits for the same."""
        reading = self._reading.get(showtime_id)
        if reading is None:
            reading = self._reading[showtime_id] = asyncio.ensure_future(self._read_once(showtime_id))
        return await asyncio.shield(reading)

    async def _read_once(self, showtime_id: int) -> Board:
        try:
            board = await service_threads().run(_board, showtime_id)
            if len(self._boards) >= MOST_KEPT:
                self._boards.clear()
            self._boards[showtime_id] = board
            return board
        finally:
            del self._reading[showtime_id]


def _board(showtime_id: int) -> Board:
    read_at = time.monotonic()
    return Board.of(seat_snapshot(showtime_id=showtime_id, holder_id=None), read_at)


class SharedVersions:
    """PostgreSQL's versions, read at once for all who ask while the reading before theirs is under way."""

    def __init__(self) -> None:
        self._wanted: set[int] = set()
        self._next: asyncio.Future[Found] | None = None
        # One reading at a time: the next one is for all who come meanwhile.
        self._reading = asyncio.Lock()

    async def of(self, showtime_id: int) -> tuple[dt.datetime, int, SaleState] | None:
        """Return PostgreSQL's time, a showtime's version, and how its sale stands; all of it after the question.

        None if it was never used, or is not there.
        """
        if self._next is None:
            self._wanted = set()
            self._next = asyncio.ensure_future(self._read(self._wanted))
        self._wanted.add(showtime_id)
        # Whoever waits may leave, and the others still want it.
        now, found = await asyncio.shield(self._next)
        if now is None or showtime_id not in found:
            return None
        return now, *found[showtime_id]

    async def _read(self, wanted: set[int]) -> Found:
        async with self._reading:
            # For those who come from now on, what is read here may be too old.
            self._next = None
            return await hub_thread().run(current_versions, showtime_ids=list(wanted))
