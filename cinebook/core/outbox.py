"""What a change brings about outside of the database: written down with the change, delivered after its commit.

An effect is a row, so it is there exactly if the change is. Whoever delivers claims the oldest waiting row of a
subject for a while (a lease), does it outside of any transaction, and marks it done if the lease is still theirs: so
each effect is delivered once, and those of a subject in the order in which they were written. A process that dies
between the delivery and the mark has it delivered again; the effect's `key` is then the same, for whoever receives it
to tell.

Nobody waits for the broker. After the commit a thread of its own nudges a worker; should the nudge be lost, the web
processes' tickers, and at last the reconciler, find what is due.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from celery import current_app, shared_task
from django.db import connection, transaction
from django.db.models.functions import Now

from cinebook.core.models import Effect, EffectStatus

log = structlog.get_logger(__name__)

# For how long an effect is left to whoever has begun it, in seconds: longer than any delivery, for after that somebody
# else takes it up.
LEASE_SECONDS = 120
# The pause after the first failure, which doubles with each, and the longest one, in seconds; and after how many
# attempts an effect is given up: that is about a day.
FIRST_PAUSE = 10
LONGEST_PAUSE = 3600
MAX_ATTEMPTS = 36
KEPT_FOR = dt.timedelta(days=14)
# How long one task goes on delivering, in seconds; another one takes up what is left.
ROUND_SECONDS = 60
NUDGE_TASK = "cinebook.deliver_effects"
# A nudge that no worker took by then is out of date, and how often one is sent at the most, in seconds.
NUDGE_EXPIRES = 60
NUDGE_PAUSE = 0.1
# How long a broker is left alone that refused a nudge, in seconds.
BROKER_PAUSE = 5

Deliver = Callable[..., None]
_registry: dict[str, Deliver] = {}


def effect(name: str) -> Callable[[Deliver], Deliver]:
    """Make a function the one that delivers the effects of this name.

    It is called with the effect's arguments and its `key` (a UUID in text, the same for each attempt), outside of a
    transaction, and must be done in less than `LEASE_SECONDS`. Whatever it raises has it tried again later.
    """

    def register(deliver: Deliver) -> Deliver:
        assert _registry.setdefault(name, deliver) is deliver, f"two functions deliver {name}"  # noqa: S101
        return deliver

    return register


def write_effect(*, subject: str, name: str, arguments: Mapping[str, Any]) -> None:
    """Write down, in the caller's transaction, what is to happen once it has committed.

    The caller has locked what the subject is, so that effects of one subject are written one after the other.

    Args:
        subject: what it is about, such as `booking BK-…`.
        name: which function delivers it.
        arguments: for the function; JSON must be able to carry them. Nothing that is not to be kept for some days.

    Raises:
        TransactionManagementError: there is no transaction.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An effect is written together with the change that causes it.")
    Effect.objects.create(subject=subject, name=name, arguments=dict(arguments))
    transaction.on_commit(nudge, robust=True)


def deliver_effects(*, due_for: float = 0, until: Callable[[], bool] = lambda: False) -> int:
    """Deliver what is due, one effect after the other; any number of processes may do so at the same time.

    Args:
        due_for: pass over what has become due within so many seconds, because others will come for it.
        until: asked before each effect; once it is true, the rest is left to others.

    Returns:
        How many effects were delivered.

    Raises:
        TransactionManagementError: a transaction is open, which a slow mail server would keep open.
    """
    if connection.in_atomic_block:
        raise transaction.TransactionManagementError("Nothing is delivered within a transaction.")
    delivered = 0
    while not until() and (claimed := _claim(due_for)):
        delivered += _attempt(claimed)
    return delivered


def retry_dead(*, effect_ids: list[int]) -> int:
    """Try effects again that were given up; return how many.

    What has been written of the same subject since may have been delivered before them.
    """
    with transaction.atomic():
        revived = Effect.objects.filter(pk__in=effect_ids, status=EffectStatus.DEAD).update(
            status=EffectStatus.WAITING, attempts=0, next_attempt_at=Now()
        )
        transaction.on_commit(nudge, robust=True)
    return revived


def forget_delivered() -> int:
    """Delete what was delivered long ago; return how many effects."""
    old = Effect.objects.filter(status=EffectStatus.DELIVERED, delivered_at__lt=Now() - KEPT_FOR)
    return old.delete()[0]


@dataclasses.dataclass(frozen=True, slots=True)
class OutboxState:
    """How many effects wait, for how long one has at the most that could be delivered, and how many were given up."""

    waiting: int
    overdue: dt.timedelta
    dead: int


def outbox_state() -> OutboxState:
    """Return how the outbox stands, by PostgreSQL's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH waiting AS (
                SELECT id, next_attempt_at, row_number() OVER (PARTITION BY subject ORDER BY id) = 1 AS is_next
                FROM core_effect WHERE status = 'WAITING'
            )
            SELECT count(*), greatest(clock_timestamp() - min(next_attempt_at) FILTER (WHERE is_next), interval '0'),
                   (SELECT count(*) FROM core_effect WHERE status = 'DEAD')
            FROM waiting
            """
        )
        waiting, overdue, dead = cursor.fetchone()
    return OutboxState(waiting=waiting, overdue=overdue, dead=dead)


# --- Delivering ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Claimed:
    """An effect that is this process's to deliver until `leased_until`, which proves it. `attempt` counts from 1."""

    effect_id: int
    key: uuid.UUID
    subject: str
    name: str
    arguments: dict[str, Any]
    attempt: int
    leased_until: dt.datetime


class _Poisonous(Exception):  # noqa: N818 - a turn of events
    """Nobody who tried it has lived to say how it went."""


def _claim(due_for: float) -> _Claimed | None:
    """Claim the effect that has been due for longest, as long as nothing older of its subject waits; None if none is.

    Who has it keeps it out of others' sight by its time: a statement that waited for nothing, and holds no lock after.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH clock AS MATERIALIZED (
                SELECT clock_timestamp() AS now
            ), due AS MATERIALIZED (
                SELECT effect.id FROM clock, core_effect AS effect
                WHERE effect.status = 'WAITING' AND effect.next_attempt_at <= now - make_interval(secs => %(due_for)s)
                  AND NOT EXISTS (
                      SELECT FROM core_effect AS older
                      WHERE older.status = 'WAITING' AND older.subject = effect.subject AND older.id < effect.id
                  )
                ORDER BY effect.next_attempt_at
                LIMIT 1
                FOR NO KEY UPDATE OF effect SKIP LOCKED
            )
            UPDATE core_effect AS effect
            SET attempts = attempts + 1, next_attempt_at = now + make_interval(secs => %(lease)s)
            FROM clock, due WHERE effect.id = due.id
            RETURNING effect.id, effect.key, effect.subject, effect.name, effect.arguments::text, effect.attempts,
                      effect.next_attempt_at
            """,
            {"due_for": due_for, "lease": LEASE_SECONDS},
        )
        row = cursor.fetchone()
    if row is None:
        return None
    effect_id, key, subject, name, arguments, attempt, leased_until = row
    return _Claimed(effect_id, key, subject, name, json.loads(arguments), attempt, leased_until)


def _attempt(claimed: _Claimed) -> bool:
    """Deliver an effect; return whether that worked, and the effect was still this process's to mark."""
    try:
        if claimed.attempt > MAX_ATTEMPTS:
            # No attempt came to an end: it takes the processes along that try it.
            raise _Poisonous  # noqa: TRY301
        _registry[claimed.name](**claimed.arguments, key=str(claimed.key))
    except Exception as error:  # noqa: BLE001 - whatever it is, the others' effects are not held back by it
        _write_failure(claimed, error)
        return False
    done = _still_ours(claimed).update(status=EffectStatus.DELIVERED, delivered_at=Now(), error="")
    if not done:
        log.error("outbox.delivered_too_slowly", effect=claimed.name, subject=claimed.subject, key=str(claimed.key))
        return False
    log.info("outbox.delivered", effect=claimed.name, subject=claimed.subject, attempt=claimed.attempt)
    return True


def _write_failure(claimed: _Claimed, error: Exception) -> None:
    told = {
        "effect": claimed.name,
        "subject": claimed.subject,
        "key": str(claimed.key),
        "attempt": claimed.attempt,
        "error": _where(error),
    }
    if claimed.attempt >= MAX_ATTEMPTS:
        _still_ours(claimed).update(status=EffectStatus.DEAD, error=told["error"])
        log.error("outbox.given_up", **told)
        return
    pause = dt.timedelta(seconds=_pause(claimed.attempt))
    _still_ours(claimed).update(next_attempt_at=Now() + pause, error=told["error"])
    log.warning("outbox.not_delivered", **told, again_in=round(pause.total_seconds()))


def _still_ours(claimed: _Claimed) -> Any:
    """Return the effect's row, unless somebody else has claimed it since."""
    return Effect.objects.filter(
        pk=claimed.effect_id, next_attempt_at=claimed.leased_until, status=EffectStatus.WAITING
    )


def _pause(attempt: int) -> float:
    """Return for how long to leave an effect alone after so many failures, in seconds: not all at the same moment."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
    pause: float = longest * random.uniform(0.5, 1)  # noqa: S311
    return pause


def _where(error: Exception) -> str:
    """Return what has failed, and where; not its words, for those of a mail server name the person."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"
    code = getattr(error, "smtp_code", "")
    return f"{type(error).__name__}{f' {code}' if code else ''} ({place})"[:200]


# --- The nudge -------------------------------------------------------------------------------------------------------


class _Nudger:
    """Sends nudges from a thread of its own: a broker that refuses or hangs keeps nobody else waiting."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def nudge(self) -> None:
        """Have a nudge sent, soon; return at once."""
        self._wanted.set()
        # A thread does not come along when a process forks, as Celery's do.
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(self._send())

    def _send(self) -> float:
        """Send a nudge; return for how long to rest after it, in seconds."""
        try:
            current_app.send_task(NUDGE_TASK, expires=NUDGE_EXPIRES, retry=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the tickers come by anyway
            log.warning("outbox.nudge_lost", error=type(error).__name__)
            return BROKER_PAUSE
        return NUDGE_PAUSE


_nudger = _Nudger()


def nudge() -> None:
    """Have a worker look for what is due, if there is one; return at once."""
    _nudger.nudge()


@shared_task(name=NUDGE_TASK)  # type: ignore[untyped-decorator] # Celery has no types
def deliver_effects_in_worker() -> None:
    """Deliver what is due; where that takes long, nudge another one for the rest."""
    ends_at = time.monotonic() + ROUND_SECONDS
    deliver_effects(until=lambda: time.monotonic() > ends_at)
    if time.monotonic() > ends_at:
        nudge()
