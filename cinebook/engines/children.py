"""The children that run, on disk, so that the start after a kill -9 can end what it left.

On Linux a child gets a signal when its parent dies, and mostly nothing is left. This is for the
rest: a worker that takes its time, a grandchild, another kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from cinebook.engines.console import say
from cinebook.engines.identity import bearers_of, kill_group, signal_exactly, start_of
from cinebook.engines.private_files import write_private
from cinebook.engines.signals import Pause, wait_until

MARK = "CINEBOOK_SUPERVISOR"
"""The variable by which grandchildren are known; they inherit it from the child."""

GRACE_SECONDS = 10.0
"""For what an earlier start left. Whatever it was doing, its supervisor died long ago."""


@dataclass(frozen=True)
class NotedChild:
    """One child: a `name` for people, its pid, when it `started`, and the signal that ends it calmly."""

    name: str
    pid: int
    started: str
    stop_signal: int

    def is_alive(self) -> bool:
        """Return whether this very process still runs."""
        return start_of(self.pid) == self.started


class ChildrenFile:
    """The file of all living children of one supervisor. Each change is written at once."""

    def __init__(self, path: Path) -> None:
        """Begin with no children; what the file holds is of an earlier start until `end_leftovers`."""
        self._path = path
        self._token = secrets.token_hex(16)
        self._children: dict[int, NotedChild] = {}

    @property
    def mark(self) -> dict[str, str]:
        """What a child's environment must hold, so that its own children can be known."""
        return {MARK: self._token}

    def add(self, name: str, pid: int, stop_signal: int) -> None:
        """Note a child that was just started. One that is dead already needs no note."""
        started = start_of(pid)
        if started is not None:
            self._children[pid] = NotedChild(name, pid, started, stop_signal)
            self._write_if_possible()

    def remove(self, pid: int) -> None:
        """Strike out a child that was seen dead."""
        if self._children.pop(pid, None) is not None:
            self._write_if_possible()

    def end_leftovers(self, pause: Pause) -> None:
        """End what runs of an earlier start: calmly, then by force. Then the file is ours.

        Raises OSError if it cannot be written, and whatever `pause` raises; the file stays as it was then.
        """
        token, noted = self._read()
        leaders = [child for child in noted if child.is_alive()]
        if leaders:
            names = ", ".join(f"{child.name} (pid {child.pid})" for child in leaders)
            say(f"Ending what an earlier start left behind: {names}.")
        for child in leaders:
            signal_exactly(child.pid, child.started, child.stop_signal)
        wait_until(lambda: not any(child.is_alive() for child in leaders), within=GRACE_SECONDS, pause=pause)
        for child in leaders:
            if child.is_alive():
                kill_group(child.pid)
        wait_until(lambda: not _kill_bearers(token), within=GRACE_SECONDS, pause=pause)
        self._write()

    def _write_if_possible(self) -> None:
        # Somebody may have deleted the data folder, or the disk is full. That must keep nobody from
        # stopping the children, and this file is only the second net below them.
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        children = [asdict(child) for child in self._children.values()]
        write_private(self._path, json.dumps({"token": self._token, "children": children}, indent=1))

    def _read(self) -> tuple[str, list[NotedChild]]:
        try:
            # Nobody else may tell us whom to kill.
            if self._path.stat().st_uid != os.geteuid():
                return "", []
            known = json.loads(self._path.read_text(encoding="utf-8"))
            return str(known["token"]), [NotedChild(**child) for child in known["children"]]
        except (OSError, ValueError, TypeError, KeyError):
            return "", []  # No file, or not one of ours.


def _kill_bearers(token: str) -> bool:
    """Kill every process that carries `token`; return whether there was one."""
    bearers = bearers_of(f"{MARK}={token}") if token else []
    for pid, started in bearers:
        signal_exactly(pid, started, signal.SIGKILL)
    return bool(bearers)
