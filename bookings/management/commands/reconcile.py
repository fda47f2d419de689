"""`manage.py reconcile`: what Celery does every five minutes, by hand."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.services import reconcile


class Command(BaseCommand):
    """Put right what a crash or a flush left behind, and say what that was."""

    help = (
        "Frees holds that have run out, puts right what is stuck, makes Redis say what PostgreSQL says, and checks the "
        "invariants. Safe at any time."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Reconcile, and print what was done.

        Raises:
            CommandError: a step failed, or an invariant is broken.
        """
        run = reconcile()
        self.stdout.write(f"Payments: {run.settled_payments} bookings settled.")
        self.stdout.write(f"PostgreSQL: {run.expired_seats} seats expired, {run.repaired_rows} stuck rows put right.")
        if run.redis_up:
            self.stdout.write(
                f"Redis: {run.locks_written} locks and {run.records_written} records written, {run.locks_removed} "
                f"locks and {run.records_removed} records removed, {run.index_lines} lines of indexes put right."
            )
        else:
            self.stdout.write("Redis is away: its locks were left as they are.")
        for finding in run.findings:
            self.stdout.write(
                f"{finding['number']} is broken: {finding['violation']} "
                f"({finding['count']}, such as {'; '.join(finding['examples'])})."
            )
        self.stdout.write(f"Took {run.took_ms} ms.")
        if run.error:
            raise CommandError(run.error)
        if run.findings:
            raise CommandError("Invariants are broken.")
