"""What the person at the console reads. What stops a start is a sentence there too, never a traceback."""

from __future__ import annotations

import contextlib
import sys

MISUSED = 2
"""The exit status for settings and arguments that make no sense."""

FAILED = 1
"""The exit status for everything else that went wrong."""


class Refusal(Exception):  # noqa: N818 - it is a refusal, said in words, and not an error of ours.
    """The start cannot go on, and the sentence says why and what to do."""

    def __init__(self, sentence: str, *, status: int = FAILED) -> None:
        """Keep the `sentence` for the console and the process's exit `status`."""
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


def say(text: str = "") -> None:
    """Print one line or several. A closed terminal must not keep us from stopping the children."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def complain(text: str) -> None:
    """Print what went wrong, to the standard error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
