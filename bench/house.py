"""A house to be measured: CineBook with a demo cinema and no limits, or another server in its place."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from cinebook.engines.procfile import commands
from cinebook.engines.throwaway import Engines

ROOT = Path(__file__).resolve().parent.parent
# Of each server.
PROCESSES = 2
OPENS_WITHIN = 60.0


@dataclasses.dataclass
class Server:
    """A server that runs, whichever."""

    process: psutil.Process
    host: str

    def workers(self) -> list[psutil.Process]:
        """Return its web processes."""
        return self.process.children(recursive=True)

    def cpu_seconds(self) -> float:
        """Return what its web processes have used."""
        times = [worker.cpu_times() for worker in self.workers()]
        return sum(spent.user + spent.system for spent in times)

    def memory(self) -> int:
        """Return the bytes that its web processes have for themselves."""
        return sum(worker.memory_full_info().uss for worker in self.workers())

    def largest_showtimes(self) -> tuple[int, int]:
        """Return the two showtimes on sale with the most free seats, the larger first."""
        listed = [row for row in self.ask("GET", "showtimes?page_size=200")["results"] if row["on_sale"]]
        largest = sorted(listed, key=lambda row: -row["available_seats"])
        return largest[0]["id"], largest[1]["id"]

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Return the answer to a request."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.host}/api/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - its own server
            return json.load(answer)


def environment_of_house(engines: Engines, folder: Path) -> dict[str, str]:
    """Return the environment of a demo cinema that lets everybody do as much as they can.

    Args:
        folder: an empty one, for its data and its log.
    """
    return {
        **os.environ,
        **engines.environment,
        "CINEBOOK_DATA_DIR": str(folder),
        "SECRET_KEY": "a benchmark has no secrets, but a key must be long",
        "DEMO_CINEMA": "on",
        "RATE_LIMITS": "off",
    }


@contextmanager
def running_house(environment: Mapping[str, str]) -> Iterator[Server]:
    """Run CineBook with a demo cinema, for as long as the context lasts."""
    prepare = [sys.executable, "manage.py", "prepare"]
    subprocess.run(prepare, cwd=ROOT, env=environment, check=True, capture_output=True)  # noqa: S603 - its own
    words = {**environment, "HOST": "127.0.0.1", "PORT": "{port}", "WEB_WORKERS": str(PROCESSES)}
    with running(commands(ROOT / "Procfile", words)["web"][1:], environment) as server:
        yield server


@contextmanager
def running(program: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    """Run a web server, for as long as the context lasts.

    Args:
        program: what Python is to run; `{port}` stands for the port.
        environment: with the addresses of the engines, and in `CINEBOOK_DATA_DIR` the folder of the log.
    """
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = str(place.getsockname()[1])
    command = [sys.executable, *(word.replace("{port}", port) for word in program)]
    with (Path(environment["CINEBOOK_DATA_DIR"]) / "log").open("ab") as log:
        process = psutil.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    server = Server(process, f"127.0.0.1:{port}")
    try:
        _wait_until_open(server)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_open(server: Server) -> None:
    deadline = time.monotonic() + OPENS_WITHIN
    while True:
        try:
            server.ask("GET", "health")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
