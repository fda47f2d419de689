"""`make run`, as whoever starts it for the first time meets it: from nothing to pages, and to nothing again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from cinebook import settings
from tests.support.ports import free_port

ROOT = Path(settings.__file__).parent.parent


class House:
    """A running CineBook with a data folder of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        theirs = {"DATABASE_URL", "REDIS_URL", "CINEBOOK_TESTS_REDIS", "SECRET_KEY", "DJANGO_SETTINGS_MODULE"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cinebook.engines", "run"],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name not in theirs},
                "CINEBOOK_DATA_DIR": str(data_dir),
                "PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.words = ""

    def wait_until_open(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.words += line
            if "Ctrl-C stops everything" in line:
                return
        pytest.fail(f"it never opened:\n{self.words}")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return answer.read().decode()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.words += self.process.communicate(timeout=30)[0]
        return self.process.returncode


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    try:
        house.wait_until_open()
        yield house
    finally:
        if house.process.poll() is None:
            house.stop()


def test_it_says_where_it_is_and_who_can_sign_in(house: House) -> None:
    assert house.address in house.words
    assert "demo / demo" in house.words
    assert "staff / staff" in house.words


def test_the_demo_cinema_shows_films_in_pages_with_hashed_styles(house: House) -> None:
    home = house.get("/")
    style = re.search(r'href="(/static/css/base\.[0-9a-f]{12}\.css)"', home)

    assert style
    assert "{" in house.get(style[1])
    film = re.search(r'href="(/movies/[a-z-]+/)"', home)
    assert film
    showtime = re.search(r'href="(/showtimes/\d+/)"', house.get(film[1]))
    assert showtime
    assert 'data-status="available"' in house.get(showtime[1])


def test_health_is_well(house: House) -> None:
    assert json.loads(house.get("/api/v1/health"))["status"] == "ok"


def test_the_reconciler_runs_when_the_worker_starts(house: House) -> None:
    deadline = time.monotonic() + 30
    while (run := json.loads(house.get("/api/v1/health"))["reconciler"]) is None:
        assert time.monotonic() < deadline, "it has not run"
        time.sleep(0.2)

    assert (run["status"], run["findings"]) == ("ok", 0)
    assert run["seconds_ago"] < 60


def test_the_engines_can_be_reached_by_the_addresses_that_it_leaves(house: House) -> None:
    text = (house.data_dir / "run.env").read_text()
    urls = dict(line.partition("=")[::2] for line in text.splitlines() if line and not line.startswith("#"))

    assert (house.data_dir / "run.env").stat().st_mode & 0o777 == 0o600
    with psycopg.connect(urls["DATABASE_URL"]) as database:
        assert database.execute("SELECT count(*) > 100 FROM seating_showtime").fetchone() == (True,)
    with Redis.from_url(urls["REDIS_URL"]) as redis:
        assert redis.ping()


def test_it_stops_cleanly_and_leaves_no_address_behind(house: House) -> None:
    assert house.stop() == 0
    assert not (house.data_dir / "run.env").exists()
