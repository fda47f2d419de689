"""A whole cinema in real processes: web twice, worker, beat, PostgreSQL and two Redis, with a network between them.

    with running_cinema() as cinema:
        cinema.web[0].kill()            # kill -9
        cinema.web[0].start()           # returns when it answers
        cinema.postgres.pause()         # SIGSTOP, all of its processes
        cinema.postgres.resume()
        cinema.roads["locks"].stall()   # tests/support/proxy.py: what the cinema hears of the Redis of the locks
        cinema.sql("SELECT count(*) FROM seating_seat")     # by a straight way, whatever the roads are like

Web, worker and beat are started by the commands of the Procfile. They reach PostgreSQL and each of Redis's four uses by
a road of its own: `database`, `locks`, `cache`, `live`, `broker`. The locks have a Redis for themselves (`redis`); the
cache, the messages between processes and Celery's queue share the other one (`messages`). A commit survives kill -9.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import psycopg

from cinebook.engines import procfile
from cinebook.engines.data_folder import claimed
from cinebook.engines.identity import servers_working_in
from cinebook.engines.postgres import DATABASE, SOCKET, USER, Postgres
from cinebook.engines.process import Child, Command, Engine, stop_together
from cinebook.engines.redis import Redis
from cinebook.engines.throwaway import running_engines
from tests.support.planted import MUTANT
from tests.support.proxy import Proxy, running_proxy

CHECKOUT = Path(__file__).resolve().parents[2]
# How long a part may take until it answers: on a machine that has other things to do, too.
START_SECONDS = 60.0
# Below the ports that the kernel gives to outgoing connections: nobody takes them while a web process is down.
LASTING_PORTS = range(15_000, 30_000)
# Of the environment around us, what would make another house of this one.
THEIRS = {"CINEBOOK_TESTS_REDIS", "CINEBOOK_PROCESS", "DJANGO_SETTINGS_MODULE", "PYTEST_XDIST_WORKER", "WEB_WORKERS"}
SETTINGS = {
    "SECRET_KEY": "the house of the tests has no secrets, but a key is long",
    "DJANGO_SETTINGS_MODULE": "cinebook.settings",
    "DEBUG": "off",
    "HOST": "127.0.0.1",
    "WEB_WORKERS": "1",
    "RATE_LIMITS": "off",
    # One address for all processes, as behind a proxy; without it each would take its own port for the house's.
    "SITE_URL": "http://127.0.0.1:8000",
}


class Part:
    """One part of the cinema: a process, or a server with its processes."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.name = child.name

    @property
    def pid(self) -> int | None:
        """The pid of its first process, None while it does not run."""
        return self.child.pid

    @property
    def pids(self) -> list[int]:
        """All of its processes."""
        return [] if self.pid is None else _group(self.pid)

    @property
    def log(self) -> Path:
        """The file that has its output, of all its starts."""
        return self.child.log

    def start(self) -> None:
        """Start it unless it runs, and return when it can be used."""
        self.child.spawn()

    def stop(self) -> int | None:
        """End it calmly (SIGTERM, or what the part means by it); return its exit status, negative for a signal."""
        self.resume()
        self.child.stop()
        return self.child.poll()

    def kill(self) -> None:
        """End it and its processes as kill -9 does; return when they are dead."""
        self.child.kill()

    def pause(self) -> None:
        """Stop all of its processes where they are (SIGSTOP)."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def restart(self) -> None:
        """End it calmly and start it again."""
        self.stop()
        self.start()

    def has_said(self, event: str) -> int:
        """Return how often its log has an event."""
        return self.log.read_text(errors="replace").count(f'"event": "{event}"') if self.log.exists() else 0

    def _signal_all(self, number: int) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class EnginePart(Part):
    """An engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine
        self.url = engine.url

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.engine.start()

    def kill(self) -> None:
        """End it as kill -9 does, all of its processes, also those that lead groups of their own."""
        others = self.pids
        super().kill()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def pids(self) -> list[int]:
        """All of its processes; each of PostgreSQL's leads a group of its own. The first comes first."""
        if self.pid is None or not isinstance(self.engine, Postgres):
            return super().pids
        return sorted((pid for pid, _started in servers_working_in(self.engine.data)), key=lambda pid: pid != self.pid)


class Web(Part):
    """A web process."""

    def __init__(self, child: Child, port: int) -> None:
        super().__init__(child)
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        """Start it, and return when it answers, if only that something is away."""
        self.child.spawn()
        wait_until(self.is_up, self.name, alive=lambda: self.child.pid is not None)

    def is_up(self) -> bool:
        """Return whether it answers."""
        try:
            self.ask("GET", "health")
        except HTTPError:
            return True
        except OSError:
            return False
        return True

    def health(self) -> dict[str, Any]:
        """Return what it says of its health; `{"status": "down"}` if it says nothing."""
        try:
            told: dict[str, Any] = self.ask("GET", "health")
        except HTTPError as error:
            with error:
                told = json.load(error)
        except OSError:
            return {"status": "down"}
        return told

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Any:
        """Return its answer to a request of the API; raises urllib's HTTPError for what is no success."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(f"{self.address}/api/v1/{path}", data, named, method=method)
        with urlopen(request, timeout=15) as answer:
            return json.load(answer)

    def guest(self) -> str:
        """Return the token of a new guest."""
        token: str = self.ask("POST", "auth/guest")["access"]
        return token


class Cinema:
    """The parts of a cinema that runs; `running_cinema` makes one."""

    def __init__(self, folder: Path, postgres: Postgres, redis: Redis, messages: Redis) -> None:
        self.folder = folder
        self.postgres = EnginePart(postgres)
        self.redis = EnginePart(redis)
        self.messages = EnginePart(messages)
        self.roads: dict[str, Proxy] = {}
        self.settings: dict[str, str] = {}
        self.planted = ""
        self.prepared = ""
        self.web: list[Web] = []
        self.worker: Part
        self.beats: list[Part] = []

    @property
    def beat(self) -> Part:
        """The first of the beats, which alone runs from the beginning."""
        return self.beats[0]

    @property
    def parts(self) -> dict[str, Part]:
        """All parts by their names."""
        own = [*self.web, self.worker, *self.beats]
        return {
            **{part.name: part for part in own},
            "postgres": self.postgres,
            "redis": self.redis,
            "messages": self.messages,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What the processes of the house see: engines behind roads."""
        database = f"postgresql://{USER}@127.0.0.1:{self.roads['database'].port}/{DATABASE}"
        mistake = {MUTANT: self.planted, "DJANGO_SETTINGS_MODULE": "tests.support.planted_settings"}
        return {
            **_surroundings(self.settings),
            **(mistake if self.planted else {}),
            # There is nothing to be encrypted on a loopback, and to ask for it costs a turn.
            "DATABASE_URL": f"{database}?sslmode=disable&gssencmode=disable",
            "REDIS_URL": f"redis://127.0.0.1:{self.roads['locks'].port}/0",
            "CACHE_REDIS_URL": f"redis://127.0.0.1:{self.roads['cache'].port}/1",
            "LIVE_REDIS_URL": f"redis://127.0.0.1:{self.roads['live'].port}/2",
            "BROKER_REDIS_URL": f"redis://127.0.0.1:{self.roads['broker'].port}/3",
        }

    @property
    def straight(self) -> dict[str, str]:
        """What our own commands see: the same engines without roads, and no mistake: judges are always sound."""
        messages = self.messages.url.removesuffix("?db=0")
        return {
            **_surroundings(self.settings),
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "CACHE_REDIS_URL": f"{messages}?db=1",
            "LIVE_REDIS_URL": f"{messages}?db=2",
            "BROKER_REDIS_URL": f"{messages}?db=3",
        }

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the cinema's database; return its rows."""
        with psycopg.connect(self.postgres.url, autocommit=True) as database:
            cursor = database.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def python(self, script: str, *arguments: str, seconds: float = 120) -> str:
        """Run a script of ours beside the house, Django being set up; return what it prints.

        Raises:
            AssertionError: it failed, with what it said.
        """
        return self._run([sys.executable, "-c", f"import django\ndjango.setup()\n{script}", *arguments], seconds)

    def manage(self, *words: str, seconds: float = 120) -> str:
        """Run a command of manage.py beside the house; as `python`."""
        return self._run([sys.executable, "manage.py", *words], seconds)

    def _run(self, command: list[str], seconds: float) -> str:
        done = subprocess.run(
            command, cwd=CHECKOUT, env=self.straight, timeout=seconds, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)[-200:]}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


# Enough for a cinema without the demo programme.
MIGRATE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


@contextlib.contextmanager
def running_cinema(
    *,
    folder: Path | None = None,
    prepare: str = MIGRATE,
    webs: int = 2,
    worker: bool = True,
    planted: str = "",
    **settings: str,
) -> Iterator[Cinema]:
    """Run a cinema for as long as the context lasts; nothing of it is left behind.

    Args:
        folder: for its data and its logs; None for one that is thrown away.
        prepare: a script that is run before anything is started, Django being set up; it has to migrate. What it
            prints is the cinema's `prepared`.
        webs: how many web processes.
        worker: whether worker and beat are started, too. They can be started later.
        planted: the mistake that all processes of the house make, of those in tests/support/mutants.py.
        settings: variables of the environment, beside or instead of those that every test wants.
    """
    with contextlib.ExitStack() as stack:
        folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cinema-")))
        engines = stack.enter_context(running_engines())
        held = stack.enter_context(claimed(_made(folder / "house"), time.sleep))
        # A second Redis has a data folder of its own.
        beside = stack.enter_context(claimed(_made(folder / "messages"), time.sleep))
        messages = Redis(beside)
        stack.callback(messages.stop)
        messages.start()
        cinema = Cinema(folder, engines.postgres, engines.redis, messages)
        cinema.settings = {**SETTINGS, "CINEBOOK_DATA_DIR": str(folder / "house"), **settings}
        cinema.planted = planted
        for name, engine in {
            "database": engines.postgres,
            "locks": engines.redis,
            "cache": messages,
            "live": messages,
            "broker": messages,
        }.items():
            cinema.roads[name] = stack.enter_context(running_proxy(_socket_of(engine)))
        cinema.prepared = cinema.python(prepare)

        def part(name: str, line: str, variables: Mapping[str, str]) -> Child:
            environment = {**cinema.environment, **variables}
            argv = procfile.commands(CHECKOUT / "Procfile", {**environment, "PORT": environment.get("PORT", "0")})[line]
            argv = [sys.executable, *(argv[1:] if argv[0] == "python" else ["-m", *argv])]
            command = Command(argv, environment, CHECKOUT)
            child = Child(name, command, log=held.log(name), children_file=held.children_file, grace=20.0)
            stack.callback(_end, child)
            return child

        for number in range(1, webs + 1):
            port = lasting_port()
            cinema.web.append(Web(part(f"web{number}", "web", {"PORT": str(port)}), port))
        cinema.worker = Part(part("worker", "worker", {}))
        for number in (1, 2):
            # Two beats of two machines have a schedule each.
            own = {"CINEBOOK_DATA_DIR": str(_made(folder / f"beat{number}"))}
            cinema.beats.append(Part(part(f"beat{number}", "beat", own)))
        stack.callback(lambda: stop_together([part.child for part in [*cinema.web, cinema.worker, *cinema.beats]]))
        # The last to be asked for is the first to be done: what is paused cannot end.
        stack.callback(lambda: [part.resume() for part in cinema.parts.values()])
        for web in cinema.web:
            web.child.spawn()
        if worker:
            cinema.worker.start()
            cinema.beat.start()
        for web in cinema.web:
            web.start()
            wait_until(lambda web=web: web.has_said("live.listening"), "the channel layer")
        yield cinema


def wait_until(
    condition: Callable[[], Any], what: str, seconds: float = START_SECONDS, alive: Callable[[], bool] = lambda: True
) -> None:
    """Return as soon as the condition is true; fail when it is not within `seconds`, or never will be."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert alive(), f"{what} has ended"
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def lasting_port() -> int:
    """Return a port that is free, and that the kernel gives to nobody by itself."""
    for port in random.sample(LASTING_PORTS, 100):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is no free port")


def _end(child: Child) -> None:
    child.stop()
    child.kill()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _surroundings(settings: Mapping[str, str]) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in THEIRS}, **settings}


def _socket_of(engine: Engine) -> str:
    """Return the path of an engine's Unix socket, as its URL has it."""
    parts = urlsplit(engine.url)
    if isinstance(engine, Postgres):
        return f"{parse_qs(parts.query)['host'][0]}/{SOCKET}"
    return unquote(parts.path)


def _group(leader: int) -> list[int]:
    """Return the processes of a group, its leader first."""
    members = [leader]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            with contextlib.suppress(OSError):
                if os.getpgid(int(entry.name)) == leader:
                    members.append(int(entry.name))
    return members
