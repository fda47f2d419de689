"""What must always be true of seats, as questions to PostgreSQL that must find nothing (docs/architecture.md).

The reconciler asks the quick ones, of the showtimes that may still change; `manage.py verify_seats` asks all of them,
of all showtimes. Those about bookings stand in `bookings`.
"""

from seating.selectors.invariants.asking import (
    LOOK,
    REPAIR,
    BrokenInvariant,
    Invariant,
    Violation,
    broken_invariants,
    violations,
)
from seating.selectors.invariants.ledger import LEDGER_INVARIANTS
from seating.selectors.invariants.seats import HOLD_INVARIANTS

SEAT_INVARIANTS = (*HOLD_INVARIANTS, *LEDGER_INVARIANTS)

__all__ = [
    "LOOK",
    "REPAIR",
    "SEAT_INVARIANTS",
    "BrokenInvariant",
    "Invariant",
    "Violation",
    "broken_invariants",
    "violations",
]
