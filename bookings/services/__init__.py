"""Writes of what was bought, and what needs both apps."""

from bookings.services.reconciling import reconcile

__all__ = ["reconcile"]
