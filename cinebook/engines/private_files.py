"""Files and folders that nobody else may read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cinebook.engines.account import Account


def write_private(path: Path, text: str, *, durably: bool = False) -> None:
    """Replace the file at `path`, mode 0600, so that a reader sees the old text or the new, whole.

    With `durably` it is so after a power cut, too. Raises OSError.
    """
    # mkstemp makes the file with mode 0600, and the rename keeps it.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durably:
                file.flush()
                os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def private_folder(path: Path, owner: Account | None = None) -> Path:
    """Make the folder at `path`, mode 0700, and give it to `owner` (None is us); return it.

    Its parent must not be writable by others: they could put something else in its place.
    Raises OSError.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    return path


def passage(path: Path) -> Path:
    """Make a folder that is not private itself but leads to private ones; return it.

    As root it can be crossed by others (PostgreSQL runs as `nobody`) but not listed.
    A folder that is already there keeps its mode: it may have been closed on purpose.
    """
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return path


def remove_tree(path: Path) -> None:
    """Remove the folder at `path` with all that is in it, if it is there."""
    if path.exists() and not path.is_symlink():
        shutil.rmtree(path)
