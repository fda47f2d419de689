"""What was answered to a request that named itself by an `Idempotency-Key`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from seating.models.holds import Holder


class IdempotencyRecord(models.Model):
    """One request of a holder, and its answer once there is one.

    It is written by the transaction that does what is asked, so either both are there or neither.
    """

    holder = models.ForeignKey(Holder, on_delete=models.CASCADE, related_name="idempotency_records", db_index=False)
    key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64, help_text=_("SHA-256 of where it went and of its body, in hex."))
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text=_("Of HTTP; empty until answered."))
    # JSON as text: PostgreSQL's own type would change the order of the fields, and an answer is told again as it was.
    body = models.TextField(null=True, blank=True)
    begun = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text=_("What it has begun that takes more than one transaction, such as a booking, by its reference."),
    )
    attempted_at = models.DateTimeField(db_default=Now(), help_text=_("When somebody last began to answer it."))
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        # Its name of old, because the version before this one serves while migrations run.
        db_table = "bookings_idempotencyrecord"
        ordering = ("-created_at", "-id")
        indexes = [
            # The reconciler deletes the old ones.
            models.Index(name="idempotency_record_by_age", fields=["created_at"]),
        ]
        constraints = [
            models.UniqueConstraint(name="idempotency_key_is_used_once_by_its_holder", fields=["holder", "key"]),
            models.CheckConstraint(
                name="idempotency_answer_has_status_and_body",
                condition=Q(status__isnull=True, body__isnull=True) | Q(status__isnull=False, body__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.holder_id} {self.key}"
