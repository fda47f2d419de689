"""Hold, extend, buy and follow the seats of one showtime, all over one socket.

    pip install websockets    # 14 or newer
    python follow_showtime.py 7 follow
    python follow_showtime.py 7 hold A5 A6 --keep 60 --buy

It is an example to be read from top to bottom and to be taken apart: `SeatMap` and `Resync` are the rules by which a
map cannot stay wrong, without any network; `Showtime` is the line, which comes back after every loss; the rest is a
command line. What the frames mean is told in docs/protocol.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import itertools
import json
import logging
import math
import os
import random
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

log = logging.getLogger("follow_showtime")

# The server's heart beats every 10 s. Whoever has heard nothing for so long is talking to nobody, though no network and
# no operating system may have said so.
SILENCE_SECONDS = 13.0
# A heartbeat may overtake the change that it knows of: the change has so long to arrive.
OVERTAKEN_SECONDS = 1.0
# All who have missed the same change would ask at the same moment; chance spreads them over this.
SPREAD_SECONDS = 0.3
# A snapshot that has not come by then is asked for again.
SNAPSHOT_SECONDS = 5.0
# Between two attempts to connect: doubled with each, up to the longest, and between a half and all of it by chance.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
# Between two extensions of a hold, however short its time is.
SHORTEST_SECONDS = 1.0

Status = Literal["available", "locked", "selected", "occupied", "blocked"]


class Money(TypedDict):
    """An amount as a decimal number, and the ISO code of its currency."""

    amount: str
    currency: str


class Hold(TypedDict):
    """What one holder has at one showtime. Instants are RFC 3339 by the server's clock; `expires_in` is in seconds."""

    hold_id: str
    hold_token: NotRequired[str]
    showtime_id: int
    seats: list[str]
    locked_at: str
    expires_at: str
    expires_in: int
    max_expires_at: str
    paying: bool
    total: Money
    server_time: str


class Snapshot(TypedDict):
    """Every seat at one version, as this viewer sees it."""

    showtime_id: int
    version: int
    server_time: str
    on_sale: bool
    cancelled: bool
    viewers: int
    seats: dict[str, Status]
    hold: Hold | None


class Change(TypedDict):
    """The seats that are different at `version` from what they were at `from_version`; the same for everybody."""

    showtime_id: int
    from_version: int
    version: int
    changes: dict[str, Status]


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """The server has said no.

    Attributes:
        code: why, for programs: `seat_held`, `hold_expired`, …
        seats: why, seat by seat, where seats were asked for.
        alternatives: free seats together and near, in their place.
        retry_after: in how many seconds the same may be asked again; None if that would not help.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["detail"])
        self.code: str = error["code"]
        self.seats: dict[str, str] = error.get("seats", {})
        self.alternatives: list[list[str]] = error.get("alternatives", [])
        self.retry_after: float | None = error.get("retry_after")


# --- What is known ---------------------------------------------------------------------------------------------------


class SeatMap:
    """The seats of a showtime, as far as this client knows. It asks nobody.

    A snapshot and the changes that follow it give the next snapshot. That a seat is one's own is said by the hold
    alone: in a change it reads `locked`, as for everybody.
    """

    def __init__(self) -> None:
        self.version = -1
        self.on_sale = False
        self.cancelled = False
        self.viewers = 0
        self.hold: Hold | None = None
        self._hold_told_at = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._seats: dict[str, Status] = {}

    def seats(self) -> dict[str, Status]:
        """Return the status of every seat as this viewer sees it: their own are `selected`."""
        own = self.hold["seats"] if self.hold else []
        return {**self._seats, **{code: "selected" for code in own if code in self._seats}}

    def replace(self, snapshot: Snapshot) -> None:
        """Take a snapshot as it is, also if its version is lower: then the database was put back to earlier."""
        self.version = snapshot["version"]
        self.on_sale, self.cancelled, self.viewers = snapshot["on_sale"], snapshot["cancelled"], snapshot["viewers"]
        seats, hold = snapshot["seats"], snapshot["hold"]
        self._seats = {code: "locked" if status == "selected" else status for code, status in seats.items()}
        # Seats and hold are read one after the other. Where they contradict each other, what is known of the hold
        # stays.
        if hold or "selected" not in seats.values():
            self.learn_hold(hold, hold["server_time"] if hold else snapshot["server_time"])

    def apply(self, change: Change) -> bool:
        """Apply a change if it leads on from here, and pass it over if it is old.

        Returns:
            False if something between was missed: only a snapshot helps.
        """
        if change["version"] <= self.version:
            return True
        if change["from_version"] != self.version:
            return False
        self.version = change["version"]
        self._seats |= change["changes"]
        return True

    def learn_hold(self, hold: Hold | None, told_at: str) -> None:
        """Learn what this viewer holds, unless something newer is known.

        Args:
            hold: None for nothing.
            told_at: when that was so, by the server's clock.
        """
        at = dt.datetime.fromisoformat(told_at)
        if at >= self._hold_told_at:
            self.hold, self._hold_told_at = hold, at

    def lapse(self, hold_id: str) -> None:
        """Learn that the time of a hold is over."""
        if self.hold and self.hold["hold_id"] == hold_id:
            self.hold = None


class Resync:
    """When to ask for a snapshot: only if the map does not get there by itself, one at a time, and not all at once.

    Instants are those of the event loop's clock, in seconds.
    """

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._wanted = -math.inf
        self._asked: int | None = None
        self.look_at = math.inf
        """When `due` should be asked next."""

    def want(self, version: float, *, by: float) -> None:
        """Want the map to be at a version, or beyond it, at an instant; infinity is a version that it never reaches."""
        by += SPREAD_SECONDS * self._chance()
        if self._asked is None and by < self.look_at:
            self._wanted, self.look_at = version, by

    def due(self, version: int, now: float) -> bool:
        """Return whether to ask, now that the map is at `version`."""
        if now < self.look_at:
            return False
        if self._asked is None and version >= self._wanted:
            self.look_at = math.inf
            return False
        return True

    def asked(self, frame_id: int, now: float) -> None:
        """Note that the frame `frame_id` has asked: nothing more is due until it is answered, or should have been."""
        self._asked, self.look_at = frame_id, now + SNAPSHOT_SECONDS

    def has_asked(self, frame_id: int | None) -> bool:
        """Return whether it is the frame that has asked."""
        return frame_id is not None and frame_id == self._asked

    def answered(self, frame_id: int | None) -> None:
        """Note that a snapshot has come, as the answer to a frame or (None) by itself."""
        if self._asked in {None, frame_id}:
            self._asked, self.look_at = None, math.inf


# --- The line --------------------------------------------------------------------------------------------------------


class Showtime:
    """A showtime, live, for as long as the context lasts.

        async with Showtime("http://127.0.0.1:8000", 7, token) as showtime:
            await showtime.hold("A5", "A6")
            async for changed in showtime.changes():
                …

    Connections come and go; what was asked is asked again on the next one. That does no harm: seats that one holds can
    be held again, and seats that one has bought give the same booking.

    Args:
        address: of the house, as `https://cinema.example`.
        showtime_id: which one.
        token: of a user (`POST auth/token`) or a guest; without one, one may only look.
    """

    def __init__(self, address: str, showtime_id: int, token: str = "") -> None:
        self.map = SeatMap()
        self.live = False
        """Whether the map is being kept up to date at the moment."""
        self._url = f"ws{address.removeprefix('http').rstrip('/')}/ws/seats/"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._showtime_id = showtime_id
        self._numbers = itertools.count(1)
        self._losses = 0
        self._line: ClientConnection | None = None
        self._resync = Resync()
        # What was asked and is not answered yet, by the id of its frame.
        self._asked: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._news = asyncio.Event()
        self._work: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._stay_connected())
        self._work.add_done_callback(self._end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._work.cancel()
        await asyncio.wait([self._work])

    # What one can do. Each of these raises `Refused` if the server says no, and TimeoutError if `within` seconds have
    # passed without an answer: then it may or may not have been done, and the map will show which.

    async def hold(self, *seats: str, within: float = 60) -> Hold:
        """Hold seats, beside those that one has: all of them or none.

        Returns:
            The hold; with its `hold_token` if it was made just now and the answer was not lost on its way.
        """
        hold: Hold = await self._ask("seat:hold", {"seats": seats}, within)
        return hold

    async def extend(self, *, within: float = 60) -> Hold:
        """Have the full time again for what one holds; at the cap, `expires_at` stays what it was."""
        hold: Hold = await self._ask("hold:extend", {}, within)
        return hold

    async def keep(self) -> None:
        """Extend the hold again and again; return when it cannot be extended any further."""
        hold = await self.extend()
        while True:
            # The server tells durations, so nobody's clock need be right.
            await asyncio.sleep(max(hold["expires_in"] / 2, SHORTEST_SECONDS))
            before, hold = hold, await self.extend()
            if hold["expires_at"] == before["expires_at"]:
                return

    async def release(self, *seats: str, within: float = 60) -> list[str]:
        """Let go of seats, or of all that one holds; return those that were one's own."""
        answer = await self._ask("seat:release", {"seats": seats} if seats else {}, within)
        released: list[str] = answer["released"]
        return released

    async def buy(
        self, *seats: str, name: str, email: str, provider: str = "demo", within: float = 60
    ) -> dict[str, Any]:
        """Buy seats that one holds; others of the hold are released.

        Returns:
            The booking. While its `status` is `PENDING`, the buyer has to go to `payment.redirect_url`.
        """
        contact, payment = {"name": name, "email": email}, {"provider": provider}
        order = {"seats": seats, "contact": contact, "payment": payment}
        booking: dict[str, Any] = await self._ask("booking:confirm", order, within)
        return booking

    async def changes(self) -> AsyncIterator[dict[str, Status]]:
        """Yield first every seat, and then, again and again, those whose status is another than was last yielded.

        Whoever takes their time gets the newest status of each seat, and no queue. It does not matter how a change was
        found out: after a loss, the difference comes like any other.
        """
        told: dict[str, Status] = {}
        while True:
            self._raise_if_ended()
            news, seats = self._news, self.map.seats()
            if changed := {code: status for code, status in seats.items() if told.get(code) != status}:
                told = seats
                yield changed
            else:
                await news.wait()

    # The rest is how.

    async def _ask(self, event: str, data: dict[str, Any], within: float) -> Any:
        async with asyncio.timeout(within):
            while True:
                try:
                    return await self._answer(event, {"showtime_id": self._showtime_id, **data})
                except Refused as refusal:
                    if refusal.retry_after is None:
                        raise
                    await asyncio.sleep(refusal.retry_after)

    async def _answer(self, event: str, data: dict[str, Any]) -> Any:
        self._raise_if_ended()
        frame_id = next(self._numbers)
        text = json.dumps({"event": event, "data": data, "id": frame_id})
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[frame_id] = text, answer
        try:
            if self._line:
                # If the line is lost meanwhile, the next one sends it again.
                with contextlib.suppress(ConnectionClosed):
                    await self._line.send(text)
            return await answer
        finally:
            del self._asked[frame_id]

    async def _stay_connected(self) -> None:
        while True:
            least = 0.0
            try:
                # The server's heartbeat tells more than pings: it comes from where the changes come from.
                async with connect(
                    self._url,
                    additional_headers=self._headers,
                    open_timeout=SILENCE_SECONDS,
                    close_timeout=1,
                    ping_interval=None,
                ) as line:
                    await self._follow(line)
            except InvalidStatus as error:
                least = _seconds_to_wait(error)
                log.info("The server answers %s.", error.response.status_code)
            except (OSError, WebSocketException) as error:
                log.info("The line is lost: %s.", error or "silence")
            finally:
                self._line = None
                self.live = False
                self._tell()
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._losses)
            self._losses += 1
            await asyncio.sleep(least + pause * random.uniform(0.5, 1))  # noqa: S311 - it is no secret

    async def _follow(self, line: ClientConnection) -> None:
        """Live on one line until it is lost."""
        clock = asyncio.get_running_loop().time
        heard_at = clock()
        self._resync = Resync()
        await self._join(line)
        self._line = line
        for text, _answer in list(self._asked.values()):
            await line.send(text)
        while True:
            if self._resync.due(self.map.version, clock()):
                await self._join(line)
            silent_at = heard_at + SILENCE_SECONDS
            try:
                async with asyncio.timeout_at(min(silent_at, self._resync.look_at)):
                    text = str(await line.recv())
            except TimeoutError:
                if clock() >= silent_at:
                    raise
                continue
            heard_at = clock()
            self._take(json.loads(text), heard_at)

    async def _join(self, line: ClientConnection) -> None:
        frame_id = next(self._numbers)
        self._resync.asked(frame_id, asyncio.get_running_loop().time())
        frame = {"event": "join:showtime", "data": {"showtime_id": self._showtime_id}, "id": frame_id}
        await line.send(json.dumps(frame))

    def _take(self, frame: dict[str, Any], now: float) -> None:
        """Take one frame of the server's; whatever is not known here may be passed over."""
        data, frame_id = frame["data"], frame.get("id")
        # What becomes of holds at other showtimes is told to all sockets of their holder.
        if data.get("showtime_id", self._showtime_id) == self._showtime_id:
            self._learn(frame["event"], data, frame_id, now)
            self._tell()
        if frame_id in self._asked:
            _settle(self._asked[frame_id][1], frame)

    def _learn(self, event: str, data: Any, frame_id: int | None, now: float) -> None:
        match event:
            case "seats:availability":
                self.map.replace(data)
                self._resync.answered(frame_id)
                self._losses, self.live = 0, True
            case "seat:status:changed":
                if not self.map.apply(data):
                    self._resync.want(data["version"], by=now)
            case "heartbeat":
                self.map.viewers = data["viewers"]
                self._resync.want(data["version"], by=now + OVERTAKEN_SECONDS)
            case "error" if self._resync.has_asked(frame_id):
                self._learn_refusal(Refused(data), frame_id, now)
            case _:
                self._learn_hold(event, data, now)

    def _learn_hold(self, event: str, data: Any, now: float) -> None:
        match event:
            case "seat:hold:success" | "hold:extended":
                self.map.learn_hold(data, data["server_time"])
            case "seat:release:success":
                self.map.learn_hold(data["hold"], data["server_time"])
            case "hold:expired":
                self.map.lapse(data["hold_id"])
            case "hold:changed" if data["hold"]:
                self.map.learn_hold(data["hold"], data["hold"]["server_time"])
            case "hold:changed" if self.map.hold:
                # That there is no hold comes without a time: it may be older than what an answer has told since.
                self._resync.want(math.inf, by=now)

    def _learn_refusal(self, refusal: Refused, frame_id: int | None, now: float) -> None:
        if refusal.code in {"not_found", "invalid_data"}:
            raise refusal
        self._resync.answered(frame_id)
        self._resync.want(math.inf, by=now + (refusal.retry_after or SNAPSHOT_SECONDS))

    def _tell(self) -> None:
        """Wake whoever waits for news."""
        self._news.set()
        self._news = asyncio.Event()

    def _end(self, work: asyncio.Task[None]) -> None:
        """Tell everybody who waits that nothing more will come."""
        why = _why_it_ended(work)
        for _text, answer in self._asked.values():
            if not answer.done():
                answer.set_exception(why)
        self._tell()

    def _raise_if_ended(self) -> None:
        if self._work.done():
            raise _why_it_ended(self._work)


def _settle(answer: asyncio.Future[Any], frame: dict[str, Any]) -> None:
    if answer.done():
        return
    # The events of an answer are those of docs/protocol.md: whatever failed says so.
    if frame["event"] == "error" or frame["event"].endswith(":failed"):
        answer.set_exception(Refused(frame["data"]))
    else:
        answer.set_result(frame["data"])


def _why_it_ended(work: asyncio.Task[None]) -> BaseException:
    error = None if work.cancelled() else work.exception()
    return error or ConnectionError("The showtime was left.")


def _seconds_to_wait(error: InvalidStatus) -> float:
    """Return how long to stay away, at least, after the server has not let us in.

    Raises:
        Refused: it never will, because the token is bad, for instance.
    """
    response = error.response
    if response.status_code >= 500 or response.status_code == 429:  # noqa: PLR2004 - HTTP's
        return float(response.headers.get("Retry-After", 0))
    told = {}
    # It may have been something between here and the server that has answered.
    with contextlib.suppress(ValueError):
        told = json.loads(response.body or b"")
    raise Refused({"code": "not_connected", "detail": str(error), **told}) from error


# --- The command line ------------------------------------------------------------------------------------------------


def guest_token(address: str) -> str:
    """Return the token of a new guest of a house; a user's is had by `POST auth/token`."""
    request = urllib.request.Request(f"{address}/api/v1/auth/guest", method="POST")  # noqa: S310 - it is yours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        token: str = json.load(answer)["access"]
    return token


async def follow(showtime: Showtime) -> None:
    """Print every change, until somebody presses Ctrl-C."""
    first = True
    async for changed in showtime.changes():
        known = showtime.map
        if first:
            free = list(changed.values()).count("available")
            print(f"{free} of {len(changed)} seats are free (version {known.version}, {known.viewers} looking on)")
        else:
            print(f"version {known.version}: " + ", ".join(f"{code} {status}" for code, status in changed.items()))
        first = False


async def hold(showtime: Showtime, seats: Sequence[str], *, keep: float, buyer: tuple[str, str] | None) -> None:
    """Hold seats, keep them for some seconds, and then buy them or let them go.

    Args:
        buyer: their name and address; None lets go.
    """
    held = await showtime.hold(*seats)
    total = f"{held['total']['amount']} {held['total']['currency']}"
    print(f"held {', '.join(held['seats'])} for {held['expires_in']} s: {total}")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(keep):
            await showtime.keep()
    if buyer:
        booking = await showtime.buy(*seats, name=buyer[0], email=buyer[1])
        print(f"booking {booking['reference']} is {booking['status']}", booking["payment"].get("redirect_url", ""))
    else:
        print(f"let go {', '.join(await showtime.release(*seats))}")


def arguments() -> argparse.ArgumentParser:
    """Return what the command line understands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("showtime", type=int, help="its number, as in the address of its page")
    parser.add_argument("--address", default="http://127.0.0.1:8000", help="where the house is (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("follow", help="print every change")
    holding = commands.add_parser("hold", help="hold seats, keep them, and buy them or let them go")
    holding.add_argument("seats", nargs="+")
    holding.add_argument("--keep", type=float, default=0, help="for how many seconds")
    holding.add_argument("--buy", action="store_true")
    holding.add_argument("--name", default="Ada Example")
    holding.add_argument("--email", default="ada@example.org")
    return parser


async def main() -> int:
    """Do what the command line says; return how the process ends."""
    chosen = arguments().parse_args()
    try:
        token = os.environ.get("CINEBOOK_TOKEN") or guest_token(chosen.address)
        async with Showtime(chosen.address, chosen.showtime, token) as showtime:
            if chosen.command == "follow":
                await follow(showtime)
            else:
                buyer = (chosen.name, chosen.email) if chosen.buy else None
                await hold(showtime, chosen.seats, keep=chosen.keep, buyer=buyer)
    except Refused as refusal:
        others = "; ".join(" ".join(group) for group in refusal.alternatives)
        print(f"{refusal.code}: {refusal}", f"Free: {others}." if others else "", file=sys.stderr)
        return 1
    except urllib.error.URLError as error:
        print(f"{chosen.address} does not let a guest in: {error}. Is CineBook running there?", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
