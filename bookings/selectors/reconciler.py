"""What the reconciler did last."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from django.db.models.functions import Now

from bookings.models import ReconcilerRun


@dataclasses.dataclass(frozen=True, slots=True)
class ReconcilerState:
    """The run that finished last, and how long ago the last one finished that did not fail; None if none ever did."""

    run: ReconcilerRun
    finished_ago: dt.timedelta
    good_ago: dt.timedelta | None


def reconciler_state() -> ReconcilerState | None:
    """Return how the reconciler is doing, by PostgreSQL's clock; None before its first run has finished."""
    finished = ReconcilerRun.objects.filter(finished_at__isnull=False).annotate(now=Now())
    last: Any = finished.first()
    if last is None:
        return None
    good: Any = last if not last.error else finished.filter(error="").first()
    return ReconcilerState(
        run=last,
        finished_ago=last.now - last.finished_at,
        good_ago=last.now - good.finished_at if good else None,
    )
