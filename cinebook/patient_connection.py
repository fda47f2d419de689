"""A connection to PostgreSQL on which nobody waits for ever.

PostgreSQL's own timeouts end what takes it too long. They do not help when it says nothing at all, because its machine
hangs or the network swallows what is sent: libpq would wait, and a web process would soon have no thread left.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import _WaitTimeout
from psycopg_pool.base import AttemptWithBackoff

# Longer than any statement of a request may take, a wait for a row included.
ANSWER_SECONDS = 10.0

# After a restart of PostgreSQL every connection in the pool is dead. The pool tries them one by one, and waits for a
# whole second before the third try and for two before the next: a request that came upon three of them was refused,
# although PostgreSQL was back. It has no setting for that.
AttemptWithBackoff.INITIAL_DELAY = 0.02


class PatientConnection(psycopg.Connection[Any]):
    """Waits for an answer for `ANSWER_SECONDS`, and gives the connection up."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Return what PostgreSQL has answered.

        Raises:
            OperationalError: it has not, in time; whether it has done what it was asked is not known.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_SECONDS)
        except _WaitTimeout as error:
            # Whatever comes on it now would answer another question.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"PostgreSQL has not answered for {ANSWER_SECONDS:.0f} s.") from error
