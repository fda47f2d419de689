"""What stands in the house when all is over: run beside it, it prints what is wrong and how everything stands.

It asks whatever the product has to say of itself and, apart from that, the tests' own judges, which share no code
with it.
"""

from __future__ import annotations

import io
import json
import time
import traceback
from collections.abc import Callable

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from redis import Redis

from bookings.models import Booking, DemoPayment, PaymentStatus, Ticket
from bookings.selectors.invariants import BOOKING_INVARIANTS
from bookings.services.reconciling import reconcile
from seating.models import Seat, Showtime
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from tests.support.buying import assert_bought_right
from tests.support.locks import assert_redis_says_what_postgresql_says

# How many seconds lie between two looks.
BETWEEN_LOOKS = 0.7


def main(looks: int) -> None:
    """Reconcile, check everything, and print the findings and all bookings and seats as one JSON object.

    Holds still run out meanwhile: between two statements, or after the reconcile, where I8 is said of the moment after
    it. So everything is looked at several times, and what is wrong stays. What the reconciler repairs counts at once.

    Args:
        looks: how often all is looked at until it agrees.
    """
    repaired: list[str] = []
    wrong: list[str] = []
    for look in range(looks):
        time.sleep(BETWEEN_LOOKS if look else 0)
        repaired += _reconciled()
        wrong = [*_redis_disagrees(), *_verified(), *_disagreements()]
        if not wrong:
            break
    print(json.dumps({"wrong": [*repaired, *wrong], "bookings": _bookings(), "seats": _seats()}))  # noqa: T201


def _disagreements() -> list[str]:
    wrong = _broken()
    for showtime in Showtime.objects.all():
        wrong += _found(f"showtime {showtime.pk}", lambda showtime=showtime: assert_bought_right(showtime))
    return [*wrong, *_found("I6, the provider's books", _demo_disagrees)]


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
    told = io.StringIO()
    try:
        call_command("verify_seats", "--json", stdout=told)
    except CommandError as error:
        return [f"verify_seats: {error}: {told.getvalue()}"[:1500]]
    return []


def _demo_disagrees() -> None:
    """Assert that the books of the provider `demo` say what the house says (I6)."""
    kept = DemoPayment.objects.filter(status=PaymentStatus.CAPTURED).values_list("order", flat=True)
    paid = Booking.objects.filter(
        payment__provider="demo", payment__status__in=[PaymentStatus.CAPTURED, PaymentStatus.REFUND_DUE]
    )
    assert set(kept) == set(paid.values_list("reference", flat=True)), set(kept) ^ set(
        paid.values_list("reference", flat=True)
    )


def _redis_disagrees() -> list[str]:
    """I8."""
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as redis:
        return _found("I8, Redis", lambda: assert_redis_says_what_postgresql_says(redis))


def _bookings() -> list[list[object]]:
    codes: dict[int, list[str]] = {}
    for booking, code in Ticket.objects.values_list("booking", "seat__code"):
        codes.setdefault(booking, []).append(code)
    rows = Booking.objects.values_list(
        "pk", "reference", "hold", "status", "payment__provider", "payment__captured_amount", "payment__refunded_amount"
    )
    return [
        [reference, str(hold), status, codes.get(pk, []), provider, (captured or 0) - (refunded or 0)]
        for pk, reference, hold, status, provider, captured, refunded in rows
    ]


def _seats() -> list[list[object]]:
    rows = Seat.objects.values_list("showtime", "code", "status", "hold")
    return [[showtime, code, status, str(hold) if hold else None] for showtime, code, status, hold in rows]


if __name__ == "__main__":
    import django

    django.setup()
    main(looks=1)
