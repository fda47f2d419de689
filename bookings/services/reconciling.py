"""One run of the reconciler over both apps, and the record that it leaves."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time

import structlog
from django.db import DatabaseError
from django.db.models.functions import Now

from bookings.models import ReconcilerRun
from bookings.selectors.invariants import BOOKING_INVARIANTS
from bookings.services.cancelling import cancel_bookings_of_cancelled_showtimes
from bookings.services.expiring import settle_overdue_payments
from bookings.services.freeing import free_holds_paid_for_nothing
from cinebook.core.outbox import deliver_effects, forget_delivered, outbox_state
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from seating.services import SeatReconciliation, forget_old_answers, reconcile_seats

log = structlog.get_logger(__name__)

RUNS_ARE_KEPT_FOR = dt.timedelta(days=30)
# How long a run delivers what waits in the outbox, in seconds: it has other things to do.
DELIVERING_SECONDS = 30


def reconcile() -> ReconcilerRun:
    """Put right what a crash, a flush or a mistake left behind, check the invariants, and write down what was done.

    Harmless when it is run again, or twice at the same time.

    Returns:
        The record of this run; its `error` says at which showtimes a step failed, if any did.

    Raises:
        Exception: whatever ended it early, such as PostgreSQL being away; the record says so too, if it can be written.
    """
    begun = time.monotonic()
    run = ReconcilerRun.objects.create()
    try:
        # First, since what ends here leaves seats behind.
        run.settled_payments = settle_overdue_payments() + cancel_bookings_of_cancelled_showtimes()
        free_holds_paid_for_nothing()
        _write_down(run, reconcile_seats())
        forget_old_answers()
        _tidy_outbox()
        _check_invariants(run)
    except Exception as error:
        log.exception("reconciler.failed")
        run.error = f"{type(error).__name__}: {error}"
        try:
            _finish(run, begun)
        except DatabaseError as away:
            log.warning("reconciler.record_lost", error=str(away))
        raise
    _finish(run, begun)
    ReconcilerRun.objects.filter(started_at__lt=Now() - RUNS_ARE_KEPT_FOR).delete()
    return run


def _tidy_outbox() -> None:
    """Deliver what nobody else has, forget what was delivered long ago, and remind of what was given up."""
    ends_at = time.monotonic() + DELIVERING_SECONDS
    deliver_effects(until=lambda: time.monotonic() > ends_at)
    forget_delivered()
    dead = outbox_state().dead
    if dead:
        log.warning("outbox.some_were_given_up", effects=dead)


def _write_down(run: ReconcilerRun, seats: SeatReconciliation) -> None:
    run.expired_seats = seats.expired_seats
    run.repaired_rows = seats.repaired_rows
    run.redis_up = seats.locks is not None
    if seats.locks:
        for name, count in dataclasses.asdict(seats.locks).items():
            setattr(run, name, count)
    run.error = "\n".join(seats.failures)


def _check_invariants(run: ReconcilerRun) -> None:
    findings = [dataclasses.asdict(broken) for broken in broken_invariants([*SEAT_INVARIANTS, *BOOKING_INVARIANTS])]
    for finding in findings:
        log.error("invariant.broken", **finding)
    run.findings = findings


def _finish(run: ReconcilerRun, begun: float) -> None:
    run.finished_at = Now()
    run.took_ms = round((time.monotonic() - begun) * 1000)
    run.save()
    run.refresh_from_db(fields=["finished_at"])
    log.info("reconciler.finished", outcome=run.outcome, took_ms=run.took_ms)
