"""What is done to CineBook and to the textbook alike, by `bench/compare.py`.

A cinema knows how its server is asked; a scene is a crowd of clients (`http_load.py`) that ask it for the same things.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

from bench.http_load import Client, Reply, Request, request

CLIENTS = 50
# How many people are behind one client, one after the other: so many that nobody wants more than a hold may have.
PEOPLE = 5
SEATS = 2
CONTACT = {"name": "Ada Example", "email": "ada@example.org"}


class Cinema(Protocol):
    """How a server is asked. `codes_of` reads the free seats out of the answer to `status`."""

    def status(self, showtime: int, *, etag: str = "") -> Request:
        """Ask how the seats stand."""

    def page(self, showtime: int) -> Request:
        """Ask for the page with the seat map."""

    def hold(self, showtime: int, codes: Collection[str], token: str, *, counted: bool = True) -> Request:
        """Hold seats."""

    def extend(self, showtime: int, token: str) -> Request:
        """Give one's hold more time."""

    def buy(self, showtime: int, codes: Collection[str], token: str) -> Request:
        """Buy what one holds."""

    def free(self, answer: Any) -> list[str]:
        """Return the free seats that a status names."""


class CineBook:
    """CineBook, by its API."""

    def status(self, showtime: int, *, etag: str = "") -> Request:
        """Ask how the seats stand."""
        return request("GET", f"/api/v1/showtimes/{showtime}/seats/status", etag=etag)

    def page(self, showtime: int) -> Request:
        """Ask for the page with the seat map."""
        return request("GET", f"/showtimes/{showtime}/")

    def hold(self, showtime: int, codes: Collection[str], token: str, *, counted: bool = True) -> Request:
        """Hold seats."""
        path = f"/api/v1/showtimes/{showtime}/seats/lock"
        return request("POST", path, token=token, body={"seats": list(codes)}, counted=counted)

    def extend(self, showtime: int, token: str) -> Request:
        """Give one's hold more time."""
        return request("PUT", f"/api/v1/showtimes/{showtime}/seats/extend-lock", token=token, body={})

    def buy(self, showtime: int, codes: Collection[str], token: str) -> Request:
        """Buy what one holds."""
        body = {"showtime_id": showtime, "seats": list(codes), "contact": CONTACT, "payment": {"provider": "demo"}}
        return request("POST", "/api/v1/bookings/confirm", token=token, body=body)

    def free(self, answer: Any) -> list[str]:
        """Return the free seats that a status names."""
        return [code for code, status in answer["seats"].items() if status == "available"]


class Textbook:
    """The textbook."""

    def status(self, showtime: int, *, etag: str = "") -> Request:
        """Ask how the seats stand."""
        return request("GET", f"/api/showtimes/{showtime}/seats", etag=etag)

    def page(self, showtime: int) -> Request:
        """Ask for the page with the seat map."""
        return request("GET", f"/showtimes/{showtime}/")

    def hold(self, showtime: int, codes: Collection[str], token: str, *, counted: bool = True) -> Request:
        """Hold seats."""
        path = f"/api/showtimes/{showtime}/hold"
        return request("POST", path, token=token, body={"seats": list(codes)}, counted=counted)

    def extend(self, showtime: int, token: str) -> Request:
        """Give one's hold more time."""
        return request("PUT", f"/api/showtimes/{showtime}/hold", token=token)

    def buy(self, showtime: int, codes: Collection[str], token: str) -> Request:
        """Buy what one holds."""
        return request("POST", f"/api/showtimes/{showtime}/buy", token=token)

    def free(self, answer: Any) -> list[str]:
        """Return the free seats that a status names."""
        return [seat["code"] for seat in answer if seat["status"] == "available"]


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """Where scenes are played: showtimes that nobody has been at, in a small room and in a large one.

    `tokens` are of `CLIENTS * PEOPLE` people.
    """

    cinema: Cinema
    showtimes: Iterator[int]
    codes: Sequence[str]
    large_showtimes: Iterator[int]
    large_codes: Sequence[str]
    tokens: Sequence[str]

    def pairs(self, codes: Sequence[str], client: int) -> Iterator[tuple[str, Sequence[str]]]:
        """Return who takes which seats of a room, for one client."""
        for place in range(client, len(codes) // SEATS, CLIENTS):
            yield self.tokens[place % len(self.tokens)], codes[SEATS * place : SEATS * (place + 1)]


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What a crowd does, and at how many showtimes. `right` are the statuses of the answers that it is about."""

    name: str
    clients: Callable[[Stage], list[Client]]
    right: Collection[int]
    showtimes: int = 1
    large_showtimes: int = 0


def _hold_in_many(stage: Stage) -> list[Client]:
    showtimes = [next(stage.showtimes) for _number in range(SHOWTIMES)]

    def client(number: int) -> Client:
        # Each begins elsewhere.
        begin = number * len(showtimes) // CLIENTS
        for token, codes in stage.pairs(stage.codes, number):
            for showtime in [*showtimes[begin:], *showtimes[:begin]]:
                yield stage.cinema.hold(showtime, codes, token)

    return [client(number) for number in range(CLIENTS)]


def _hold_in_one(stage: Stage) -> list[Client]:
    showtime = next(stage.large_showtimes)

    def client(number: int) -> Client:
        for token, codes in stage.pairs(stage.large_codes, number):
            yield stage.cinema.hold(showtime, codes, token)

    return [client(number) for number in range(CLIENTS)]


def _reject(stage: Stage) -> list[Client]:
    showtime = next(stage.showtimes)
    wanted = stage.codes[:SEATS]
    held: list[bool] = []

    def client(number: int) -> Client:
        if not number:
            held.append((yield stage.cinema.hold(showtime, wanted, stage.tokens[0], counted=False)).status == HELD)
        while not held:
            # Until the first has them.
            yield _not_counted(stage.cinema.status(showtime))
        while number:
            yield stage.cinema.hold(showtime, wanted, stage.tokens[number])

    return [client(number) for number in range(CLIENTS + 1)]


def _status(stage: Stage) -> list[Client]:
    showtime = next(stage.showtimes)

    def client() -> Client:
        while True:
            yield stage.cinema.status(showtime)

    return [client() for _number in range(CLIENTS)]


def _status_known(stage: Stage) -> list[Client]:
    showtime = next(stage.showtimes)

    def client() -> Client:
        known = yield _not_counted(stage.cinema.status(showtime))
        while True:
            yield stage.cinema.status(showtime, etag=known.etag)

    return [client() for _number in range(CLIENTS)]


def _page(stage: Stage) -> list[Client]:
    showtime = next(stage.showtimes)

    def client() -> Client:
        while True:
            yield stage.cinema.page(showtime)

    return [client() for _number in range(CLIENTS)]


def _extend(stage: Stage) -> list[Client]:
    showtime = next(stage.showtimes)

    def client(number: int) -> Client:
        token, codes = next(stage.pairs(stage.codes, number))
        yield stage.cinema.hold(showtime, codes, token, counted=False)
        while True:
            yield stage.cinema.extend(showtime, token)

    return [client(number) for number in range(CLIENTS)]


def _buy(stage: Stage) -> list[Client]:
    showtimes = [next(stage.showtimes) for _number in range(SHOWTIMES_SOLD)]

    def client(number: int) -> Client:
        for token, codes in stage.pairs(stage.codes, number):
            for showtime in showtimes:
                yield stage.cinema.hold(showtime, codes, token, counted=False)
                yield stage.cinema.buy(showtime, codes, token)

    return [client(number) for number in range(CLIENTS)]


def _not_counted(asked: Request) -> Request:
    return dataclasses.replace(asked, counted=False)


# Of the answers.
HELD, SOLD, OKAY, KNOWN, REFUSED = 201, 201, 200, 304, 409
# How many showtimes seats are held at, and bought.
SHOWTIMES, SHOWTIMES_SOLD = 40, 8

SCENES = [
    Scene("hold 2 seats, many showtimes", _hold_in_many, {HELD}, showtimes=SHOWTIMES),
    Scene("hold 2 seats, one showtime", _hold_in_one, {HELD}, showtimes=0, large_showtimes=1),
    Scene("reject a held seat", _reject, {REFUSED}),
    Scene("status of 300 seats", _status, {OKAY}),
    Scene("status, 304", _status_known, {KNOWN, OKAY}),
    Scene("page of the seat map", _page, {OKAY}),
    Scene("extend", _extend, {OKAY}),
    Scene("buy", _buy, {SOLD}, showtimes=SHOWTIMES_SOLD),
]


# --- The sell-out ----------------------------------------------------------------------------------------------------


class SellOut:
    """People who want a seat each: they look, take a free one, look again if somebody was quicker, until none is left.

    Args:
        stage: where.
        people: their tokens; more than there are seats.
    """

    def __init__(self, stage: Stage, people: Sequence[str]) -> None:
        self._cinema = stage.cinema
        self._showtime = next(stage.showtimes)
        self._people = iter(people)
        self.held: list[tuple[str, str]] = []
        self.held_at: list[float] = []

    def takers(self, count: int) -> list[Client]:
        """Return so many clients, behind which the people stand in line."""
        return [self._taker() for _number in range(count)]

    def _taker(self) -> Client:
        for token in self._people:
            while True:
                free = self._cinema.free((yield self._cinema.status(self._showtime)).json())
                if not free:
                    break
                code = random.choice(free)
                reply = yield self._cinema.hold(self._showtime, [code], token)
                if reply.status == HELD:
                    self.held.append((token, code))
                    self.held_at.append(_came(reply))
                    break

    def buyers(self, count: int) -> list[Client]:
        """Return so many clients, behind which those stand who hold a seat."""
        line = iter(self.held)

        def buyer() -> Client:
            for token, code in line:
                yield self._cinema.buy(self._showtime, [code], token)

        return [buyer() for _number in range(count)]


def _came(reply: Reply) -> float:
    return reply.sent + reply.seconds
