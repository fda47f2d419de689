"""The way of a request that names itself by a key, from its first attempt to the last repetition of its answer."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from cinebook.core.errors import ErrorCode, Refusal
from seating.services.idempotency import (
    Answer,
    AnsweredBefore,
    Begun,
    NamedRequest,
    Once,
    UnderWay,
    keep,
    leave_to_others,
    look,
)
from seating.services.transactions import run_sale

# How long a repetition waits for what is done in several transactions, and how often it looks, in seconds.
PATIENCE = 2.0
GLANCE = 0.05
# What the same request may be answered in another way in a moment, or by somebody who shows who they are.
PASSING = (
    ErrorCode.SEAT_LOCKED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.NOT_AUTHENTICATED,
    ErrorCode.SERVER_ERROR,
    ErrorCode.UNAVAILABLE,
)


def answer_once(*, named: NamedRequest, work: Callable[[], Answer], refuse: Callable[[Refusal], Answer]) -> Answer:
    """Answer a request that has named itself: by its work, if that is still to be done.

    Refusals are answers too, and change nothing; so they are kept apart from what they have refused. Those that a
    repetition may overcome are raised, and not kept.

    Args:
        named: the request.
        work: does it, in a transaction that has it as its `Once`, and returns the answer.
        refuse: returns a refusal as an answer.

    Raises:
        Refusal: `idempotency_mismatch` if the key belongs to another request; `seat_locked` if that is still being
            answered; or what `work` refuses for the moment.
    """
    patient_until = time.monotonic() + PATIENCE
    while True:
        try:
            look(named)
            return _answer(named, work, refuse)
        except AnsweredBefore as before:
            return before.answer
        except UnderWay:
            if time.monotonic() > patient_until:
                raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1) from None
            time.sleep(GLANCE)


def begin_request(*, named: NamedRequest, begun: str) -> None:
    """Take on a request whose work takes several transactions and may be done again; whoever repeats it waits.

    Args:
        named: the request.
        begun: what it is about, for the record.

    Raises:
        AnsweredBefore: it was done.
        UnderWay: somebody is at it.
        Refusal: `idempotency_mismatch`, `seat_locked`.
    """
    run_sale(lambda: None, once=Once(named, tell=lambda _none: Begun(begun), resume=lambda _begun: None))


def keep_answer(*, named: NamedRequest, answer: Answer) -> Answer:
    """Write down the answer of a request that took several transactions, and return it.

    Raises:
        AnsweredBefore: somebody who went on with it was quicker.
        Refusal: `seat_locked`.
    """
    run_sale(functools.partial(keep, named, answer))
    return answer


def _answer(named: NamedRequest, work: Callable[[], Answer], refuse: Callable[[Refusal], Answer]) -> Answer:
    try:
        return work()
    except Refusal as refusal:
        if not _is_final(refusal):
            leave_to_others(named)
            raise
        return keep_answer(named=named, answer=refuse(refusal))


def _is_final(refusal: Refusal) -> bool:
    return "retry_after" not in refusal.data and refusal.code not in PASSING
