"""The transactions in which seats change hands: one showtime each, short, and never left half done.

Everything that locks rows locks them in one order, everywhere: the key of a request that names itself → payment →
booking → holders by id → holds by id → seats by id → the showtime's counter. That is what keeps deadlocks away; should
there be one all the same, the transaction is run once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from django.db import OperationalError, connection, transaction
from psycopg import errors

from cinebook.core.errors import ErrorCode, Refusal
from seating.services.idempotency import Once, do_once

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


def run_sale(work: Callable[[], Result], *, once: Once[Result] | None = None) -> Result:
    """Run a change of seats in a transaction of its own.

    Args:
        work: does all of it; it may be run twice.
        once: the request that it answers, if that has named itself.

    Returns:
        What `work` returns.

    Raises:
        Refusal: `seat_locked` when a row stayed locked for longer than the connection's `lock_timeout`, or whatever
            `work` refuses; in either case nothing has changed.
        AnsweredBefore: the named request was answered before.
        UnderWay: somebody is at it.
    """
    with busy_is_refused():
        try:
            return _commit(work, once)
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.DeadlockDetected):
                raise
            log.warning("sale.deadlock_retried")
            return _commit(work, once)


@contextmanager
def busy_is_refused() -> Iterator[None]:
    """Refuse, instead of failing, what others keep from being done: also for what is a part of a larger transaction.

    Raises:
        Refusal: `seat_locked` when a row stayed locked for longer than the connection's `lock_timeout`, or when two
            waited for each other; the transaction, or its part that this is, must be given up.
    """
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, errors.LockNotAvailable | errors.DeadlockDetected):
            raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1) from error
        raise


def _commit(work: Callable[[], Result], once: Once[Result] | None) -> Result:
    with transaction.atomic(durable=True):
        return do_once(once, work) if once else work()


def demand_transaction() -> None:
    """Refuse to be a transaction of its own: a step of a sale is done with all the others, or not at all.

    Raises:
        TransactionManagementError: nobody has opened one.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("This is a step of a sale: call it within run_sale.")
