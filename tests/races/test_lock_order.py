"""Every operation locks the rows of a sale in one order, and changes seats of one showtime in a transaction.

Payment, booking, holders by id, holds by id, seats by id, counter: seen in the SQL that goes by. Nobody who keeps to it
can deadlock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from seating.models import Holder, Showtime
from seating.services import run_sale
from seating.services.row_locks import lock_holder, lock_seats
from tests.races.operations import OPERATIONS, Scene, scene
from tests.support.asking import hold, release
from tests.support.buying import FlakyDemo
from tests.support.passing_time import let_pass
from tests.support.rivals import Work

pytestmark = pytest.mark.django_db(transaction=True)

LOCKS = (
    ("effects", r"core_effect AS effect\s+WHERE.*FOR NO KEY UPDATE OF effect SKIP LOCKED"),
    ("showtime", r'FROM "seating_showtime" .*FOR NO KEY UPDATE OF "seating_showtime"'),
    (
        "payment",
        r'FROM "bookings_payment" .*FOR NO KEY UPDATE OF "bookings_payment"|UPDATE bookings_payment AS payment',
    ),
    ("booking", r'FROM "bookings_booking" .*FOR NO KEY UPDATE OF "bookings_booking"'),
    ("bookings", r"FROM bookings_booking WHERE .*ORDER BY id FOR NO KEY UPDATE"),
    ("holder", r"FROM seating_holder AS holder.*FOR NO KEY UPDATE OF holder"),
    ("holders", r"FROM seating_holder WHERE .*ORDER BY id FOR NO KEY UPDATE"),
    ("holds", r"FROM seating_hold\s+WHERE.*ORDER BY id\s+FOR NO KEY UPDATE( SKIP LOCKED)?\s"),
    ("a hold, if nobody has it", r"FROM seating_hold\s+WHERE.*FOR NO KEY UPDATE SKIP LOCKED\s+\)"),
    ("seats", r"FROM seating_seat\s+WHERE.*ORDER BY id\s+FOR (NO KEY )?UPDATE\s*$"),
    ("counter", r"(UPDATE|INSERT INTO) \"?seating_showtimesales|FROM seating_showtimesales .*FOR UPDATE"),
)
PLACES = {name: place for place, (name, _pattern) in enumerate(LOCKS)}
# Late money gives the seats two versions: they are taken again, and sold.
TWICE = {"counter"}


COUNTER = re.compile(r"seating_showtimesales SET seq = seq \+ 1\s+WHERE showtime_id = (\d+)")


def transactions(work: Work) -> Iterator[list[str]]:
    """Return the statements of each transaction."""
    with CaptureQueriesContext(connection) as queries:
        work()
    statements: list[str] = []
    for query in queries:
        # What stands before it was a transaction by itself.
        if query["sql"] in {"BEGIN", "COMMIT", "ROLLBACK"}:
            yield statements
            statements = []
        statements.append(f"{query['sql']} ")
    yield statements


def locked(statements: list[str]) -> list[str]:
    """Return what a transaction locks, in order; fail for a lock of which nobody has thought."""
    found: list[str] = []
    for sql in statements:
        kinds = [kind for kind, pattern in LOCKS if re.search(pattern, sql, re.DOTALL)]
        if re.search(r"FOR (NO KEY )?UPDATE", sql):
            assert len(kinds) == 1, f"a lock outside the order: {sql}"
        found += kinds[:1]
    return found


def assert_in_order(found: list[str]) -> None:
    places = [PLACES[kind] for kind in found]
    assert places == sorted(places), found
    assert {kind for kind in found if found.count(kind) > 1} <= TWICE, found


def prepared(name: str, provider: FlakyDemo) -> Scene:
    at = scene(OPERATIONS[name].stage, provider)
    prepare = OPERATIONS[name].prepare
    if prepare:
        prepare(at)
    return at


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_to_it(name: str, provider: FlakyDemo) -> None:
    at = prepared(name, provider)
    found = [locked(statements) for statements in transactions(lambda: OPERATIONS[name].does(at))]
    assert any(found), "it locks nothing"
    for kinds in found:
        assert_in_order(kinds)


@pytest.mark.parametrize("name", ["let go", "reconcile", "window over", "sign in"])
def test_who_goes_over_many_showtimes_changes_the_seats_of_one_at_a_time(name: str, provider: FlakyDemo) -> None:
    at, other = prepared(name, provider), prepared(name, provider)
    if name == "sign in":
        # Dora holds at both, too, and longer ago: what she has there is let go of.
        for showtime in (at.showtime, other.showtime):
            let_pass(60, hold(showtime, at.dora, "A3").hold.hold_id)
        release(other.showtime, other.ada)
        hold(other.showtime, at.ada, "A1")
    showtimes = [
        set(COUNTER.findall("".join(statements))) for statements in transactions(lambda: OPERATIONS[name].does(at))
    ]
    assert all(len(ids) <= 1 for ids in showtimes)
    assert set().union(*showtimes) == {str(at.showtime.pk), str(other.showtime.pk)}


def test_whoever_locks_them_the_other_way_round_is_found_out(showtime: Showtime, ada: Holder) -> None:
    """The control."""

    def backwards() -> None:
        lock_seats(showtime_id=showtime.pk, codes=["A1"])
        lock_holder(holder_id=ada.pk, showtime_id=showtime.pk)

    (found,) = filter(None, map(locked, transactions(lambda: run_sale(backwards))))
    assert found == ["seats", "holder"]
    with pytest.raises(AssertionError):
        assert_in_order(found)
