"""kill -9 of the supervisor, and other ends that nobody was asked about."""

import json
import os
import secrets
import signal
import subprocess
import sys

import psycopg

from cinebook.engines.identity import start_of
from tests.engines.project import OUTSIDE, answers, wait_for


def test_after_a_kill_nothing_is_left_and_the_next_start_has_all_data(project):
    run = project.up()
    before = run.health()
    connection = psycopg.connect(project.read_run_env()[0], autocommit=True)
    connection.execute("CREATE TABLE kept AS SELECT 42 AS it")
    run.process.kill()
    run.ended()
    # The parent's death reaches every child; only the worker's grandchild, which is deaf, may stay.
    wait_for(lambda: not project.processes_but_the_deaf(), "the end of the children", 15)
    connection.close()

    run = project.up()
    assert run.health() == before
    assert answers(project.read_run_env()[0], "SELECT it FROM kept") == 42
    assert sum("SIG_IGN" in line for line in project.processes().values()) == 1, "the old grandchild is still there"
    assert run.stop() == 0
    assert project.processes() == {}


def test_after_a_kill_of_everything_the_next_start_works_at_once(project):
    run = project.up()
    database_url, _ = project.read_run_env()
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS it")
    # A backend in the midst of a query does not notice that its server is gone, and keeps the memory.
    busy = psycopg.connect(database_url)
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 10000000000)")
    server = run.pid_of("PostgreSQL")
    run.process.kill()
    os.kill(server, signal.SIGKILL)
    run.ended()

    run = project.up()
    busy.close()
    assert answers(project.read_run_env()[0], "SELECT it FROM kept") == 42
    assert run.stop() == 0
    assert project.processes() == {}


def test_a_release_that_is_cut_off_by_a_kill_ends_too(project):
    waits = project.root / "release_waits"
    waits.touch()
    run = project.start(**OUTSIDE).wait_for("Preparing the database")
    wait_for(lambda: run.pid_of("release"), "the release")
    run.process.kill()
    run.ended()
    wait_for(lambda: not project.processes(), "the end of all processes", 15)
    waits.unlink()
    assert project.up(**OUTSIDE).stop() == 0


def test_an_initdb_that_was_cut_off_is_done_again(project):
    torso = project.data / "postgres.new"
    torso.mkdir(parents=True)
    project.data.chmod(0o711)
    (torso / "PG_VERSION").write_text("18\n")
    run = project.up()
    assert not torso.exists()
    assert answers(project.read_run_env()[0], "SELECT 1") == 1
    assert run.stop() == 0


def test_what_an_earlier_start_left_is_ended_and_a_stranger_is_not(project):
    token = secrets.token_hex(16)
    sleeping = [sys.executable, "-c", "import time; time.sleep(1000)"]
    left = subprocess.Popen(sleeping, start_new_session=True)
    grandchild = subprocess.Popen(sleeping, start_new_session=True, env={"CINEBOOK_SUPERVISOR": token})
    stranger = subprocess.Popen(sleeping, start_new_session=True)
    children = [
        {"name": "worker", "pid": left.pid, "started": start_of(left.pid), "stop_signal": 15},
        {"name": "beat", "pid": stranger.pid, "started": "another boot/1", "stop_signal": 15},
    ]
    project.data.mkdir()
    (project.data / "children").write_text(json.dumps({"token": token, "children": children}))
    try:
        run = project.up(**OUTSIDE)
        assert left.wait(5) == -signal.SIGTERM
        assert grandchild.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        assert f"worker (pid {left.pid})" in run.output
        assert run.stop() == 0
    finally:
        for process in (left, grandchild, stranger):
            process.kill()
            process.wait()


def test_a_pid_file_with_the_pid_of_another_program_is_no_obstacle(project, ordinary):
    run = project.start(spawn_as=ordinary).up()
    database_url, _ = project.read_run_env()
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS it")
    run.process.kill()
    os.kill(run.pid_of("PostgreSQL"), signal.SIGKILL)
    run.ended()
    wait_for(lambda: not project.processes_but_the_deaf(), "the end of the children", 15)
    pid_file = project.data / "postgres/postmaster.pid"
    # A program of the same user has the number now.
    user = {name: value for name, value in ordinary.items() if name != "python"}
    stranger = subprocess.Popen(["/bin/sleep", "1000"], cwd="/", **user)
    try:
        _, _, rest = pid_file.read_text().partition("\n")
        pid_file.write_text(f"{stranger.pid}\n{rest}")
        run = project.start(spawn_as=ordinary).up()
        assert answers(project.read_run_env()[0], "SELECT it FROM kept") == 42
        assert stranger.poll() is None
        assert run.stop() == 0
    finally:
        stranger.kill()
        stranger.wait()
