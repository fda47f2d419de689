"""The command line: `python -m cinebook.engines run` and `... exec COMMAND`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cinebook.engines.console import FAILED, MISUSED, Refusal, complain


def main(arguments: list[str]) -> int:
    """Do what `arguments` say; return the exit status: 0, 1 for a failed start, 2 for misuse, or COMMAND's own."""
    try:
        import fcntl  # noqa: F401, PLC0415 - only to see whether this is a system that has it.
    except ImportError:
        complain("The embedded engines need Linux or macOS. On this system use: docker compose up")
        return MISUSED
    wanted = _parsed(arguments)
    try:
        if wanted.action == "exec":
            return _exec(wanted.command)
        return _run(wanted)
    except Refusal as refusal:
        complain(refusal.sentence)
        return refusal.status
    except OSError as error:
        complain(f"CineBook cannot run here: {error}")
        return FAILED


def _run(wanted: argparse.Namespace) -> int:
    # Not before it is known that this system can: they stand on fcntl.
    from cinebook.engines import annex, supervisor  # noqa: PLC0415

    return supervisor.run(
        root=wanted.root or supervisor.PROJECT, places=(wanted.annex,) if wanted.annex else annex.PLACES
    )


def _exec(command: list[str]) -> int:
    from cinebook.engines import throwaway  # noqa: PLC0415 - as above.

    return throwaway.run_with_engines(command)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m cinebook.engines", description="The embedded PostgreSQL and Redis."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="start everything that `make run` starts, until Ctrl-C")
    # For the tests: another project, and another annex than /var/lib/cinebook.
    run.add_argument("--root", type=_folder, help=argparse.SUPPRESS)
    run.add_argument("--annex", type=_folder, help=argparse.SUPPRESS)
    with_engines = actions.add_parser("exec", help="run COMMAND with throwaway engines, for DATABASE_URL and REDIS_URL")
    with_engines.add_argument("command", nargs=argparse.REMAINDER, metavar="[--] COMMAND")
    parsed = parser.parse_args(arguments)
    if parsed.action == "exec":
        if parsed.command[:1] == ["--"]:
            del parsed.command[0]
        if not parsed.command:
            with_engines.error("there is no COMMAND")
    return parsed


def _folder(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
