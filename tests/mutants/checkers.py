"""Who looks for broken promises, each by what it can see; each says what it complains of, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection
from django.utils import timezone

from bookings.models import Booking, BookingStatus
from bookings.selectors.invariants import BOOKING_INVARIANTS
from seating.events import SeatsChanged
from seating.models import Hold
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from seating.selectors.seat_changes import changes_since
from seating.selectors.seat_map import seat_snapshot
from tests.mutants.scenarios import House
from tests.support.buying import assert_bought_right, assert_provider_agrees
from tests.support.locks import assert_redis_says_what_postgresql_says


def _complaint(check: Callable[[], object]) -> str:
    try:
        check()
    except AssertionError as error:
        return str(error) or type(error).__name__
    return ""


def invariants(house: House) -> str:
    """What the reconciler asks of PostgreSQL."""
    return "; ".join(finding.violation for finding in broken_invariants([*SEAT_INVARIANTS, *BOOKING_INVARIANTS]))


def seats(house: House) -> str:
    """Rows, ledger, audit and tickets, each against the others."""
    return _complaint(lambda: assert_bought_right(house.showtime))


def provider(house: House) -> str:
    """The books of the provider: the same money is there, and nothing was given back twice."""
    refunds = house.provider.calls.count("refund") - house.refunds_that_failed
    if refunds > 1:
        return f"the money was given back {refunds} times"
    return _complaint(assert_provider_agrees)


def viewers(house: House) -> str:
    """Every map that was opened, brought up to date by the ledger and by the events that were sent."""
    return _complaint(lambda: _converge(house))


def redis(house: House) -> str:
    """The locks in Redis against PostgreSQL."""
    return _complaint(lambda: assert_redis_says_what_postgresql_says(house.redis))


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


def promises(house: House) -> str:
    """What people were told, against what they have."""
    return _complaint(lambda: _kept(house))


def _kept(house: House) -> None:
    for answers in house.answers.values():
        assert all(answer == answers[0] for answer in answers), "a repeated request had another answer"
    for asked, held in house.holds:
        assert set(asked) <= set(held.seats), "a hold lacks a seat that was asked for"
        assert held.expires_at <= held.max_expires_at, "a hold outlives its cap"
    for asked, held in house.holds:
        hold = Hold.objects.get(pk=held.hold_id)
        in_time = hold.end_reason not in ("expired", "sold") and hold.expires_at > timezone.now()
        wanted = {code for code in asked if (hold.pk, code) not in house.given_up}
        assert not in_time or wanted <= _seats_of(hold), "a hold lost a seat before its time was over"
    for booking in Booking.objects.filter(pk__in=[booking.pk for booking in house.bookings]):
        bought = set(booking.tickets.values_list("seat__code", flat=True))
        if booking.status in (BookingStatus.PENDING, BookingStatus.CONFIRMED):
            assert bought <= _seats_of(booking.hold), "a booking lost a seat"


def _seats_of(hold: Hold) -> set[str]:
    return set(hold.seats.values_list("code", flat=True))
