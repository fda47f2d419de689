"""What staff see of bookings."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from bookings.models import ReconcilerRun


@admin.register(ReconcilerRun)
class ReconcilerRunAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic in its stubs alone
    """What the reconciler did, to be read alone."""

    date_hierarchy = "started_at"
    list_display = (
        "started_at",
        "outcome",
        "took_ms",
        "settled_payments",
        "expired_seats",
        "repaired_rows",
        "locks_written",
        "locks_removed",
    )
    list_filter = ("redis_up",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody makes one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The reconciler itself deletes old ones."""
        return False
