"""The settings of `make run`: environment variables, and the file .env for those that are not set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cinebook.engines.address import Address
from cinebook.engines.refusal import MISUSED, Refusal

LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*
        (?:(?:'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<bare>[^'"\#].*?))(?:\s+\#.*)?|\#.*|)\s*""",
    re.VERBOSE | re.ASCII,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}

HIGHEST_PORT = 65535
ON = frozenset({"1", "on", "true", "yes", "y", "t"})


@dataclass(frozen=True)
class Settings:
    """What the supervisor goes by. `variables` is the whole environment, the file .env included."""

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
    variables = {**variables_of_file(root / ".env"), **environment}

    def value(name: str, default: str = "") -> str:
        # An empty variable is what a compose file makes of one that is not set.
        return variables.get(name, "").strip() or default

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


def variables_of_file(path: Path) -> dict[str, str]:
    """Return the variables of a .env file, none if there is no such file.

    A line is NAME=value, with or without `export`; the value may be in single quotes (taken as it
    is) or in double quotes (with backslashes). Raises Refusal for a line that is something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path} cannot be read: {error}.", status=MISUSED) from error
    variables = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            match = LINE.fullmatch(line.strip())
            if match is None:
                raise Refusal(f"{path}, line {number}: this is not NAME=value.", status=MISUSED)
            variables[match["name"]] = _value_of(match)
    return variables


def _value_of(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda escaped: ESCAPES.get(escaped[1], escaped[1]), match["double"])
    return match["single"] or match["bare"] or ""


def _number(name: str, text: str, *, highest: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= highest:
        raise Refusal(f"{name} must be a whole number from 1 to {highest}, and not {text!r}.", status=MISUSED)
    return int(text)
