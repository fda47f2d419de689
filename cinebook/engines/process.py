"""One child process: it leads a session of its own, dies with us, and takes its group along."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cinebook.engines.account import Account
from cinebook.engines.children import ChildrenFile
from cinebook.engines.console import Refusal
from cinebook.engines.identity import group_is_alive, kill_group
from cinebook.engines.signals import LOOK_SECONDS, Pause, wait_until

PR_SET_PDEATHSIG = 1
# Loaded here, since between fork and exec nothing may be loaded any more.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

CLEAN_STATUSES = frozenset({0, -signal.SIGTERM, 128 + signal.SIGTERM})
"""How a child ends that was asked to; uvicorn's workers answer SIGTERM with 143."""

TAIL_LINES = 40


@dataclass(frozen=True)
class Command:
    """What to execute: the program and its arguments, the whole environment, the working directory."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    account: Account | None = None
    """The user that it runs as; None is us."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What ends it calmly, also when we die."""
    stdin: bytes = b""


class Child:
    """A program that can be started, looked at and ended, again and again. Not for several threads at once."""

    def __init__(
        self, name: str, command: Command, *, log: Path, children_file: ChildrenFile, grace: float = 10.0
    ) -> None:
        """Keep what is needed to start it.

        Args:
            name: what the console calls it.
            command: what it executes.
            log: the file that its output is appended to. (A pipe would fill up when nobody reads.)
            children_file: where its pid is noted while it lives.
            grace: seconds that it gets to end calmly.
        """
        self.name = name
        self.command = command
        self.log = log
        self.grace = grace
        self._children_file = children_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the running process, or None."""
        return self._process.pid if self._process is not None and self.poll() is None else None

    def spawn(self) -> None:
        """Start it unless it runs, and don't wait for it. Raises Refusal if it cannot be executed."""
        if self.pid is not None:
            return
        command = self.command
        environment = {**command.environment, **self._children_file.mark}
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with tempfile.TemporaryFile() as stdin, warnings.catch_warnings():
                # Python 3.12 warns of a fork beside other threads. What we do before exec takes no lock.
                warnings.simplefilter("ignore", DeprecationWarning)
                stdin.write(command.stdin)
                stdin.seek(0)
                self._process = subprocess.Popen(
                    command.argv,
                    cwd=command.folder,
                    env=environment,
                    stdin=stdin,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C reaches the whole group of the terminal. It is ours to decide who ends when.
                    start_new_session=True,
                    preexec_fn=dies_with_us(command.stop_signal),  # noqa: PLW1509 - it only makes system calls.
                    **(command.account.spawn_as if command.account is not None else {}),
                )
        except OSError as error:
            raise Refusal(f"{self.name} cannot be started: {command.argv[0]}: {error.strerror}.") from error
        finally:
            os.close(log)
        self._children_file.add(self.name, self._process.pid, command.stop_signal)

    def poll(self) -> int | None:
        """Return its exit status (negative: the signal that killed it), or None while it runs.

        Whoever sees its death first also ends what is left of its group, so that ports and files
        are free again. Before the first start the status is 0.
        """
        if self._process is None:
            return 0
        if self._process.returncode is None and has_ended(self._process):
            # Its number still is its own while nobody has collected it, and with it the group's.
            kill_group(self._process.pid)
            self._process.wait()
            group = self._process.pid
            wait_until(lambda: not group_is_alive(group), within=1.0)
            self._children_file.remove(group)
        return self._process.returncode

    def ask_to_stop(self) -> None:
        """Send it the signal that ends it calmly, if it runs."""
        if self._process is not None and self.poll() is None:
            os.kill(self._process.pid, self.command.stop_signal)
            # Who was stopped by SIGSTOP hears nothing until it goes on.
            os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and its group as `kill -9` does, and return when it is dead."""
        if self._process is not None and self.poll() is None:
            # Popen's own kill() looks first, and could collect it before we have ended its group.
            os.kill(self._process.pid, signal.SIGKILL)
            _wait_for_end(self._process)
            self.poll()

    def end_at_once(self) -> None:
        """End it without grace."""
        self.kill()

    def stop(self) -> None:
        """End it calmly, or by force after its grace."""
        stop_together([self])

    def run_to_its_end(self, pause: Pause) -> int:
        """Start it and return its exit status. Raises Refusal, and what `pause` raises; it does not run on then."""
        self.spawn()
        try:
            while (status := self.poll()) is None:
                pause(LOOK_SECONDS)
        except BaseException:
            self.stop()
            raise
        return status

    def log_tail(self) -> str:
        """Return the last lines of its log, indented, under a heading."""
        return tail_of(self.log)


class Engine(Child):
    """A child that serves others at a `url`, once it is ready."""

    url: str

    def prepare(self, pause: Pause) -> None:
        """Make what it needs before its first start. Raises Refusal, and what `pause` raises."""

    def is_ready(self) -> bool:
        """Return whether it answers."""
        raise NotImplementedError

    def is_worth_another_try(self) -> bool:
        """Return whether a start that just failed may well succeed in a moment."""
        return False

    def start(self, pause: Pause = time.sleep, *, within: float = 120.0) -> None:
        """Start it and return when it is ready.

        After a crash PostgreSQL repairs its data first, hence the many seconds of `within`.
        Raises Refusal with the end of its log, and what `pause` raises.
        """
        deadline = time.monotonic() + within
        self.spawn()
        while not self.is_ready():
            if self.poll() is not None:
                if not self.is_worth_another_try() or time.monotonic() > deadline:
                    raise Refusal(f"{self.name} does not start.\n{self.log_tail()}")
                pause(0.3)
                self.spawn()
            if time.monotonic() > deadline:
                self.stop()
                raise Refusal(f"{self.name} was not ready after {within:.0f} seconds.\n{self.log_tail()}")
            pause(LOOK_SECONDS)


def stop_together(
    children: Iterable[Child], *, pause: Pause = time.sleep, hurried: Callable[[], bool] = lambda: False
) -> None:
    """End the `children` side by side: calmly, by force after each one's grace or once `hurried` says so."""
    began = time.monotonic()
    living = [child for child in children if child.poll() is None]
    for child in living:
        child.ask_to_stop()
    while living := [child for child in living if child.poll() is None]:
        for child in living:
            if hurried() or time.monotonic() - began > child.grace:
                child.end_at_once()
        pause(LOOK_SECONDS)


def dies_with_us(number: int) -> Callable[[], None]:
    """Return what a child does between fork and exec so that it gets signal `number` when we die.

    The kernel forgets the wish when the user changes, so Popen must have done that before; it has.
    """
    us = os.getpid()
    # "When we die" is when the thread dies that forked, which for any other thread than the main one may be soon.
    bound = LIBC is not None and threading.current_thread() is threading.main_thread()

    def in_the_child() -> None:
        # Our handlers would swallow what arrives before exec, and what we ignore would stay ignored.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        if bound and LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != us:
                os._exit(1)

    return in_the_child


def tail_of(log: Path) -> str:
    """Return the last lines of the file `log`, indented, under a heading with its path."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        lines = []
    return "\n".join([f"The end of {log}:", *(f"    {line}" for line in lines or ["(it is empty)"])])


def in_words(status: int) -> str:
    """Return how a process with this exit status ended."""
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status}"


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether `process` is dead; where the kernel allows it, without collecting it."""
    if hasattr(os, "waitid"):
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True
    return process.poll() is not None


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()
