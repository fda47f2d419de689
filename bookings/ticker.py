"""The doors of the clock: once a second each web process sees to what may keep it waiting, each in a thread of its own.

Holds must end in time, however slow a payment provider is, and mail must leave however slow that is, and the other way
round.
"""

from __future__ import annotations

from bookings.services import ask_about_pending_payments, settle_overdue_payments, tell_demo_notices
from cinebook.core.outbox import deliver_effects
from seating.ticker import Ticker

# What a worker was nudged for is left to it for so long, in seconds; then there is none, or it has too much to do.
LEFT_TO_WORKERS = 3


class PaymentTicker(Ticker):
    """Ends purchases that were not paid in time, gives back what is due, and asks about what nobody tells."""

    def _work(self) -> set[str]:
        settle_overdue_payments()
        tell_demo_notices()
        ask_about_pending_payments()
        return set()


class OutboxTicker(Ticker):
    """Delivers what no worker has come for, so that mail leaves while the broker is away."""

    def _work(self) -> set[str]:
        deliver_effects(due_for=LEFT_TO_WORKERS, until=self._stopped.is_set)
        return set()
