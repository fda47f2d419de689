"""The user (our own class from the first day on: Django cannot change it later without pain), and the outbox."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person who signs in: moviegoer or staff."""


class EffectStatus(models.TextChoices):
    """Where an effect stands."""

    WAITING = "WAITING", _("waiting")
    DELIVERED = "DELIVERED", _("delivered")
    DEAD = "DEAD", _("given up")


class Effect(models.Model):
    """What a change brings about outside of the database, such as a mail: written with it, delivered after it."""

    key = models.UUIDField(
        default=uuid.uuid4, unique=True, help_text=_("Tells a second delivery of the same effect from another effect.")
    )
    subject = models.CharField(
        max_length=100, help_text=_("What it is about: effects of one subject are delivered one after the other.")
    )
    name = models.CharField(max_length=100, help_text=_("Which function delivers it."))
    arguments = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    status = models.CharField(
        max_length=9, choices=EffectStatus, default=EffectStatus.WAITING, db_default=EffectStatus.WAITING
    )
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(
        db_default=Now(), help_text=_("From when on it may be tried; while somebody is at it, until when they have it.")
    )
    error = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            # Deliverers ask for what is due, and whether something older of the same subject still waits.
            models.Index(name="waiting_effect_by_time", fields=["next_attempt_at"], condition=Q(status="WAITING")),
            models.Index(name="waiting_effect_by_subject", fields=["subject", "id"], condition=Q(status="WAITING")),
            # Health counts them.
            models.Index(name="dead_effect", fields=["id"], condition=Q(status="DEAD")),
            # The reconciler deletes the old ones.
            models.Index(name="delivered_effect_by_age", fields=["delivered_at"], condition=Q(status="DELIVERED")),
        ]
        constraints = [
            models.CheckConstraint(name="effect_status_is_known", condition=Q(status__in=EffectStatus.values)),
            models.CheckConstraint(
                name="effect_that_was_delivered_has_a_time",
                condition=Q(status=EffectStatus.DELIVERED, delivered_at__isnull=False)
                | (~Q(status=EffectStatus.DELIVERED) & Q(delivered_at__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.subject}"
