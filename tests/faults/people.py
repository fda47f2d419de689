"""People at a cinema in real processes, and what must be true of it whatever its engines do."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from redis import Redis

from tests.support.cinema import Cinema, Web, wait_until

PAYMENT = {"provider": "demo", "token": "succeed"}
CONTACT = {"name": "Ada Example", "email": "ada@example.org"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer of the API, and how long it took in seconds."""

    status: int
    body: Any
    headers: Any
    took: float

    @property
    def code(self) -> str:
        """Why it was refused; empty if it was not."""
        return self.body.get("code", "") if self.status >= 400 else ""


@dataclasses.dataclass(frozen=True)
class Person:
    """A guest, who may ask any web process."""

    token: str

    def ask(self, web: Web, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Return the answer, whatever it is."""
        began = time.monotonic()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(
            f"{web.address}/api/v1/{path}",
            json.dumps({} if body is None else body).encode() if method != "GET" else None,
            {"content-type": "application/json", "authorization": f"Bearer {self.token}", **named},
            method=method,
        )
        try:
            with urlopen(request, timeout=30) as answer:
                told = (answer.status, json.load(answer), answer.headers)
        except HTTPError as error:
            with error:
                told = (error.code, json.load(error), error.headers)
        return Answer(*told, time.monotonic() - began)

    def lock(self, web: Web, showtime_id: int, *seats: str) -> Answer:
        """Ask for seats."""
        return self.ask(web, "POST", f"showtimes/{showtime_id}/seats/lock", {"seats": seats})

    def unlock(self, web: Web, showtime_id: int, *seats: str) -> Answer:
        """Let seats go; all, if none is named."""
        return self.ask(web, "DELETE", f"showtimes/{showtime_id}/seats/unlock", {"seats": seats} if seats else {})

    def extend(self, web: Web, showtime_id: int) -> Answer:
        """Renew the time."""
        return self.ask(web, "PUT", f"showtimes/{showtime_id}/seats/extend-lock")

    def buy(self, web: Web, showtime_id: int, *seats: str, key: str = "") -> Answer:
        """Buy seats that are held."""
        body = {"showtime_id": showtime_id, "seats": seats, "contact": CONTACT, "payment": PAYMENT}
        return self.ask(web, "POST", "bookings/confirm", body, **({"Idempotency_Key": key} if key else {}))


def guest(web: Web) -> Person:
    """Return a new guest."""
    return Person(web.guest())


def page(web: Web, path: str) -> tuple[int, Any]:
    """Return the status and the headers of a page."""
    try:
        with urlopen(f"{web.address}{path}", timeout=30) as answer:
            return answer.status, answer.headers
    except HTTPError as error:
        with error:
            return error.code, error.headers


def locks(cinema: Cinema) -> Redis:
    """Return the Redis of the locks, by a straight way."""
    return Redis.from_url(cinema.redis.url, decode_responses=True)


def reserved(cinema: Cinema) -> dict[str, str]:
    """Return the lock that each reserved seat should have, and the hold that it should name."""
    rows = cinema.sql("SELECT showtime_id, code, hold_id FROM seating_seat WHERE status = 'RESERVED'")
    return {f"seat_lock:{{{showtime_id}}}:{code}": str(hold_id) for showtime_id, code, hold_id in rows}


def locked(cinema: Cinema) -> dict[str, str]:
    """Return the locks that there are, and the hold that each names."""
    with locks(cinema) as redis:
        texts = {key: redis.get(key) for key in redis.scan_iter("seat_lock:*")}
    return {key: json.loads(text)["hold_id"] for key, text in texts.items() if text}


def wait_until_redis_agrees(cinema: Cinema, seconds: float) -> None:
    """Return when Redis says what PostgreSQL says (I8)."""
    wait_until(lambda: locked(cinema) == reserved(cinema), "Redis to say what PostgreSQL says", seconds)


def assert_sold_once(cinema: Cinema) -> None:
    """Assert that a seat is sold exactly if one confirmed booking has a good ticket for it (I1, I3)."""
    tickets = cinema.sql(
        "SELECT seat_id FROM bookings_ticket AS ticket JOIN bookings_booking AS booking ON booking.id = booking_id"
        " WHERE booking.status = 'CONFIRMED' AND ticket.cancelled_at IS NULL ORDER BY seat_id"
    )
    assert tickets == cinema.sql("SELECT id FROM seating_seat WHERE status = 'SOLD' ORDER BY id")
