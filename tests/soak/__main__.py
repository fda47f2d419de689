"""`python -m tests.soak`: see docs/reliability.md."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import secrets
import shlex
import sys
from pathlib import Path

from tests.soak import faults, report
from tests.soak.soak import Options, run
from tests.support.cinema import CHECKOUT

# Of the options, those that the Makefile has a word for; the others go into OPTIONS.
WORDS = {"seed": "SEED", "seconds": "SECONDS", "mix": "FAULTS", "clients": "CLIENTS"}
OPTIONS = {"watchers": "--watchers", "think": "--think", "gap": "--gap", "planted": "--plant"}


def main() -> int:
    """Soak as the command line says.

    Returns:
        0 if everything that is promised was kept, 1 if it was not, 2 if nothing came by the mistake that was planted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Run a whole cinema with people and faults, and judge whether every promise was kept.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    mixes = ", ".join(faults.MIXES)
    parser.add_argument("--seconds", type=float, default=900, help="how long people act and faults happen")
    parser.add_argument("--seed", default="", help="of all dice; a new one if it is not given")
    parser.add_argument("--faults", default="all", help=f"{mixes}; or names of faults, with commas between")
    parser.add_argument("--clients", type=int, default=24, help="people who act, a quarter of them by socket")
    parser.add_argument("--watchers", type=int, default=12, help="people who only watch, a third of them by polling")
    parser.add_argument("--think", type=float, default=0.3, help="seconds that a person thinks between two acts")
    parser.add_argument("--gap", type=float, default=2.0, help="seconds between two faults")
    parser.add_argument("--plant", default="", help="a mistake of tests/support/mutants.py, made in all of the house")
    parser.add_argument("--folder", type=Path, help="for logs and report; var/soak/<time> if it is not given")
    given = parser.parse_args()

    now = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d-%H%M%S")
    options = Options(
        seconds=given.seconds,
        seed=given.seed or secrets.token_hex(4),
        folder=(given.folder or CHECKOUT / "var/soak" / now).resolve(),
        mix=given.faults,
        clients=given.clients,
        watchers=given.watchers,
        think=given.think,
        gap=given.gap,
        planted=given.plant,
        progress=lambda line: print(line, flush=True),  # noqa: T201
    )
    options.progress(f"seed {options.seed}, into {options.folder}")
    outcome = run(options)
    report.write(outcome, options.folder)
    options.progress(report.in_words(outcome))
    if outcome.violations:
        options.progress(f"The same plan again: {again(options)}")
    if options.planted and not outcome.met_by:
        options.progress(f"Nothing came by the mistake {options.planted}.")
        return 2
    return 1 if outcome.violations else 0


def again(options: Options) -> str:
    """Return the command that makes the same plan again; of what is as always it says nothing."""
    always = {field.name: field.default for field in dataclasses.fields(Options)}
    given = {name: getattr(options, name) for name in [*WORDS, *OPTIONS]}
    told = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in given.items()}
    words = [f"{word}={shlex.quote(told[name])}" for name, word in WORDS.items()]
    others = [f"{option} {told[name]}" for name, option in OPTIONS.items() if given[name] != always[name]]
    return " ".join(["make soak", *words, *([f"OPTIONS={shlex.quote(' '.join(others))}"] if others else [])])


if __name__ == "__main__":
    sys.exit(main())
