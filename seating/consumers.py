"""The socket `/ws/seats/`: seats as they stand and change, and the same operations as the REST API.

It is a plain ASGI application: what Channels' own consumers add is a channel per socket, and here a whole process
listens through one (`seating.live.hub`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, ClassVar

import structlog
from django.conf import settings
from rest_framework.serializers import Serializer

from cinebook.core.error_responses import ERRORS, error_body
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rate_limits import SEAT_OPERATIONS, LocalBuckets, RateLimit, count_request
from cinebook.core.rest import as_refusal, error_headers
from cinebook.core.sockets import OFFER
from seating.identity import Claimant
from seating.live.addresses import one_of_its_address
from seating.live.frames import FrameId, frame
from seating.live.handshake import SocketVisitor, visitor_of
from seating.live.hub import hub
from seating.live.sessions import ended_sessions
from seating.live.threads import service_threads
from seating.live.viewer import POLICY_VIOLATION, SERVER_ERROR, Viewer
from seating.selectors.holds import live_holds
from seating.serializers import (
    HoldSerializer,
    ReleaseSerializer,
    ShowtimeOptionalSeatsRequest,
    ShowtimeReleaseRequest,
    ShowtimeRequest,
    ShowtimeSeatsRequest,
)
from seating.services import extend_hold, hold_seats, release_seats

log = structlog.get_logger(__name__)

# The longest frame of a client, in characters: ten seats with their attendees need a fraction of it. Whoever names ten
# thousand seats is still told what is wrong with that, by the id of their frame.
MAX_FRAME = 192 * 1024
LONGEST_ID = 200
LARGEST_NUMBER = 2**63
# Per socket. A page that reloads its map at every change stays far below it.
FRAMES = RateLimit("frames", burst=120, per_second=30)
# How many frames over that limit are answered before the socket is closed.
PATIENCE = RateLimit("frames-over-the-limit", burst=100, per_second=1)
# What the log says of a socket that ended without a code of its own (RFC 6455, section 7.4.1).
NO_CODE, LINE_LOST = 1005, 1006

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Data = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """What a client's frame makes happen, in a thread, for a holder.

    `request` is the shape of its data; `run` does it and returns the data of the answer `success`. A refusal is
    answered by `failure`. If it is `limited`, it counts against the holder's limit on operations with seats.
    """

    request: type[Serializer[Any]]
    run: Callable[[Claimant, Data], Data]
    success: str
    failure: str = "error"
    limited: bool = True


def _hold(claimant: Claimant, asked: Data) -> Data:
    answer = hold_seats(
        holder_id=claimant.holder_id,
        user_id=claimant.user_id,
        showtime_id=asked["showtime_id"],
        codes=asked["seats"],
    )
    return HoldSerializer(answer.hold, context={"token": answer.token}).data


def _release(claimant: Claimant, asked: Data) -> Data:
    answer = release_seats(holder_id=claimant.holder_id, showtime_id=asked["showtime_id"], codes=asked.get("seats"))
    return {"showtime_id": asked["showtime_id"], **ReleaseSerializer(answer).data}


def _extend(claimant: Claimant, asked: Data) -> Data:
    hold = extend_hold(holder_id=claimant.holder_id, showtime_id=asked["showtime_id"], codes=asked.get("seats", ()))
    return HoldSerializer(hold).data


def _holds(claimant: Claimant, asked: Data) -> Data:
    return {"holds": [HoldSerializer(hold).data for hold in live_holds(holder_id=claimant.holder_id)]}


class SeatsConsumer:
    """One socket. `actions` says what its frames can make happen; a subclass may know more."""

    actions: ClassVar[Mapping[str, Action]] = {
        "seat:hold": Action(ShowtimeSeatsRequest, _hold, "seat:hold:success", "seat:hold:failed"),
        "seat:release": Action(ShowtimeReleaseRequest, _release, "seat:release:success"),
        "hold:extend": Action(ShowtimeOptionalSeatsRequest, _extend, "hold:extended"),
        "holds:get": Action(Serializer, _holds, "holds:current", limited=False),
    }

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._buckets = LocalBuckets()
        self._viewer: Viewer

    @classmethod
    async def serve(cls, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket, as an ASGI application."""
        with structlog.contextvars.bound_contextvars(socket=uuid.uuid4().hex[:12]):
            await cls(scope, receive, send).run()

    async def run(self) -> None:
        """Find out who it is, and serve them until they leave."""
        await self._receive()
        with contextlib.ExitStack() as counted:
            try:
                counted.enter_context(one_of_its_address(self._scope))
                visitor = await visitor_of(self._scope)
            except Exception as error:  # noqa: BLE001 - the table of errors knows what each means
                await self._refuse(as_refusal(error))
            else:
                await self._serve(visitor)

    async def _serve(self, visitor: SocketVisitor) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": visitor.subprotocol})
        self._viewer = Viewer(visitor, self._scope.get("extensions", {}).get(OFFER))
        opened_at = time.monotonic()
        log.info("socket.opened", by=visitor.by)
        hub().enter(self._viewer)
        try:
            code = await self._until_it_ends(self._read(), self._viewer.write(self._write), self._until_dropped())
        finally:
            hub().leave(self._viewer)
        log.info("socket.closed", code=code, seconds=round(time.monotonic() - opened_at, 1))

    async def _until_it_ends(self, *works: Any) -> int:
        """Run what a socket does side by side until one part ends; return the code with which the socket closes."""
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            endings = await asyncio.gather(*tasks, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, int):
                return ending
            if isinstance(ending, OSError):
                # The other side has gone while something was written to it.
                return LINE_LOST
            if isinstance(ending, Exception):
                log.error("socket.failed", exc_info=ending)
        await self._close(SERVER_ERROR)
        return SERVER_ERROR

    async def _until_dropped(self) -> int:
        await self._viewer.dropped.wait()
        await self._close(self._viewer.drop_code)
        return self._viewer.drop_code

    async def _read(self) -> int:
        """Take frame after frame; return the code with which the socket ends."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code: int = message.get("code") or NO_CODE
                return code
            wait = self._buckets.take(FRAMES, FRAMES.name) if settings.RATE_LIMITS else 0
            if wait and self._buckets.take(PATIENCE, PATIENCE.name):
                await self._close(POLICY_VIOLATION)
                return POLICY_VIOLATION
            await self._answer(message, wait)

    # --- Frames ------------------------------------------------------------------------------------------------------

    async def _answer(self, message: Mapping[str, Any], wait: float) -> None:
        """Answer a frame; with a refusal, if the next one may only come in `wait` seconds."""
        content: Data = {}
        try:
            content = _parsed(message)
            _check(content, wait)
            await self._act(content["event"], content.get("data", {}), content.get("id"))
        except Exception as error:  # noqa: BLE001 - the table of errors knows what each means
            self._tell_failure(content, as_refusal(error))

    def _tell_failure(self, content: Data, refusal: Refusal) -> None:
        action = self.actions.get(content["event"]) if isinstance(content.get("event"), str) else None
        asked = content.get("data")
        showtime_id = asked.get("showtime_id") if isinstance(asked, dict) else None
        showtime = {"showtime_id": showtime_id} if _is_whole_number(showtime_id) else {}
        frame_id = content["id"] if _is_id(content.get("id")) else None
        self._tell(action.failure if action else "error", {**error_body(refusal), **showtime}, frame_id)

    async def _act(self, event: str, asked: Data, frame_id: FrameId | None) -> None:
        if event == "join:showtime":
            async with hub().turn_of(self._viewer):
                await hub().watch(self._viewer, _showtime_id(asked), frame_id)
        elif event == "leave:showtime":
            hub().unwatch(self._viewer, _showtime_id(asked))
        elif event in self.actions:
            action = self.actions[event]
            async with hub().turn_of(self._viewer):
                answer = await service_threads().run(_run, action, self._viewer.visitor, asked)
            self._tell(action.success, answer, frame_id)
        else:
            raise Refusal(ErrorCode.INVALID_DATA, "There is no such event.")

    def _tell(self, event: str, data: Data, frame_id: FrameId | None) -> None:
        self._viewer.tell(frame(event, data, frame_id))

    # --- The socket itself -------------------------------------------------------------------------------------------

    async def _write(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int) -> None:
        try:
            async with asyncio.timeout(1):
                await self._send({"type": "websocket.close", "code": code})
        except (OSError, TimeoutError):
            # It has gone, or takes nothing any more: the server drops it when this application returns.
            return

    async def _refuse(self, refusal: Refusal) -> None:
        log.info("socket.refused", code=refusal.code.value)
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        headers = {"Content-Type": "application/json", **error_headers(refusal)}
        await self._send(
            {
                "type": "websocket.http.response.start",
                "status": ERRORS[refusal.code].status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            }
        )
        body = json.dumps(error_body(refusal)).encode()
        await self._send({"type": "websocket.http.response.body", "body": body})


def _parsed(message: Mapping[str, Any]) -> Data:
    """Return what a frame says.

    Raises:
        Refusal: `invalid_data` if it is no JSON object in text, `payload_too_large`.
    """
    text = message.get("text")
    if text is None:
        raise Refusal(ErrorCode.INVALID_DATA, "Please send JSON as text.")
    if len(text) > MAX_FRAME:
        raise Refusal(ErrorCode.PAYLOAD_TOO_LARGE)
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refusal(ErrorCode.INVALID_DATA, "This is not JSON.") from error
    if not isinstance(content, dict):
        raise Refusal(ErrorCode.INVALID_DATA)
    return content


def _no_number(constant: str) -> None:
    raise ValueError(constant)


def _check(content: Data, wait: float) -> None:
    """Refuse what is no frame, or comes too soon.

    Raises:
        Refusal: `invalid_data`, `rate_limited`.
    """
    if wait:
        raise Refusal(ErrorCode.RATE_LIMITED, retry_after=math.ceil(wait))
    if not isinstance(content.get("event"), str) or not isinstance(content.get("data", {}), dict):
        raise Refusal(ErrorCode.INVALID_DATA)
    if content.get("id") is not None and not _is_id(content["id"]):
        raise Refusal(ErrorCode.INVALID_DATA, "The id must be a short text or a whole number.")


def _is_id(given: Any) -> bool:
    """Return whether something may be the id of a frame, which the answer repeats."""
    return _is_whole_number(given) or (isinstance(given, str) and len(given) <= LONGEST_ID)


def _is_whole_number(given: Any) -> bool:
    return type(given) is int and abs(given) < LARGEST_NUMBER


def _showtime_id(asked: Data) -> int:
    request = ShowtimeRequest(data=asked)
    request.is_valid(raise_exception=True)
    showtime_id: int = request.validated_data["showtime_id"]
    return showtime_id


def _run(action: Action, visitor: SocketVisitor, asked: Data) -> Data:
    claimant = visitor.claimant
    if claimant is None or (visitor.session and ended_sessions([visitor.session])):
        raise Refusal(ErrorCode.NOT_AUTHENTICATED)
    request = action.request(data=asked)
    request.is_valid(raise_exception=True)
    if action.limited:
        count_request(SEAT_OPERATIONS, str(claimant.holder_id))
    return action.run(claimant, request.validated_data)
