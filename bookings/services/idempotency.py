"""Requests that name themselves by a key are answered once, however often they come.

What a request does is safe to be done twice (a hold is bought once), so a key is no lock: it only makes the answers
alike. That is why the answer of a process that died may be taken over after a moment.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from django.db import connection

from bookings.models import IdempotencyRecord
from cinebook.core.error_responses import ERRORS, error_body
from cinebook.core.errors import ErrorCode, Refusal

# How long an attempt is thought to be under way. After that its process has died, or hangs.
ATTEMPT_SECONDS = 5
# How long a second request waits for the answer of the first, and how often it looks, in seconds.
PATIENCE = 2.0
GLANCE = 0.05
# How long answers are kept, in seconds.
KEPT_SECONDS = 24 * 3600
# What is no answer, because the same request may have another one in a moment.
SERVER_ERRORS = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status, and a body that JSON can carry."""

    status: int
    body: Any


def answer_once(*, holder_id: int, key: str, request_hash: str, work: Callable[[], Answer]) -> Answer:
    """Return the answer to a request that has named itself; do its work only if nobody has.

    Refusals are answers too, but for those that a repetition may overcome: they are forgotten, and raised.

    Args:
        holder_id: who asks; others may use the same key.
        key: the request's name.
        request_hash: tells the request from every other.
        work: does what is asked.

    Raises:
        Refusal: `idempotency_mismatch` if the key belongs to another request; `seat_locked` if that is still being
            answered; or what `work` refuses for the moment.
    """
    patient_until = time.monotonic() + PATIENCE
    while (attempted_at := _claim(holder_id, key, request_hash)) is None:
        record = IdempotencyRecord.objects.filter(holder=holder_id, key=key).first()
        # Gone means that the first attempt has come to nothing this very moment.
        if record and record.request_hash != request_hash:
            raise Refusal(ErrorCode.IDEMPOTENCY_MISMATCH)
        if record and record.status is not None:
            return Answer(status=record.status, body=record.body)
        if time.monotonic() > patient_until:
            raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)
        time.sleep(GLANCE)
    unanswered = IdempotencyRecord.objects.filter(holder=holder_id, key=key, status=None)
    try:
        answer = _answer(work)
    except BaseException:
        # Whoever took the request over is still at it.
        unanswered.filter(attempted_at=attempted_at).delete()
        raise
    unanswered.update(status=answer.status, body=answer.body)
    return answer


def forget_old_answers() -> int:
    """Delete the answers that nobody will ask for again; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM bookings_idempotencyrecord WHERE created_at < clock_timestamp() - make_interval(secs => %s)",
            [KEPT_SECONDS],
        )
        return int(cursor.rowcount)


def _claim(holder_id: int, key: str, request_hash: str) -> dt.datetime | None:
    """Return since when the caller is to answer the request: it is the first, or the one before has died; else None."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bookings_idempotencyrecord AS record (holder_id, key, request_hash)
            VALUES (%(holder)s, %(key)s, %(hash)s)
            ON CONFLICT (holder_id, key) DO UPDATE SET attempted_at = clock_timestamp()
            WHERE record.status IS NULL AND record.request_hash = excluded.request_hash
              AND record.attempted_at <= clock_timestamp() - make_interval(secs => %(attempt)s)
            RETURNING attempted_at
            """,
            {"holder": holder_id, "key": key, "hash": request_hash, "attempt": ATTEMPT_SECONDS},
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _answer(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except Refusal as refusal:
        status = ERRORS[refusal.code].status
        if status >= SERVER_ERRORS or "retry_after" in refusal.data:
            raise
        return Answer(status=status, body=error_body(refusal))
