"""Engines for tests: fast, private, and gone afterwards.

    with running_engines() as engines:
        psycopg.connect(engines.postgres.url)
        engines.redis.kill()     # as kill -9 does
        engines.redis.start()    # returns when it answers; the URL stays the same

`kill`, `start`, `stop` and `pid` are there for both engines. PostgreSQL keeps its data over all of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cinebook.engines.annex import PLACES, leave_annex
from cinebook.engines.console import MISUSED, Refusal
from cinebook.engines.data_folder import DataFolder, claimed, is_claimed
from cinebook.engines.identity import kill_group
from cinebook.engines.postgres import Postgres, Survives
from cinebook.engines.process import Engine, dies_with_us, has_ended, stop_together
from cinebook.engines.redis import Redis
from cinebook.engines.signals import Pause, StopRequested, StopSignals

PREFIX = "cinebook-test-"
DATABASES = 64
"""Of Redis: each process of a parallel test run takes some of its own."""

FORSAKEN_SECONDS = 60.0
"""A throwaway folder of this age that nobody holds was left by a kill -9."""


@dataclass(frozen=True)
class Engines:
    """A private pair of engines that run."""

    postgres: Postgres
    redis: Redis

    @property
    def environment(self) -> dict[str, str]:
        """Both URLs, as variables for a child."""
        return {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}


@contextmanager
def running_engines(
    folder: Path | None = None, *, commits: Survives = Survives.KILL, places: tuple[Path, ...] = PLACES
) -> Iterator[Engines]:
    """Start a PostgreSQL and a Redis of one's own; stop them at the end of `with`.

    Args:
        folder: where the data goes, and stays for the next time; None is a temporary folder that is
            deleted. As root choose one that `nobody` can reach (pytest's tmp_path is not): otherwise
            the data goes to one of `places`, and stays there when somebody deletes the folder.
        commits: what a commit must outlive; by default the `kill` of the engine, but not a crash of the machine.
        places: where root may put what `nobody` must reach.

    The engines end with this process, however it ends, if the main thread started them last.
    Raises Refusal when they cannot start.
    """
    with ExitStack() as stack:
        path = folder or stack.enter_context(_throwaway_folder())
        held = stack.enter_context(claimed(path, time.sleep))
        redis = Redis(held, databases=DATABASES)
        postgres = Postgres(held, commits=commits, places=places)
        for engine in (redis, postgres):
            _start(engine, stack, time.sleep)
        yield Engines(postgres, redis)


def run_with_engines(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run `command` with DATABASE_URL and REDIS_URL; return its exit status as a shell counts it.

    For each of the two that `environment` does not name, an engine is started and thrown away.
    SIGINT, SIGTERM and SIGHUP are passed on. Raises Refusal when an engine or the command cannot start.
    """
    with StopSignals() as signals, ExitStack() as stack:
        try:
            urls = _missing_urls(environment, stack, signals.pause)
            return _run(command, {**environment, **urls}, signals)
        except StopRequested:
            return 128 + signals.take()[0]


def _missing_urls(environment: Mapping[str, str], stack: ExitStack, pause: Pause) -> dict[str, str]:
    """Start the engines that `environment` does not name, until `stack` ends; return their URLs."""
    missing = [name for name in ("REDIS_URL", "DATABASE_URL") if not environment.get(name, "").strip()]
    if not missing:
        return {}
    held = stack.enter_context(claimed(stack.enter_context(_throwaway_folder()), pause))
    urls = {}
    for name in missing:
        engine = _throwaway_engine(name, held)
        _start(engine, stack, pause)
        urls[name] = engine.url
    return urls


def _throwaway_engine(name: str, held: DataFolder) -> Engine:
    return Redis(held, databases=DATABASES) if name == "REDIS_URL" else Postgres(held, commits=Survives.NOTHING)


def _start(engine: Engine, stack: ExitStack, pause: Pause) -> None:
    stack.callback(stop_together, [engine])
    engine.prepare(pause)
    engine.start(pause)


def _run(command: Sequence[str], environment: Mapping[str, str], signals: StopSignals) -> int:
    with _lent_terminal() as take_terminal:
        dies = dies_with_us(signal.SIGTERM)
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                # In a group of its own it gets each Ctrl-C once, and we can end what it leaves.
                process_group=0,
                preexec_fn=lambda: (take_terminal(), dies()),  # noqa: PLW1509 - they only make system calls.
            )
        except OSError as error:
            raise Refusal(f"{command[0]} cannot be started: {error.strerror}.", status=MISUSED) from error
        while not has_ended(process):
            signals.wait(1.0)
            for number in signals.take():
                os.kill(process.pid, number)
        kill_group(process.pid)
        status = process.wait()
    return status if status >= 0 else 128 - status


@contextmanager
def _lent_terminal() -> Iterator[Callable[[], None]]:
    """Yield what a child calls before exec to take the terminal; at the end it is ours again.

    So Ctrl-C and the keyboard are its own, as a shell does it. Without a terminal, or in the
    background, the call does nothing.
    """
    terminal = _open_terminal()
    try:
        yield lambda: _take_terminal(terminal)
    finally:
        if terminal is not None:
            _give_terminal_to(terminal, os.getpgrp())
            os.close(terminal)


def _open_terminal() -> int | None:
    """Return a descriptor of the terminal that we are in the foreground of, or None."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return None
    if os.tcgetpgrp(terminal) == os.getpgrp():
        return terminal
    os.close(terminal)
    return None


def _take_terminal(terminal: int | None) -> None:
    if terminal is not None:
        _give_terminal_to(terminal, os.getpgrp())
        # Ctrl-Z would stop the command behind our back, and the terminal would be stuck.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)


def _give_terminal_to(terminal: int, group: int) -> None:
    # Whoever is not in the foreground is stopped by SIGTTOU for trying this.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(terminal, group)
    except OSError:
        pass  # The terminal is gone.
    finally:
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def _throwaway_folder() -> Iterator[Path]:
    _remove_forsaken()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    if os.geteuid() == 0:
        folder.chmod(0o711)  # For `nobody`, whose folders in it are private.
    try:
        yield folder
    finally:
        _remove(folder)


def _remove_forsaken() -> None:
    """Remove the throwaway folders that a kill -9 left: ours by user, old enough, and held by nobody."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if (
                found.st_uid == os.geteuid()
                and time.time() - found.st_mtime > FORSAKEN_SECONDS
                and not is_claimed(folder)
            ):
                _remove(folder)


def _remove(folder: Path) -> None:
    leave_annex(folder)
    shutil.rmtree(folder)
