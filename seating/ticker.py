"""The doors of the clock: once a second each web process ends holds that are over or left, and sees to the locks.

So a seat that has run out reads `available` within about a second. Whichever process comes first does it; the others
pass over what it is busy with. Should no process tick, the next person who wants the seat takes it over, and the
reconciler frees the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

import structlog
from django.db import InterfaceError, OperationalError, connection

from cinebook.core.errors import Refusal
from seating.services import expire_holds, let_go_of_left_holds, mend_lost_locks, showtimes_with_lapsed_holds

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
# How long a stopping process waits for the tick that is under way.
STOP_SECONDS = 5.0
# What is put right while Redis comes and goes may take this part of a ticker's time.
MEND_SHARE = 0.05


class Ticker:
    """Does its work once a second, from a thread of its own, until it is stopped; it survives what goes wrong."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        # A daemon, so that a PostgreSQL that does not answer cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        # What has gone wrong and was said: every second would be too often.
        self._said: set[str] = set()

    def start(self) -> None:
        """Begin, once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the tick that is under way."""
        self._stopped.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._tick()
            self._stopped.wait(TICK_SECONDS)

    def _tick(self) -> None:
        try:
            wrong = self._work()
        except (OperationalError, InterfaceError) as error:
            wrong = {"database"}
            self._say("database", error)
        except Exception as error:  # noqa: BLE001 - a clock goes on
            wrong = {"tick"}
            self._say("tick", error)
        finally:
            # Back to the pool, for a tick needs it for a few milliseconds only; a broken one is thrown away.
            connection.close()
        for trouble in self._said - wrong:
            log.info("ticker.well_again", trouble=trouble)
        self._said &= wrong

    def _work(self) -> set[str]:
        """Do the work of one tick; return the names of what went wrong, which `_say` has told."""
        raise NotImplementedError

    def _say(self, trouble: str, error: Exception) -> None:
        if trouble not in self._said:
            self._said.add(trouble)
            log.error("ticker.trouble", trouble=trouble, exc_info=error)


class HoldTicker(Ticker):
    """Ends holds that have run out or were left.

    Args:
        present: tells the holder and the showtime of each socket that this process has open on a seat map.
    """

    def __init__(self, *, present: Callable[[], Collection[tuple[int, int]]] = frozenset) -> None:
        super().__init__()
        self._present = present

    def _work(self) -> set[str]:
        """End the holds that are over, and those that were left; return at which showtimes that went wrong."""
        wrong = set()
        for showtime_id in showtimes_with_lapsed_holds():
            if self._stopped.is_set():
                break
            try:
                expire_holds(showtime_id=showtime_id)
            except Refusal:
                continue  # a row stayed locked; there is a next second
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:  # noqa: BLE001 - one showtime must not stop the clock of the others
                wrong.add(trouble := f"showtime {showtime_id}")
                self._say(trouble, error)
        let_go_of_left_holds(present=self._present())
        return wrong


class LockTicker(Ticker):
    """Puts the locks in Redis right as soon as Redis is back, whatever it has forgotten or remembers wrongly.

    It asks each second, so a request is seldom the one that finds out that Redis is away. It has a thread of its own,
    since holds must end in time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._failures_mended = 0
        self._rests_until = 0.0

    def _work(self) -> set[str]:
        """Put the locks right if that is necessary, and if it was not just done."""
        if time.monotonic() < self._rests_until:
            return set()
        began = time.monotonic()
        failures_mended = mend_lost_locks(failures_mended=self._failures_mended)
        if failures_mended != self._failures_mended:
            self._failures_mended = failures_mended
            self._rests_until = began + (time.monotonic() - began) / MEND_SHARE
        return set()
