"""Who looks for broken promises, each by what it can see; each says what it complains of, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from bookings import services
from bookings.models import Booking
from seating.events import SeatsChanged
from seating.models import Seat
from seating.selectors.seat_changes import changes_since
from seating.selectors.seat_map import seat_snapshot
from tests.mutants.scenarios import House
from tests.support.buying import assert_provider_agrees
from tests.support.promises import LastBooking, LastSeat


def _complaint(check: Callable[[], object]) -> str:
    try:
        check()
    except AssertionError as error:
        return str(error) or type(error).__name__
    return ""


def verify_seats(house: House) -> str:
    """What an operator asks: ledger, seats, holds, bookings, payments and Redis, each against the others."""
    return "; ".join(f"{finding.number} {finding.violation}" for finding in services.verify_seats().findings)


def promises(house: House) -> str:
    """What people were told, against what others were told and what they have at the end."""
    told = house.promises
    bookings = [
        LastBooking(booking.reference, str(booking.hold_id), booking.status, frozenset(_codes(booking)))
        for booking in Booking.objects.all()
    ]
    rows = Seat.objects.values_list("showtime", "code", "status", "hold")
    seats = {(showtime, code): LastSeat(status, str(hold) if hold else None) for showtime, code, status, hold in rows}
    at_the_end = told.violations_at_the_end(bookings=bookings, seats=seats, asked_at=house.clock())
    return "; ".join(map(str, [*told.violations(), *at_the_end]))


def answers(house: House) -> str:
    """What single answers say: the same request has the same, and a hold that is extended ends with its cap."""
    if any(answer != house.answers[0] for answer in house.answers):
        return "a repeated request had another answer"
    return "a hold was extended past its cap" if house.past_the_cap else ""


def provider(house: House) -> str:
    """The books of the provider: the same money is there, and nothing was given back twice."""
    refunds = house.provider.calls.count("refund") - house.refunds_that_failed
    if refunds > 1:
        return f"the money was given back {refunds} times"
    return _complaint(assert_provider_agrees)


def viewers(house: House) -> str:
    """Every map that was opened, brought up to date by the ledger and by the events that were sent."""
    return _complaint(lambda: _converge(house))


def _converge(house: House) -> None:
    now = seat_snapshot(showtime_id=house.showtime.pk, holder_id=None)
    changes = [event for event in house.events if isinstance(event, SeatsChanged)]
    for seen in house.snapshots:
        for told in (changes_since(showtime_id=house.showtime.pk, version=seen.version), changes):
            version, seats = seen.version, dict(seen.seats)
            for change in sorted(told, key=lambda change: change.version):
                if change.version == version + 1:
                    version = change.version
                    seats.update(change.changes)
            assert (version, seats) == (now.version, now.seats), "a map does not come to what is true"


@contextmanager
def deadlocks_counted() -> Iterator[Callable[[], int]]:
    """Yield what says how many deadlocks PostgreSQL has broken since."""
    before = _deadlocks()
    yield lambda: _deadlocks() - before


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def _codes(booking: Booking) -> list[str]:
    return list(booking.tickets.values_list("seat__code", flat=True))
