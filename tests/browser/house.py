"""A whole house for browsers: the real server, in two processes, with engines and a demo cinema of its own."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from cinebook import settings
from cinebook.engines.throwaway import Engines, running_engines
from tests.support.ports import free_port

ROOT = Path(settings.__file__).parent.parent
OPENS_WITHIN = 30.0
PROCESSES = 2


class House:
    """A running CineBook, and a way to be somebody else in it."""

    def __init__(self, address: str, database_url: str, restart: Callable[[], None]) -> None:
        self.address = address
        # Stop the server, as a new version does it, and start it again.
        self.restart = restart
        self._database_url = database_url
        later = self.sql("SELECT id FROM seating_showtime WHERE starts_at > now() + '6 hours' ORDER BY id")
        self._showtimes = iter([row[0] for row in later])

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the house's database; return its rows."""
        with psycopg.connect(self._database_url, autocommit=True) as database:
            cursor = database.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

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
        token: str = self._ask("POST", "/api/v1/auth/guest", {})["access"]
        return token

    def hold(self, token: str, showtime_id: int, *codes: str) -> dict[str, Any]:
        """Hold seats for a guest."""
        return self._ask("POST", f"/api/v1/showtimes/{showtime_id}/seats/lock", {"seats": codes}, token)

    def let_go(self, token: str, showtime_id: int) -> dict[str, Any]:
        """Let go all that a guest has."""
        return self._ask("DELETE", f"/api/v1/showtimes/{showtime_id}/seats/unlock", {}, token)

    def status(self, showtime_id: int) -> dict[str, str]:
        """Return how the seats stand for a stranger."""
        seats: dict[str, str] = self._ask("GET", f"/api/v1/showtimes/{showtime_id}/seats/status")["seats"]
        return seats

    def _ask(self, method: str, path: str, body: Any = None, token: str = "") -> dict[str, Any]:
        request = urllib.request.Request(self.address + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answered: dict[str, Any] = json.loads(answer.read())
        return answered


@contextlib.contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """Run a house for as long as the context lasts.

    Args:
        folder: an empty one, for its data and its log.
    """
    with running_engines() as engines:
        environment = _environment(folder, engines)
        prepare = [sys.executable, "manage.py", "prepare"]
        subprocess.run(prepare, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with contextlib.ExitStack() as running:
            serve = functools.partial(_serving, address, environment, folder / "log")

            def restart() -> None:
                running.close()
                running.enter_context(serve())

            running.enter_context(serve())
            yield House(address, engines.postgres.url, restart)


@contextlib.contextmanager
def _serving(address: str, environment: dict[str, str], logged: Path) -> Iterator[None]:
    with logged.open("ab") as log:
        server = subprocess.Popen(_server(address), cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_open(server, address, logged)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def _environment(folder: Path, engines: Engines) -> dict[str, str]:
    theirs = {"CINEBOOK_TESTS_REDIS", "DJANGO_SETTINGS_MODULE", "CINEBOOK_PROCESS"}
    return {
        **{name: value for name, value in os.environ.items() if name not in theirs},
        **engines.environment,
        "CINEBOOK_DATA_DIR": str(folder),
        "SECRET_KEY": "the house of the browser tests has no secrets, but a key is long",
        "DEMO_CINEMA": "on",
        "DEMO_USERS": "on",
    }


def _server(address: str) -> Sequence[str]:
    return [
        *(sys.executable, "-m", "uvicorn", "cinebook.asgi:application"),
        *("--port", address.rpartition(":")[2], "--workers", str(PROCESSES), "--ws", "websockets-sansio"),
        *("--no-access-log", "--timeout-graceful-shutdown", "2"),
    ]


def _wait_until_open(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + OPENS_WITHIN
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/v1/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the house did not open:\n{log.read_text()}")
