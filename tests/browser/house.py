"""A whole house for browsers: the real server, in two processes, with a demo cinema of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.cinema import Cinema, running_cinema

PREPARE = """
from django.core.management import call_command
call_command("prepare")
"""
PROCESSES = "2"


class House:
    """A running CineBook, and a way to be somebody else in it."""

    def __init__(self, cinema: Cinema) -> None:
        self._cinema = cinema
        [self._web] = cinema.web
        self.address = self._web.address
        later = self.sql("SELECT id FROM seating_showtime WHERE starts_at > now() + '6 hours' ORDER BY id")
        self._showtimes = iter([row[0] for row in later])

    def restart(self) -> None:
        """Stop the server, as a new version does it, and start it again."""
        self._web.restart()

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the house's database; return its rows."""
        return self._cinema.sql(statement, *parameters)

    def showtime(self, *, hold_seconds: int | None = None) -> int:
        """Return a showtime that no other test uses, in the smallest room."""
        for number in self._showtimes:
            [(slug,)] = self.sql(
                "SELECT slug FROM seating_auditorium a JOIN seating_showtime s ON s.auditorium_id = a.id"
                " WHERE s.id = %s",
                number,
            )
            if slug == "nonstop":
                self.sql("UPDATE seating_showtime SET hold_seconds = %s WHERE id = %s", hold_seconds, number)
                return int(number)
        raise AssertionError("the demo cinema has too few showtimes")

    def page(self, showtime_id: int) -> str:
        """Return the address of a seat map."""
        return f"{self.address}/showtimes/{showtime_id}/"

    def guest(self) -> str:
        """Return the token of a new guest."""
        return self._web.guest()

    def hold(self, token: str, showtime_id: int, *codes: str) -> dict[str, Any]:
        """Hold seats for a guest."""
        held: dict[str, Any] = self._web.ask("POST", f"showtimes/{showtime_id}/seats/lock", {"seats": codes}, token)
        return held

    def let_go(self, token: str, showtime_id: int) -> dict[str, Any]:
        """Let go all that a guest has."""
        left: dict[str, Any] = self._web.ask("DELETE", f"showtimes/{showtime_id}/seats/unlock", {}, token)
        return left

    def status(self, showtime_id: int) -> dict[str, str]:
        """Return how the seats stand for a stranger."""
        seats: dict[str, str] = self._web.ask("GET", f"showtimes/{showtime_id}/seats/status")["seats"]
        return seats


@contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """Run a house for as long as the context lasts.

    Args:
        folder: an empty one, for its data and its logs.
    """
    demo = {"DEMO_CINEMA": "on", "DEMO_USERS": "on"}
    with running_cinema(
        folder=folder, prepare=PREPARE, webs=1, worker=False, WEB_WORKERS=PROCESSES, RATE_LIMITS="on", **demo
    ) as cinema:
        yield House(cinema)
