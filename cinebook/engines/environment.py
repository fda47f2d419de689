"""The settings of `make run`: environment variables, and the file .env for those that are not set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dotenv

from cinebook.engines.address import Address
from cinebook.engines.console import MISUSED, Refusal

HIGHEST_PORT = 65535
ON = frozenset({"on", "true", "1", "yes"})
"""What the Django settings take for on."""


@dataclass(frozen=True)
class Settings:
    """What the supervisor goes by. `variables` is the whole environment, the file .env included, the empty ones not."""

    root: Path
    variables: Mapping[str, str]
    data_folder: Path
    address: Address
    web_workers: int
    database_url: str | None
    redis_url: str | None
    secret_key: str | None


def settings(root: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings for the project at `root`. Raises Refusal if they make no sense."""
    given = [*_variables_of_file(root / ".env").items(), *environment.items()]
    # An empty variable is what a compose file makes of one that is not set.
    variables = {name: value for name, value in given if value is not None and value.strip()}

    def value(name: str, default: str = "") -> str:
        return variables.get(name, default).strip()

    host = value("HOST", "127.0.0.1").removeprefix("[").removesuffix("]")
    found = Settings(
        root=root,
        variables=variables,
        data_folder=root / Path(value("CINEBOOK_DATA_DIR", "var")).expanduser(),
        address=Address(host, _number("PORT", value("PORT", "8000"), highest=HIGHEST_PORT)),
        web_workers=_number("WEB_WORKERS", value("WEB_WORKERS", "2"), highest=256),
        database_url=value("DATABASE_URL") or None,
        redis_url=value("REDIS_URL") or None,
        secret_key=value("SECRET_KEY") or None,
    )
    if found.database_url is not None and found.secret_key is None:
        raise Refusal(
            "DATABASE_URL names a database of your own, but SECRET_KEY is not set. What is signed with it must "
            "stay valid wherever this database is served, so no key is made up here. Set SECRET_KEY to a secret "
            "of 50 or more characters, or unset DATABASE_URL to use the embedded PostgreSQL.",
            status=MISUSED,
        )
    return found


def is_on(value: str) -> bool:
    """Return whether the value of a switch such as DEMO_USERS means yes."""
    return value.strip().lower() in ON


def _variables_of_file(path: Path) -> dict[str, str | None]:
    """Return the variables of a .env file, none if there is no such file. Raises Refusal if it cannot be read."""
    try:
        # The Django settings read it by the same call.
        return dotenv.dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path} cannot be read: {error}.", status=MISUSED) from error


def _number(name: str, text: str, *, highest: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= highest:
        raise Refusal(f"{name} must be a whole number from 1 to {highest}, and not {text!r}.", status=MISUSED)
    return int(text)
