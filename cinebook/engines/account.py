"""The account that PostgreSQL runs under. It refuses to run as root, so root lends it `nobody`."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cinebook.engines.console import Refusal

NAME = "nobody"


class SpawnAs(TypedDict, total=False):
    """The arguments of Popen that change the user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """A user whom we may become, by user id and group id."""

    uid: int
    gid: int

    @property
    def spawn_as(self) -> SpawnAs:
        """What to hand to Popen so that the child is this user and nothing more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_run(self, command: Sequence[str | Path]) -> bool:
        """Return whether `command` ends well under this account."""
        try:
            ended = subprocess.run(  # noqa: PLW1510 - the status is the answer.
                command, cwd="/", env={"LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True, **self.spawn_as
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return ended.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Return whether this account can work in `folder`; a closed folder above it is enough for no."""
        return self.can_run(["/bin/sh", "-c", 'cd "$1"', "sh", folder])

    def can_own_folders_in(self, folder: Path) -> bool:
        """Return whether a folder of this account inside of `folder` is writable for it.

        It is tried out: shared folders of virtual machines and of networks have rules of their own.
        """
        trial = Path(tempfile.mkdtemp(dir=folder, prefix=".trial-"))
        try:
            os.chown(trial, self.uid, self.gid)
            return self.can_run(["/bin/sh", "-c", 'cd "$1" && : > file', "sh", trial])
        except OSError:
            return False
        finally:
            shutil.rmtree(trial)


def postgres_account() -> Account | None:
    """Return the account for PostgreSQL, or None if it can run as we do.

    Raises Refusal when we are root and `nobody` does not exist or may not be used, and when we have no name.
    """
    way_out = "Run CineBook as an ordinary user, or set DATABASE_URL to a PostgreSQL server of your own."
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise Refusal(
                f"PostgreSQL needs a name for the user that it runs as, and the id {os.geteuid()} has none here. "
                f"{way_out}"
            ) from None
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        raise Refusal(
            f"PostgreSQL refuses to run as root, and there is no user `{NAME}` here to run it as. {way_out}"
        ) from None
    account = Account(entry.pw_uid, entry.pw_gid)
    if not account.can_run(["/bin/sh", "-c", ":"]):
        raise Refusal(f"PostgreSQL refuses to run as root, and this root may not run it as `{NAME}`. {way_out}")
    return account
