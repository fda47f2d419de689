"""All of `make run` once the virtualenv exists: start everything, keep it alive, stop it in order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cinebook.engines import procfile
from cinebook.engines.annex import PLACES
from cinebook.engines.console import Refusal, complain, say
from cinebook.engines.data_folder import DataFolder, claimed
from cinebook.engines.environment import Settings, is_on, settings
from cinebook.engines.postgres import Postgres
from cinebook.engines.process import CLEAN_STATUSES, Child, Command, Engine, in_words, stop_together
from cinebook.engines.redis import Redis
from cinebook.engines.signals import StopRequested, StopSignals

PROJECT = Path(__file__).resolve().parents[2]
"""The folder above `cinebook/`."""

FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0
"""Seconds between a child's death and its next start; each death in a row doubles them."""

SETTLED_SECONDS = 60.0
"""A child that lived this long starts with the first delay again."""

HEALTH_SECONDS = 60.0
"""How long the web may take until it answers for the first time."""

HEALTHY = frozenset({200, 503})
"""503 is an answer too: some part is down, and the page says which."""

GRACE = {"web": 10.0, "worker": 20.0}
"""Seconds to end calmly: the web finishes requests, the worker finishes tasks."""


def run(root: Path = PROJECT, environment: Mapping[str, str] = os.environ, places: tuple[Path, ...] = PLACES) -> int:
    """Run CineBook until a signal to stop; return the exit status, 0.

    Args:
        root: the folder of the Procfile and of .env.
        environment: the variables to go by.
        places: where root may put what `nobody` must reach.

    Raises Refusal when it cannot start; everything that was started is stopped then.
    """
    found = settings(root, environment)
    with StopSignals() as signals:
        try:
            with claimed(found.data_folder, signals.pause) as folder:
                Supervisor(found, folder, signals, places).run()
        except StopRequested:
            pass  # It came before there was anything to stop.
    return 0


class Service:
    """A child that is started again whenever it dies, after a pause that grows."""

    def __init__(self, child: Child) -> None:
        """Watch `child`, which somebody else starts for the first time, now."""
        self.child = child
        self._started_at = time.monotonic()
        self._restart_at: float | None = None
        self._delay = 0.0

    def look_after(self) -> None:
        """Start the child again if it is time, or note its death and say so."""
        now = time.monotonic()
        if self._restart_at is None:
            status = self.child.poll()
            if status is not None:
                self._plan_restart(now, f"{self.child.name} {in_words(status)} (see {self.child.log})")
        elif now >= self._restart_at:
            self._restart_at, self._started_at = None, now
            try:
                self.child.spawn()
            except (Refusal, OSError) as error:
                self._plan_restart(now, str(error))

    def seconds_until_restart(self) -> float:
        """Return the seconds until `look_after` has something to do, as far as it is known."""
        return LONGEST_DELAY if self._restart_at is None else max(self._restart_at - time.monotonic(), 0.0)

    def _plan_restart(self, now: float, reason: str) -> None:
        settled = self._delay == 0 or now - self._started_at >= SETTLED_SECONDS
        self._delay = FIRST_DELAY if settled else min(self._delay * 2, LONGEST_DELAY)
        self._restart_at = now + self._delay
        say(f"{reason}; it starts again in {self._delay:.0f} s.")


class Supervisor:
    """One run, on a data folder that we hold."""

    def __init__(
        self, found: Settings, folder: DataFolder, signals: StopSignals, places: tuple[Path, ...] = PLACES
    ) -> None:
        """Take the settings, the claimed folder, the signals to obey and the places of the annex."""
        self._settings = found
        self._folder = folder
        self._signals = signals
        self._places = places
        self._engines: list[Engine] = []
        self._processes: list[Child] = []
        self._services: list[Service] = []
        self._variables: dict[str, str] = {}

    def run(self) -> None:
        """Start, supervise and stop everything. Raises Refusal when it cannot start."""
        try:
            self._start()
            while True:
                self._look_after_services()
                self._signals.pause(min(service.seconds_until_restart() for service in self._services))
        except StopRequested:
            say("\nStopping. Ctrl-C again hurries.")
        finally:
            self._stop()
        say("CineBook has stopped.")

    def _start(self) -> None:
        self._settings.address.refuse_if_taken()
        database_url, redis_url = self._start_engines()
        self._folder.write_run_env(DATABASE_URL=database_url, REDIS_URL=redis_url)
        self._variables = self._variables_for_children(database_url, redis_url)
        commands = procfile.commands(self._settings.root / "Procfile", self._variables)
        release = commands.pop("release", None)
        if release is not None:
            self._release(release)
        for name, argv in commands.items():
            child = self._process(name, argv)
            child.spawn()
            self._services.append(Service(child))
        self._wait_for_health()
        self._welcome()

    def _start_engines(self) -> tuple[str, str]:
        """Start the engines that are needed; return the URLs of PostgreSQL and Redis."""
        urls = [self._settings.database_url, self._settings.redis_url]
        names = [name for name, url in zip(("PostgreSQL", "Redis"), urls, strict=True) if url is None]
        if names:
            say(f"Starting {' and '.join(names)} in {self._folder.path}")
        return (
            urls[0] or self._start_engine(Postgres(self._folder, places=self._places)),
            urls[1] or self._start_engine(Redis(self._folder)),
        )

    def _start_engine(self, engine: Engine) -> str:
        self._engines.append(engine)
        engine.prepare(self._signals.pause)
        engine.start(self._signals.pause)
        self._services.append(Service(engine))
        return engine.url

    def _variables_for_children(self, database_url: str, redis_url: str) -> dict[str, str]:
        ours = self._settings
        variables = {
            **ours.variables,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": ours.secret_key or self._folder.secret_key(),
            "HOST": ours.address.host,
            "PORT": str(ours.address.port),
            "WEB_WORKERS": str(ours.web_workers),
            "CINEBOOK_DATA_DIR": str(self._folder.path),
            "PYTHONUNBUFFERED": "1",
            # The virtualenv's commands, whether or not somebody activated it.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), ours.variables.get("PATH", os.defpath)]),
        }
        variables.setdefault("DEMO_CINEMA", "on")
        if ours.database_url is None:
            # Everybody knows their passwords. In a database of one's own they are only on request.
            variables.setdefault("DEMO_USERS", "on")
        return variables

    def _process(self, name: str, argv: list[str]) -> Child:
        command = Command(argv, self._variables, self._settings.root)
        log, children_file = self._folder.log(name), self._folder.children_file
        child = Child(name, command, log=log, children_file=children_file, grace=GRACE.get(name, 10.0))
        self._processes.append(child)
        return child

    def _release(self, argv: list[str]) -> None:
        """Run what must be done before anything is served. Raises Refusal if it fails."""
        say("Preparing the database and the pages")
        child = self._process("release", argv)
        status = child.run_to_its_end(self._signals.pause)
        if status != 0:
            raise Refusal(f"The preparation {in_words(status)}, so nothing was started.\n{child.log_tail()}")

    def _wait_for_health(self) -> None:
        """Return once the web answers. Raises Refusal if it dies, or if it takes too long."""
        say("Starting the web")
        web = next(child for child in self._processes if child.name == "web")
        deadline = time.monotonic() + HEALTH_SECONDS
        while (answer := self._settings.address.health()) not in HEALTHY:
            if (status := web.poll()) is not None:
                raise Refusal(f"The web {in_words(status)} before it answered.\n{web.log_tail()}")
            if time.monotonic() > deadline:
                last = "there was no answer" if answer is None else f"the last answer was {answer}"
                raise Refusal(f"The web was not up after {HEALTH_SECONDS:.0f} seconds: {last}.\n{web.log_tail()}")
            self._look_after_services(but=web)
            self._signals.pause(0.1)

    def _look_after_services(self, but: Child | None = None) -> None:
        for service in self._services:
            if service.child is not but:
                service.look_after()

    def _welcome(self) -> None:
        address = self._settings.address
        lines = [
            "",
            "CineBook is running.",
            "",
            f"  Address   {address.url}/{'   (and from other machines)' if address.is_everywhere else ''}",
            f"  Admin     {address.url}/admin/",
        ]
        if is_on(self._variables.get("DEMO_USERS", "")):
            lines += ["  Log in    demo / demo     to book seats", "            staff / staff   for the admin as well"]
        lines += [
            f"  Data      {self._folder.path}",
            f"  Logs      {self._folder.log_folder}",
            "",
            "Ctrl-C stops everything.",
        ]
        say("\n".join(lines))

    def _stop(self) -> None:
        """Stop everything, whoever needs others before whom they need."""
        web = [child for child in self._processes if child.name == "web"]
        others = [child for child in self._processes if child.name != "web"]
        redis = [engine for engine in self._engines if isinstance(engine, Redis)]
        postgres = [engine for engine in self._engines if isinstance(engine, Postgres)]
        for together in (web, others, redis, postgres):
            running = [child for child in together if child.pid is not None]
            stop_together(running, pause=self._signals.wait, hurried=lambda: self._signals.hurried)
            for child in running:
                status = child.poll()
                if status is not None and status not in CLEAN_STATUSES:
                    complain(f"{child.name} {in_words(status)} while it was stopped (see {child.log}).")
