"""The door of the clock: once a second each web process sees to payments whose window is over, and to refunds.

It has a thread of its own, since a provider may keep it waiting, and holds must end in time.
"""

from __future__ import annotations

from bookings.services import ask_about_pending_payments, settle_overdue_payments, tell_demo_notices
from seating.ticker import Ticker


class PaymentTicker(Ticker):
    """Ends purchases that were not paid in time, gives back what is due, and asks about what nobody tells."""

    def _work(self) -> set[str]:
        settle_overdue_payments()
        tell_demo_notices()
        ask_about_pending_payments()
        return set()
