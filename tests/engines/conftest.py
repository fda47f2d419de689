"""A project of our own, in a folder that every user can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.engines.project import CHECKOUT, Project


@pytest.fixture
def folder():
    """A folder with a short path that every user can reach; pytest's own are only for who runs it."""
    path = Path(tempfile.mkdtemp(prefix="cb-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def project(folder):
    project = Project(folder)
    yield project
    project.close()


@pytest.fixture
def ordinary(folder, project):
    """The project, and what makes Popen start a supervisor there as an ordinary user."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("daemon")
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    site = Path(sys.modules["pytest"].__file__).parents[1]
    for python in (sys.executable, "/usr/bin/python3"):
        probe = (
            "import sys, pathlib; sys.exit(sys.version_info < (3, 11) or not list(pathlib.Path(sys.argv[1]).iterdir()))"
        )
        try:
            reachable = subprocess.run([python, "-c", probe, site], capture_output=True, check=False, **identity)
        except OSError:
            continue
        if reachable.returncode == 0:
            break
    else:
        pytest.skip("no Python and no packages here that an ordinary user can reach")
    project.code = folder / "code"
    (project.code / "cinebook").mkdir(parents=True)
    (project.code / "cinebook/__init__.py").touch()
    shutil.copytree(CHECKOUT / "cinebook/engines", project.code / "cinebook/engines")
    for path in (project.root, *project.root.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    project.python_path = str(site)
    return {"python": python, **identity}
