"""The data folder: one supervisor at a time, and what it keeps there.

- `lock`: held while the supervisor lives, with its pid
- `children`: the pids that it started (children.py)
- `secret_key`: made at the first start, unless SECRET_KEY is set
- `run.env`: both URLs, while the engines run
- `log/`: the output of every child; `<name>.log.1` is of the start before
- `postgres/`: the database, or a link to where it is (annex.py)
- `sockets/`: one folder per engine; if it had to go elsewhere, `short` leads there
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cinebook.engines.account import Account
from cinebook.engines.children import ChildrenFile
from cinebook.engines.console import FAILED, MISUSED, Refusal
from cinebook.engines.private_files import passage, private_folder, remove_tree, write_private
from cinebook.engines.signals import Pause

# What a shell takes as it stands behind an equals sign.
BARE = re.compile(r"[A-Za-z0-9:/?=@%._+,-]+")
LONGEST_SOCKET_PATH = 103
"""Bytes. Linux has room for 107, macOS for 103."""

KEY_LENGTH = 50
"""Characters. A kept key that is shorter was cut off."""


class DataFolder:
    """A data folder whose lock we hold; `claimed` makes one."""

    def __init__(self, path: Path) -> None:
        """Know the folder at `path`, which exists."""
        self.path = path
        self.children_file = ChildrenFile(path / "children")
        self._logs: dict[str, Path] = {}

    @property
    def log_folder(self) -> Path:
        """The folder of the logs."""
        return self.path / "log"

    def log(self, name: str) -> Path:
        """Return the log file called `name`; the one of the start before is kept beside it."""
        if name not in self._logs:
            log = private_folder(self.log_folder) / f"{name}.log"
            if log.exists():
                log.replace(log.with_suffix(".log.1"))
            self._logs[name] = log
        return self._logs[name]

    def secret_key(self) -> str:
        """Return the key that is kept here. It is made at the first call and stays the same."""
        kept = self.path / "secret_key"
        if kept.is_file():
            kept.chmod(0o600)
            key = kept.read_text(encoding="ascii").strip()
            if len(key) >= KEY_LENGTH:
                return key
        key = secrets.token_urlsafe(KEY_LENGTH)
        write_private(kept, f"{key}\n", durably=True)
        return key

    def write_run_env(self, **urls: str) -> None:
        """Write the variables to run.env, for a shell to source and for dotenv readers alike."""
        write_private(self.path / "run.env", "".join(f"{name}={_assigned(url)}\n" for name, url in urls.items()))

    def remove_run_env(self) -> None:
        """Remove run.env: the engines that it names don't run."""
        (self.path / "run.env").unlink(missing_ok=True)

    def socket_folder(
        self, engine: str, socket: str, *, home: Path | None = None, owner: Account | None = None
    ) -> Path:
        """Return a private folder for the Unix socket `socket` of `engine`.

        It is below `home` (None is the data folder), unless the path were too long for the kernel, or had a
        comma, at which libpq takes it for two. Then it is in the temporary directory.
        """
        folder = (home or self.path) / "sockets"
        if _fits(folder / engine / socket):
            return private_folder(passage(folder) / engine, owner)
        return private_folder(self._short_folder(engine, socket) / engine, owner)

    def remove_short_folder(self) -> None:
        """Remove what `socket_folder` made in the temporary directory, now or before a kill -9."""
        link = self.path / "short"
        if link.is_symlink():
            target = link.readlink()
            # Whoever may write here could have led us anywhere.
            if target.name.startswith("cinebook-") and target.is_dir() and target.stat().st_uid == os.geteuid():
                remove_tree(target)
            link.unlink()

    def _short_folder(self, engine: str, socket: str) -> Path:
        link = self.path / "short"
        if link.is_symlink():
            return link.readlink()
        for place in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp's name cannot be guessed.
            folder = Path(tempfile.mkdtemp(prefix="cinebook-", dir=place))
            if _fits(folder / engine / socket):
                folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
                link.symlink_to(folder)
                return folder
            folder.rmdir()
        raise Refusal(f"The path of the temporary directory {tempfile.gettempdir()} is too long. Set a short TMPDIR.")


@contextmanager
def claimed(path: Path, pause: Pause) -> Iterator[DataFolder]:
    """Make the data folder at `path` if need be, and hold it alone until the end of `with`.

    What an earlier start left running is ended first. Raises Refusal if another supervisor holds
    the folder, or if it cannot be used; and what `pause` raises.
    """
    try:
        descriptor = os.open(passage(path.resolve()) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Refusal(
            f"The data folder {path} cannot be used: {error.filename}: {error.strerror}. "
            "Choose another with CINEBOOK_DATA_DIR.",
            status=MISUSED,
        ) from error
    # The kernel lets the lock go when we die, however we die: no child inherits this descriptor.
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip() or "not known yet"
            raise Refusal(
                f"CineBook already runs on the data folder {path} (pid {holder}). "
                "Stop it first, or choose another folder with CINEBOOK_DATA_DIR.",
                status=FAILED,
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        folder = DataFolder(path.resolve())
        folder.children_file.end_leftovers(pause)
        folder.remove_run_env()
        folder.remove_short_folder()
        try:
            yield folder
        finally:
            folder.remove_run_env()
            folder.remove_short_folder()


def is_claimed(path: Path) -> bool:
    """Return whether a living supervisor holds the data folder at `path`. Raises OSError."""
    with (path / "lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH and "," not in str(socket)


def _assigned(url: str) -> str:
    """Return `url` as it stands behind an equals sign: bare if it can, for readers that know no quotes."""
    plain = _plain(url)
    return plain if BARE.fullmatch(plain) else f"'{plain}'"


def _plain(url: str) -> str:
    """Return `url` without what a shell or a dotenv reader would take for something else in single quotes."""
    if not url.isprintable():
        raise Refusal("A database URL must not hold line breaks or other control characters.", status=MISUSED)
    return url.replace("'", "%27").replace("\\", "%5C")
