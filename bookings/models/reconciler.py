"""What the reconciler did, run by run, so that its silence is noticed."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class ReconcilerRun(models.Model):
    """One run of the reconciler. One that never finished was killed, or is still under way."""

    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    took_ms = models.PositiveIntegerField(null=True, blank=True)
    settled_payments = models.PositiveIntegerField(
        default=0, db_default=0, help_text=_("Bookings that expired, were refunded, or went with their showtime.")
    )
    expired_seats = models.PositiveIntegerField(
        default=0, db_default=0, help_text=_("Freed because their time was over.")
    )
    repaired_rows = models.PositiveIntegerField(
        default=0, db_default=0, help_text=_("Seats and audit rows that a mistake had left stuck.")
    )
    redis_up = models.BooleanField(
        null=True,
        blank=True,
        help_text=_("Whether the locks in Redis could be compared; unknown if it never came to it."),
    )
    locks_written = models.PositiveIntegerField(default=0, db_default=0)
    locks_removed = models.PositiveIntegerField(default=0, db_default=0)
    records_written = models.PositiveIntegerField(default=0, db_default=0)
    records_removed = models.PositiveIntegerField(default=0, db_default=0)
    index_lines = models.PositiveIntegerField(
        default=0, db_default=0, help_text=_("Lines of the indexes of locked seats that were put right.")
    )
    findings = models.JSONField(default=list, blank=True, help_text=_("Invariants that are broken."))
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ("-started_at", "-id")
        indexes = [
            # Health asks for the latest runs, the run itself for those that are old enough to be deleted.
            models.Index(name="reconciler_run_by_start", fields=["started_at"]),
        ]
        constraints = [
            models.CheckConstraint(
                name="reconciler_run_that_finished_says_how_long_it_took",
                condition=models.Q(finished_at__isnull=True, took_ms__isnull=True)
                | models.Q(finished_at__isnull=False, took_ms__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S}: {self.outcome}"

    @property
    def outcome(self) -> str:
        """How it went, in one word: `running`, `failed`, `findings`, `redis_away` or `ok`."""
        if self.finished_at is None:
            return "running"
        if self.error:
            return "failed"
        if self.findings:
            return "findings"
        return "ok" if self.redis_up else "redis_away"
