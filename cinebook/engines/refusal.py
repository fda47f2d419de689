"""What stops a start: a sentence for the person at the console, never a traceback."""

from __future__ import annotations

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
