"""What stands in the house when all is over: run beside it, it prints what is wrong and how everything stands.

It asks whatever the product has to say of itself and, apart from that, the tests' own judges, which share no code
with it.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from redis import Redis

from bookings.models import Booking, Ticket
from bookings.selectors.invariants import BOOKING_INVARIANTS
from bookings.services.reconciling import reconcile
from seating.models import Seat, Showtime
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from tests.support.buying import assert_bought_right, assert_provider_agrees
from tests.support.locks import assert_redis_says_what_postgresql_says

# How often Redis is looked at until it agrees, and how many seconds lie between.
LOOKS, BETWEEN_LOOKS = 8, 0.7


def main() -> None:
    """Reconcile once, check everything, and print the findings and all bookings and seats as one JSON object."""
    wrong = [*_broken(), *_reconciled()]
    for showtime in Showtime.objects.all():
        wrong += _found(f"showtime {showtime.pk}", lambda showtime=showtime: assert_bought_right(showtime))
    wrong += _found("I6, the provider's books", assert_provider_agrees)
    wrong += _verified()
    wrong += _redis_disagrees()
    print(json.dumps({"wrong": wrong, "bookings": _bookings(), "seats": _seats()}))  # noqa: T201


def _found(what: str, judge: Callable[[], None]) -> list[str]:
    try:
        judge()
    # A key that has gone in the midst of it is read as None.
    except (AssertionError, TypeError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{what}: {str(error) or where.line} ({where.name}, line {where.lineno})"[:600]]
    return []


def _broken() -> list[str]:
    return [str(finding) for finding in broken_invariants([*SEAT_INVARIANTS, *BOOKING_INVARIANTS])]


def _reconciled() -> list[str]:
    run = reconcile()
    return [f"the reconciler: {what}" for what in (run.error, run.repaired_rows, run.findings) if what]


def _verified() -> list[str]:
    """Ask the product's own command."""
    try:
        call_command("verify_seats", stdout=_Silence())
    except CommandError as error:
        return [f"verify_seats: {error}"[:600]]
    return []


def _redis_disagrees() -> list[str]:
    """I8, which is said of the moment after a reconcile: a hold that has run out since leaves a line in the index.

    So what is a disagreement is there after each of several reconciles.
    """
    found: list[str] = []
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as redis:
        for _look in range(LOOKS):
            found = _found("I8, Redis", lambda: assert_redis_says_what_postgresql_says(redis))
            if not found:
                break
            time.sleep(BETWEEN_LOOKS)
            reconcile()
    return found


def _bookings() -> list[list[object]]:
    codes: dict[int, list[str]] = {}
    for booking, code in Ticket.objects.values_list("booking", "seat__code"):
        codes.setdefault(booking, []).append(code)
    rows = Booking.objects.values_list("pk", "reference", "hold", "status")
    return [[reference, str(hold), status, codes.get(pk, [])] for pk, reference, hold, status in rows]


def _seats() -> list[list[object]]:
    rows = Seat.objects.values_list("showtime", "code", "status", "hold")
    return [[showtime, code, status, str(hold) if hold else None] for showtime, code, status, hold in rows]


class _Silence:
    """Nobody reads what a command prints."""

    def write(self, _text: str) -> None:
        """Forget it."""


if __name__ == "__main__":
    import django

    django.setup()
    main()
