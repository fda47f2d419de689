"""SIGINT, SIGTERM and SIGHUP as a wish that is looked at, never as an exception out of nowhere.

Python's own way, a KeyboardInterrupt between any two steps, could come between a child's birth and
the note of its pid. Here a signal is only noted; whoever waits is woken and asks. `Pause` is that
waiting as a function, and `wait_until` waits by it for something to become true.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ECHO_SECONDS = 0.3
"""A second SIGINT within this time is the same Ctrl-C: `timeout` and make pass on what we had already."""

Pause = Callable[[float], None]
"""Sleeps for some seconds; raises StopRequested when a signal says that nobody waits any more."""

LOOK_SECONDS = 0.02
"""How often a condition is looked at."""


class StopRequested(Exception):  # noqa: N818 - it is a wish and not an error.
    """Somebody wants us to stop."""


class StopSignals:
    """Listens from `with` on. It is for a main thread that ends soon after: nothing stops it any more then."""

    def __init__(self) -> None:
        """Start with nothing received."""
        self._received: deque[int] = deque()
        self._first_at: float | None = None
        self._hurried = False

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(self._wake, False)
        for number in STOP:
            # A hang-up that is ignored is nohup's promise. SIGINT is ignored in the background of a script,
            # and there it is sent by somebody who means it.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)
        # A handler that does nothing is enough for a child's death to write to the pipe.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no longer. A Ctrl-C too many must not spoil the exit status of what has ended well."""
        signal.set_wakeup_fd(-1)
        for number in STOP:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._awake)
        os.close(self._wake)

    @property
    def asked(self) -> bool:
        """Whether a signal to stop has come."""
        return self._first_at is not None

    @property
    def hurried(self) -> bool:
        """Whether Ctrl-C came again after the first signal."""
        return self._hurried

    def wait(self, seconds: float) -> None:
        """Sleep for at most `seconds`; any signal, a child's death too, ends the sleep."""
        select.select([self._awake], [], [], max(seconds, 0))
        try:
            os.read(self._awake, 4096)
        except BlockingIOError:
            return

    def pause(self, seconds: float) -> None:
        """Sleep as `wait` does. Raises StopRequested if a signal to stop has come."""
        if not self.asked:
            self.wait(seconds)
        if self.asked:
            raise StopRequested

    def take(self) -> list[int]:
        """Return the signals that came since the last call, oldest first."""
        taken = []
        while self._received:
            taken.append(self._received.popleft())
        return taken

    def _note(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        self._received.append(number)
        if self._first_at is None:
            self._first_at = now
        elif number == signal.SIGINT and now - self._first_at > ECHO_SECONDS:
            self._hurried = True


def wait_until(condition: Callable[[], bool], *, within: float, pause: Pause = time.sleep) -> bool:
    """Return True as soon as `condition` holds, or False when it does not `within` that many seconds.

    Raises whatever `pause` raises.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause(LOOK_SECONDS)
    return True
