"""The embedded PostgreSQL: one cluster in the data folder, at a Unix socket that only we can reach."""

from __future__ import annotations

import os
import signal
import time
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from cinebook.engines.account import postgres_account
from cinebook.engines.annex import PLACES, home_for_data, programs_for
from cinebook.engines.binaries import postgres_programs
from cinebook.engines.console import Refusal
from cinebook.engines.data_folder import DataFolder
from cinebook.engines.identity import servers_working_in, signal_exactly
from cinebook.engines.private_files import private_folder, remove_tree
from cinebook.engines.process import Child, Command, Engine
from cinebook.engines.signals import Pause, wait_until

SOCKET = ".s.PGSQL.5432"
USER = DATABASE = "cinebook"
CONNECTIONS = 200

START_LINE, STATUS_LINE = 2, 7
"""Of the file postmaster.pid, counted from 0."""

WAYS_OUT = "Delete the folder for a fresh start, or choose another data folder with CINEBOOK_DATA_DIR"

ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}
"""All that its programs see: a PGPORT or a LANG of ours would change what they do."""


class Survives(Enum):
    """What a commit outlives. The less, the faster."""

    POWER_CUT = "power cut"
    KILL = "kill"
    """kill -9 of the server, but not a crash of the machine: the kernel has the log, the disk may not."""
    NOTHING = "nothing"
    """After a kill -9 the latest commits are missing: they were answered before the kernel had them."""

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the server that make it so."""
        if self is Survives.POWER_CUT:
            return {}
        without_disk = {"fsync": "off", "full_page_writes": "off"}
        return without_disk if self is Survives.KILL else {**without_disk, "synchronous_commit": "off"}


class Postgres(Engine):
    """The server of one data folder."""

    def __init__(
        self, folder: DataFolder, *, commits: Survives = Survives.POWER_CUT, places: tuple[Path, ...] = PLACES
    ) -> None:
        """Decide where it lives and who it runs as.

        Args:
            folder: where its data and its logs go.
            commits: what a commit must outlive.
            places: where root may put what `nobody` must reach.

        Raises Refusal if it cannot run here.
        """
        self._folder = folder
        self._commits = commits
        self._account = postgres_account()
        self._programs = programs_for(self._account, postgres_programs(), places)
        self._home = home_for_data(folder.path, self._account, places)
        self.data = self._home / "postgres"
        self._sockets = folder.socket_folder("postgres", SOCKET, home=self._home, owner=self._account)
        self.url = f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._sockets), safe='')}"
        self._spawned_at = 0.0
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": '"{}"'.format(str(self._sockets).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "port": "5432",
            "max_connections": str(CONNECTIONS),
            **commits.settings,
        }
        super().__init__(
            "PostgreSQL",
            self._command([str(self._programs.postgres), "-D", str(self.data), *_options(settings)], signal.SIGINT),
            log=folder.log("postgres"),
            children_file=folder.children_file,
            grace=30.0,
        )

    def prepare(self, pause: Pause) -> None:
        """Make the cluster, unless it is there. Raises Refusal if it is not ours, and what `pause` raises."""
        if self.data.exists():
            self._refuse_foreign_owner()
            if any(self.data.iterdir()):
                self._refuse_foreign_version()
                return
        # An initdb that was interrupted leaves a torso. It never has the name of the real thing.
        torso = self._home / "postgres.new"
        remove_tree(torso)
        private_folder(torso, self._account)
        self._make_cluster(torso, pause)
        torso.rename(self.data)
        if self._commits is Survives.POWER_CUT:
            _sync_folder(self._home)

    def spawn(self) -> None:
        """Start it unless it runs, and don't wait for it. Raises Refusal if it cannot be executed."""
        if self.pid is not None:
            return
        self._end_orphans()
        self._spawned_at = time.time()
        super().spawn()

    def is_ready(self) -> bool:
        """Return whether it accepts connections, by the status that it keeps for pg_ctl."""
        status = _lines(self.data / "postmaster.pid")
        # The file of an earlier start may hold the same pid: small containers repeat themselves.
        return (
            len(status) > STATUS_LINE
            and status[0] == str(self.pid)
            and int(status[START_LINE]) >= int(self._spawned_at) - 1
            and status[STATUS_LINE].strip() == "ready"
        )

    def is_worth_another_try(self) -> bool:
        """Return whether a dying process of an earlier server still held the shared memory."""
        return "shared memory block" in self.log_tail()

    def end_at_once(self) -> None:
        """End it without a checkpoint: it repairs its data at the next start, as after a crash."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGQUIT)
            wait_until(lambda: self.poll() is not None, within=1.0)
            self.kill()

    def _command(self, argv: list[str], stop_signal: signal.Signals, stdin: bytes = b"") -> Command:
        # It starts in a folder that it may enter; ours may be closed to it.
        return Command(argv, ENVIRONMENT, Path("/"), self._account, stop_signal, stdin)

    def _make_cluster(self, data: Path, pause: Pause) -> None:
        initdb = [
            str(self._programs.initdb),
            f"--pgdata={data}",
            f"--username={USER}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            # Nobody gets through to the socket but us, and there is nothing else to connect to.
            "--auth-local=trust",
            "--auth-host=reject",
            *([] if self._commits is Survives.POWER_CUT else ["--no-sync"]),
        ]
        self._run("initdb", initdb, pause)
        settings = {"exit_on_error": "on", **self._commits.settings}
        single = [str(self._programs.postgres), "--single", "-D", str(data), *_options(settings), "postgres"]
        self._run("initdb", single, pause, stdin=f"CREATE DATABASE {DATABASE}".encode())

    def _run(self, name: str, argv: list[str], pause: Pause, stdin: bytes = b"") -> None:
        command = self._command(argv, signal.SIGTERM, stdin)
        child = Child(name, command, log=self._folder.log(name), children_file=self._folder.children_file)
        if child.run_to_its_end(pause) != 0:
            raise Refusal(f"The database could not be made.\n{child.log_tail()}")

    def _refuse_foreign_owner(self) -> None:
        """Raise Refusal if the folder belongs to another user than the one that PostgreSQL would run as."""
        owner = self.data.stat().st_uid
        if owner != (os.geteuid() if self._account is None else self._account.uid):
            raise Refusal(
                f"{self.data} belongs to the user with the id {owner}, and PostgreSQL would run as another. "
                f"Start CineBook as the user who did it first (never with sudo, or always). {WAYS_OUT}."
            )
        if self._account is not None and not self._account.can_enter(self.data):
            raise Refusal(
                f"PostgreSQL runs as `nobody`, who cannot enter {self.data} any more: "
                f"a folder above it was closed. Open it (chmod a+x). {WAYS_OUT}."
            )

    def _refuse_foreign_version(self) -> None:
        """Raise Refusal if the folder was made by another version of PostgreSQL, or is something else."""
        try:
            version = (self.data / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            raise Refusal(f"{self.data} is not a folder of PostgreSQL: it has no PG_VERSION. {WAYS_OUT}.") from None
        ours = self._programs.major_version()
        if version != ours:
            raise Refusal(
                f"{self.data} was made by PostgreSQL {version[:20]}, and CineBook brings PostgreSQL {ours}, which "
                f"cannot read it. {WAYS_OUT}, or dump it with the old version and load it into the new one."
            )

    def _end_orphans(self) -> None:
        """End what a killed server left: its processes hold the shared memory that the next one needs.

        A server that lives, started by hand perhaps, is left alone. PostgreSQL will say so itself.
        """
        # Most of them see by themselves that the server is gone; one in the midst of a query does not.
        wait_until(lambda: not servers_working_in(self.data), within=1.0)
        orphans = servers_working_in(self.data)
        status = _lines(self.data / "postmaster.pid")
        if any(str(pid) == status[0] for pid, _ in orphans if status):
            return
        for pid, started in orphans:
            signal_exactly(pid, started, signal.SIGKILL)
        if wait_until(lambda: not servers_working_in(self.data), within=2.0):
            self._forget_rivals()

    def _forget_rivals(self) -> None:
        """Remove the lock files whose pid is some other program's by now, or a corpse that nobody collects.

        PostgreSQL would take it for its rival. The lock of the data folder is ours and no server works
        in it, so these files protect nothing.
        """
        for lock in (self.data / "postmaster.pid", self._sockets / f"{SOCKET}.lock"):
            pid = _lines(lock)[:1]
            if pid and pid[0].isdigit() and Path("/proc", pid[0]).exists():
                lock.unlink(missing_ok=True)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _options(settings: dict[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
