"""The Procfile: what CineBook consists of, one command line per process."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from cinebook.engines.console import MISUSED, Refusal

LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")
VARIABLE = re.compile(r"\$\{(\w+)\}")


def commands(procfile: Path, variables: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the arguments of each process by its name, in the order of the file.

    There is no shell: `${NAME}` becomes the value of a variable, within one argument, and that is all.
    Raises Refusal if the file is not there, has no `web`, or needs a variable that is not set.
    """
    try:
        lines = procfile.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Refusal(f"{procfile} cannot be read: {error.strerror}.", status=MISUSED) from error
    found = {}
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.update(_command(line.strip(), variables))
            except ValueError as error:
                raise Refusal(f"{procfile}, line {number}: {error}.", status=MISUSED) from error
    if "web" not in found:
        raise Refusal(f"{procfile} has no line `web: ...`.", status=MISUSED)
    return found


def _command(line: str, variables: Mapping[str, str]) -> dict[str, list[str]]:
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError("this is not `name: command`")

    def value(variable: re.Match[str]) -> str:
        if variable[1] not in variables:
            raise ValueError(f"the variable {variable[1]} is not set")
        return variables[variable[1]]

    return {match["name"]: [VARIABLE.sub(value, argument) for argument in shlex.split(match["command"])]}
