"""A little project with a Procfile of its own, run by the real supervisor with real engines."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from urllib.request import urlopen

import psycopg

from tests.support.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[2]

PROCFILE = """\
# A comment, and an empty line.

release: python3 release.py
web: python3 web.py ${HOST} ${PORT}
worker: python3 worker.py
beat: python3 -c "import time; time.sleep(1000)"
"""

RELEASE = """\
import json, os, pathlib, sys, time
pathlib.Path("release.json").write_text(json.dumps(dict(os.environ)))
print("release was here")
while pathlib.Path("release_waits").exists():
    time.sleep(0.02)
sys.exit(int(pathlib.Path("release_status").read_text()) if pathlib.Path("release_status").exists() else 0)
"""

WEB = """\
import http.server, pathlib, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/api/v1/health" else 404)
        self.end_headers()
if pathlib.Path("web_is_broken").exists():
    sys.exit("the web is broken")
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Health).serve_forever()
"""

# A grandchild that takes no hint: only the end of the whole group ends it.
WORKER = """\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"])
time.sleep(1000)
"""

OUTSIDE = {
    "DATABASE_URL": "postgresql://me@db.example/cinema",
    "REDIS_URL": "redis://cache.example/0",
    "SECRET_KEY": "k" * 50,
}
"""For what needs no engines. Nothing in this project connects to them."""

UP = "Ctrl-C stops everything."
SECONDS = 40.0


def wait_for(condition, what, seconds=SECONDS):
    """Return the first true value of `condition()`; fail when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)
    return value


def bare_environment():
    """Return what a bare machine has, since the suite may itself run below `exec`."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def processes_of(folder):
    """Return the command lines of all living processes that work in `folder` or name it."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            works_in = str((entry / "cwd").readlink())
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX" and (str(folder) in line or f"{works_in}/".startswith(f"{folder}/")):
            found[int(entry.name)] = line
    return found


def answers(database_url, query):
    """Return the first column of the first row of the answer, or None while there is no server."""
    try:
        with psycopg.connect(database_url) as connection:
            return connection.execute(query).fetchone()[0]
    except psycopg.OperationalError:
        return None


def take_terminal(terminal):
    """Make `terminal` the one of this process, which leads a session: Ctrl-C there is for it."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


class Run:
    """One supervisor."""

    def __init__(self, project, variables, python=sys.executable, **spawn_as):
        self.project = project
        self.port = int(variables["PORT"]) if variables["PORT"].isdigit() else None
        self._output = project.root / f"output{len(project.runs)}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [python, "-m", "cinebook.engines", "run", "--root", project.root, "--annex", project.annex],
                cwd=project.code,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **spawn_as,
            )

    @property
    def output(self):
        return self._output.read_text()

    def has_said(self, text):
        assert text in self.output or self.process.poll() is None, f"it ended:\n{self.output}"
        return text in self.output

    def wait_for(self, text):
        wait_for(lambda: self.has_said(text), f"{text!r} in the output")
        return self

    def up(self):
        return self.wait_for(UP)

    def pid_of(self, name):
        """Return the pid of the child called `name`, as the file `children` has it, or None."""
        children = json.loads((self.project.data / "children").read_text())["children"]
        return next((child["pid"] for child in children if child["name"] == name), None)

    def health(self):
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/api/v1/health", timeout=5) as answer:
                return answer.status
        except OSError as error:
            return getattr(error, "code", None)

    def stop(self, number=signal.SIGTERM):
        """Send the signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def ended(self):
        """Return the exit status of a start that ends by itself."""
        return self.process.wait(SECONDS)


class Project:
    """A root with a Procfile, in a folder that every user can reach."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "project"
        self.annex = folder / "annex"
        self.data = self.root / "var"
        self.code = CHECKOUT
        self.root.mkdir()
        for name, text in {"Procfile": PROCFILE, "release.py": RELEASE, "web.py": WEB, "worker.py": WORKER}.items():
            (self.root / name).write_text(text)
        self.python_path = None
        self.runs = []

    def start(self, spawn_as=None, **variables):
        """Start a supervisor with these `variables`; `spawn_as` are more arguments for Run."""
        environment = {**bare_environment(), "PORT": str(free_port()), "LANG": "en_US.nowhere", "PGPORT": "1"}
        if self.python_path:
            environment["PYTHONPATH"] = self.python_path
        self.runs.append(Run(self, {**environment, **variables}, **(spawn_as or {})))
        return self.runs[-1]

    def up(self, **variables):
        """Start a supervisor, and return once all is up."""
        return self.start(**variables).up()

    def read_run_env(self):
        """Return what a shell makes of run.env."""
        told = subprocess.run(
            ["/bin/sh", "-ec", '. "$1"; printf "%s\\n%s" "$DATABASE_URL" "$REDIS_URL"', "sh", self.data / "run.env"],
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.split("\n")

    def processes(self):
        return processes_of(self.folder)

    def processes_but_the_deaf(self):
        """Return the processes without the workers' grandchildren, which only the next start ends."""
        return {pid: line for pid, line in self.processes().items() if "SIG_IGN" not in line}

    def close(self):
        for run in self.runs:
            if run.process.poll() is None:
                run.process.send_signal(signal.SIGINT)
        for run in self.runs:
            try:
                run.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                run.process.kill()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
