"""Engines for tests: `exec`, and the context manager."""

import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import redis

from cinebook.engines.postgres import Survives
from cinebook.engines.throwaway import FORSAKEN_SECONDS, running_engines
from tests.engines.project import answers, bare_environment, processes_of, take_terminal, wait_for


@pytest.fixture
def temporary(folder, monkeypatch):
    """A temporary directory of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def execute(temporary, *command, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", "cinebook.engines", "exec", *command],
        env={**bare_environment(), "TMPDIR": str(temporary), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


USES_BOTH = """
import os, psycopg, redis
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        print(connection.execute(f"SHOW {name}").fetchone()[0])
with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
    print(client.config_get("databases")["databases"])
raise SystemExit(7)
"""


def test_exec_gives_engines_and_the_status_and_leaves_nothing(temporary):
    process = execute(temporary, "--", sys.executable, "-c", USES_BOTH)
    assert process.communicate()[0].split() == ["off", "off", "off", "64"]
    assert process.returncode == 7
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == {}


def test_exec_starts_only_what_is_missing(temporary):
    show = 'echo "$DATABASE_URL $REDIS_URL"; ls "$TMPDIR"/*/log'
    process = execute(temporary, "/bin/sh", "-c", show, DATABASE_URL="postgresql://db.example/d")
    told = process.communicate()[0]
    assert told.startswith("postgresql://db.example/d unix:///")
    assert "redis.log" in told
    assert "postgres.log" not in told


def test_exec_passes_signals_on(temporary):
    outside = {"DATABASE_URL": "postgresql://db.example/d", "REDIS_URL": "redis://cache.example/0"}
    waits = "import time; print('here', flush=True); time.sleep(1000)"
    for number in (signal.SIGTERM, signal.SIGHUP):
        process = execute(temporary, "--", sys.executable, "-c", waits, **outside)
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        process.communicate()
        assert process.returncode == 128 + number


COUNTS_CTRL_C = """
import signal, sys, time
came = []
signal.signal(signal.SIGINT, lambda *_: came.append(1))
print("read", sys.stdin.readline().strip(), flush=True)
while not came:
    time.sleep(0.01)
time.sleep(0.3)  # For one too many.
sys.exit(40 + len(came))
"""


def test_exec_lends_the_terminal_to_the_command(temporary):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cinebook.engines", "exec", "--", sys.executable, "-c", COUNTS_CTRL_C],
        env={**bare_environment(), "DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h/0"},
        stdin=follower,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: take_terminal(follower),  # noqa: PLW1509 - it only makes a system call.
    )
    os.write(leader, b"hello\n")
    with process.stdout:
        assert process.stdout.readline() == b"read hello\n"
        os.write(leader, b"\x03")
        assert process.wait(10) == 41
    os.close(leader)
    os.close(follower)


def test_exec_of_nothing_that_exists(temporary):
    outside = {"DATABASE_URL": "postgresql://db.example/d", "REDIS_URL": "redis://cache.example/0"}
    process = execute(temporary, "a-program-that-nobody-has", **outside)
    assert "a-program-that-nobody-has cannot be started" in process.communicate()[0]
    assert process.returncode == 2


def test_after_a_kill_of_exec_the_next_one_clears_up(temporary):
    process = execute(temporary, "/bin/sh", "-c", "echo here; exec sleep 1000")
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.communicate()
    wait_for(lambda: not processes_of(temporary), "the end of the engines", 10)
    (left,) = temporary.iterdir()
    long_ago = time.time() - 2 * FORSAKEN_SECONDS
    os.utime(left, (long_ago, long_ago))
    execute(temporary, "true", DATABASE_URL="postgresql://db.example/d").communicate()
    assert list(temporary.iterdir()) == []


def test_a_private_pair_can_be_killed_and_started_again(temporary):
    with running_engines() as engines:
        with psycopg.connect(engines.postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS it")
        with redis.Redis.from_url(engines.redis.url) as client:
            client.set("seat", "A5")
        for engine in (engines.postgres, engines.redis):
            before = engine.pid
            engine.kill()
            assert engine.pid is None
            assert not engine.is_ready()
            engine.start()
            assert engine.pid not in (None, before)
        assert answers(engines.postgres.url, "SELECT it FROM kept") == 42
        with redis.Redis.from_url(engines.redis.url) as client:
            assert client.get("seat") is None, "Redis keeps nothing"
        assert engines.environment == {"DATABASE_URL": engines.postgres.url, "REDIS_URL": engines.redis.url}
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == {}


def test_a_folder_of_ones_own_keeps_the_data(temporary):
    kept = temporary / "kept"
    with running_engines(kept) as engines, psycopg.connect(engines.postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS it")
    with running_engines(kept, commits=Survives.POWER_CUT) as engines:
        assert answers(engines.postgres.url, "SELECT it FROM kept") == 42
        assert answers(engines.postgres.url, "SHOW fsync") == "on"
        assert Path(kept / "log/postgres.log.1").exists()
