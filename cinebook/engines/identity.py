"""Who a process is. A pid alone is not a name: the kernel gives it to the next one.

A process is known by its pid together with the instant at which it started, and on Linux also by
a token in its environment or by the folder that it works in.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PROC = Path("/proc")
DEAD = frozenset("ZXx")
"""Process states of /proc/<pid>/stat. Where pid 1 reaps nobody, a zombie stays for ever."""


def start_of(pid: int) -> str | None:
    """Return what tells this process from later ones with the same pid, or None once it is dead."""
    if _has_proc():
        fields = _stat(pid)
        # Counted from the boot, the instant repeats itself after the next one.
        return None if fields is None or fields[0] in DEAD else f"{_boot()}/{fields[19]}"
    return _start_by_ps(pid)


def signal_exactly(pid: int, started: str, number: int) -> bool:
    """Send signal `number` to `pid` if it still is the process that started at `started`.

    Returns whether it was sent. Where the kernel has process descriptors, no other process can slip
    in between the look and the shot.
    """
    try:
        if sys.platform == "linux":
            descriptor = os.pidfd_open(pid)
            try:
                if start_of(pid) != started:
                    return False
                signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
            return True
    except (ProcessLookupError, PermissionError):
        return False
    except OSError:
        pass  # A kernel before 5.3 knows no process descriptors.
    try:
        if start_of(pid) != started:
            return False
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_group(group: int) -> None:
    """Kill every process of the process group, if it has any that we may kill."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # macOS answers EPERM for a group that has only zombies left.


def group_is_alive(group: int) -> bool:
    """Return whether the process group has a living member."""
    if _has_proc():
        return any(int(fields[2]) == group and fields[0] not in DEAD for fields in map(_stat, _pids()) if fields)
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def bearers_of(mark: str) -> list[tuple[int, str]]:
    """Return pid and start of every living process whose environment holds `mark` (`NAME=value`)."""
    wanted = os.fsencode(mark)
    return _living(pid for pid in _pids() if wanted in _environment(pid).split(b"\0"))


def servers_working_in(folder: Path) -> list[tuple[int, str]]:
    """Return pid and start of every PostgreSQL process whose working directory is `folder`.

    PostgreSQL writes its titles over its environment, and each of its processes leads a group of its
    own, so the folder is what they have in common. A shell that somebody left in there is not one.
    """
    here = os.path.realpath(folder)
    return _living(
        pid
        for pid in _pids()
        if _link(pid, "cwd") == here and Path(_link(pid, "exe").removesuffix(" (deleted)")).name == "postgres"
    )


def _living(pids: Iterable[int]) -> list[tuple[int, str]]:
    return [(pid, started) for pid in pids if (started := start_of(pid)) is not None]


@cache
def _has_proc() -> bool:
    return (PROC / "self/stat").is_file()


@cache
def _boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()] if _has_proc() else []


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on: state, parent, group, ... [19] start."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces and parentheses of its own; the last one ends it.
    return text.rpartition(")")[2].split()


def _environment(pid: int) -> bytes:
    try:
        return (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return b""


def _link(pid: int, name: str) -> str:
    try:
        return str((PROC / str(pid) / name).readlink())
    except OSError:
        return ""


def _start_by_ps(pid: int) -> str | None:
    told = subprocess.run(
        ["/bin/ps", "-p", str(pid), "-o", "stat=,lstart="],
        env={"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = told.stdout.strip().partition(" ")
    return None if not started or state[0] in DEAD else started.strip()
