"""The records of requests that name themselves by a key: each is done once, however often it comes.

The key is written by the first statement of the very transaction that does what is asked, and the answer by its last:
a crash leaves both or neither. A second request with the key waits at the unique index until the first one has ended,
and finds its answer; or, if that was undone, is the first itself.

What takes more than one transaction, as a purchase does, writes down what it has begun with the first of them, and its
answer when there is one. A repetition goes on with what was begun.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder

Result = TypeVar("Result")

# How long somebody is thought to be at a request whose answer is still to come, in seconds. After that their process
# has died, or hangs, and whoever repeats the request goes on with it. Two who are at it do no harm.
ATTEMPT_SECONDS = 5
# How long answers are kept, in seconds.
KEPT_SECONDS = 24 * 3600


@dataclasses.dataclass(frozen=True, slots=True)
class NamedRequest:
    """A request that has named itself. Others than its holder may use the same key.

    `request_hash` tells it from every other request.
    """

    holder_id: int
    key: str
    request_hash: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A status as HTTP has it, and a body that JSON can carry."""

    status: int
    body: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """What a transaction has begun whose answer is still to come, such as a booking, by its reference."""

    what: str


@dataclasses.dataclass(frozen=True, slots=True)
class Once(Generic[Result]):
    """That a transaction does what a named request asks for.

    `tell` says what its result comes to. `resume` gives the result for what an earlier attempt has begun; without it
    nothing is ever left begun.
    """

    named: NamedRequest
    tell: Callable[[Result], Answer | Begun]
    resume: Callable[[str], Result] | None = None


class AnsweredBefore(Exception):  # noqa: N818 - a turn of events
    """The request has its answer already; whatever the transaction has done is undone."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class UnderWay(Exception):  # noqa: N818 - a turn of events
    """Somebody else is at this very request."""


def do_once(once: Once[Result], work: Callable[[], Result]) -> Result:
    """Do what a named request asks for, as all of the caller's transaction, and write down what it comes to.

    Raises:
        AnsweredBefore: it was done.
        UnderWay: somebody is at it.
        Refusal: `idempotency_mismatch`, or whatever `work` refuses; then nothing is written.
    """
    begun = _claim(once.named)
    if begun and once.resume:
        return once.resume(begun)
    result = work()
    outcome = once.tell(result)
    if isinstance(outcome, Begun):
        _note_begun(once.named, outcome)
    else:
        keep(once.named, outcome)
    return result


def look(named: NamedRequest) -> None:
    """Return if the request is still to be done, as far as can be seen.

    Raises:
        AnsweredBefore: it was done.
        UnderWay: somebody is at it.
        Refusal: `idempotency_mismatch` if its key belongs to another request.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT request_hash, status, body, attempted_at > clock_timestamp() - make_interval(secs => %s)
            FROM bookings_idempotencyrecord WHERE holder_id = %s AND key = %s
            """,
            [ATTEMPT_SECONDS, named.holder_id, named.key],
        )
        row = cursor.fetchone()
    if row is None:
        return
    request_hash, status, body, at_it = row
    if request_hash != named.request_hash:
        raise Refusal(ErrorCode.IDEMPOTENCY_MISMATCH)
    if status is not None:
        raise AnsweredBefore(Answer(status=status, body=json.loads(body)))
    if at_it:
        raise UnderWay


def keep(named: NamedRequest, answer: Answer) -> None:
    """Write down the answer of a request, unless it has another one by now.

    Raises:
        AnsweredBefore: somebody else was quicker.
        Refusal: `idempotency_mismatch` if its key belongs to another request.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bookings_idempotencyrecord AS record (holder_id, key, request_hash, status, body)
            SELECT id, %(key)s, %(hash)s, %(status)s, %(body)s FROM seating_holder WHERE id = %(holder)s
            ON CONFLICT (holder_id, key) DO UPDATE SET status = excluded.status, body = excluded.body
            WHERE record.status IS NULL AND record.request_hash = excluded.request_hash
            """,
            {
                "holder": named.holder_id,
                "key": named.key,
                "hash": named.request_hash,
                "status": answer.status,
                "body": json.dumps(answer.body, cls=DjangoJSONEncoder),
            },
        )
        if not cursor.rowcount:
            look(named)


def leave_to_others(named: NamedRequest) -> None:
    """Let a request that was begun be gone on with at once by whoever repeats it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE bookings_idempotencyrecord SET attempted_at = 'epoch'
            WHERE holder_id = %s AND key = %s AND request_hash = %s AND status IS NULL
            """,
            [named.holder_id, named.key, named.request_hash],
        )


def forget_old_answers() -> int:
    """Delete the answers that nobody will ask for again; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM bookings_idempotencyrecord WHERE created_at < clock_timestamp() - make_interval(secs => %s)",
            [KEPT_SECONDS],
        )
        return int(cursor.rowcount)


def _claim(named: NamedRequest) -> str:
    """Make the request the caller's to do; return what an earlier attempt has begun, empty for nothing.

    It waits while somebody else's transaction does it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bookings_idempotencyrecord AS record (holder_id, key, request_hash)
            SELECT id, %(key)s, %(hash)s FROM seating_holder WHERE id = %(holder)s
            ON CONFLICT (holder_id, key) DO UPDATE SET attempted_at = clock_timestamp()
            WHERE record.status IS NULL AND record.request_hash = excluded.request_hash
              AND record.attempted_at <= clock_timestamp() - make_interval(secs => %(attempt)s)
            RETURNING record.begun
            """,
            {
                "holder": named.holder_id,
                "key": named.key,
                "hash": named.request_hash,
                "attempt": ATTEMPT_SECONDS,
            },
        )
        row = cursor.fetchone()
    if row:
        begun: str = row[0]
        return begun
    look(named)
    if not Holder.objects.filter(pk=named.holder_id).exists():
        # Their token has outlived them.
        raise Refusal(ErrorCode.NOT_AUTHENTICATED)
    # It came to nothing this very moment.
    raise UnderWay


def _note_begun(named: NamedRequest, begun: Begun) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE bookings_idempotencyrecord SET begun = %s WHERE holder_id = %s AND key = %s",
            [begun.what, named.holder_id, named.key],
        )
