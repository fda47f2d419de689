"""The terminal, lent to a command so that Ctrl-C and the keyboard are its own, as a shell does it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def lent_terminal() -> Iterator[Callable[[], None]]:
    """Yield what a child calls before exec to take the terminal; at the end it is ours again.

    Without a terminal, or in the background, the call does nothing.
    """
    terminal = _open_terminal()
    try:
        yield lambda: _take(terminal)
    finally:
        if terminal is not None:
            _give_to(terminal, os.getpgrp())
            os.close(terminal)


def _open_terminal() -> int | None:
    """Return a descriptor of the terminal that we are in the foreground of, or None."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return None
    if os.tcgetpgrp(terminal) == os.getpgrp():
        return terminal
    os.close(terminal)
    return None


def _take(terminal: int | None) -> None:
    if terminal is not None:
        _give_to(terminal, os.getpgrp())
        # Ctrl-Z would stop the command behind our back, and the terminal would be stuck.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)


def _give_to(terminal: int, group: int) -> None:
    # Whoever is not in the foreground is stopped by SIGTTOU for trying this.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(terminal, group)
    except OSError:
        pass  # The terminal is gone.
    finally:
        signal.signal(signal.SIGTTOU, before)
