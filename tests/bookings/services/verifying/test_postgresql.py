"""Whatever disagrees in PostgreSQL is found by a planted fault, and nothing else; and repaired if it may be."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from bookings.models import Booking, DemoPayment, Payment, Ticket
from bookings.selectors.invariants import BOOKING_INVARIANTS, HOUSE_INVARIANTS
from bookings.services import repair_seats
from seating.models import Hold, Seat, SeatEvent
from seating.selectors.invariants import SEAT_INVARIANTS
from tests.bookings.services.verifying.faults import CASES, UNPAID
from tests.bookings.services.verifying.house import House, found
from tests.support.faults import without_index
from tests.support.passing_time import let_pass, run_out

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf", "hasty")]


def past_sales_and_money() -> tuple[Any, ...]:
    """What no repair may touch, but for lines that it appends to the ledger."""
    return (
        list(Seat.objects.filter(status="SOLD").order_by("pk").values_list("pk", "hold", "sold_at")),
        list(Ticket.objects.order_by("pk").values()),
        list(Booking.objects.order_by("pk").values()),
        list(Payment.objects.order_by("pk").values()),
        list(DemoPayment.objects.order_by("pk").values()),
    )


@pytest.mark.usefixtures("without_redis")
@pytest.mark.parametrize("case", [pytest.param(case[1:], id=str(case[0])) for case in CASES])
def test_a_planted_fault_is_found_and_repaired_if_it_may_be(house: House, case: Any) -> None:
    index, table, fault, wanted, left = case
    with without_index(index, table) if index else nullcontext():
        fault(house)
        ledger = list(SeatEvent.objects.order_by("pk").values())
        kept = past_sales_and_money()

        assert found() == wanted

        over = Hold.objects.filter(ended_at=None, paying=False)
        let_pass(3000, house.held.hold_id, *over.values_list("pk", flat=True))
        if wanted == {UNPAID}:
            run_out(house.pending.hold_id)
        assert found(repair_seats()) == left
        assert list(SeatEvent.objects.order_by("pk").values())[: len(ledger)] == ledger
        assert past_sales_and_money() == kept


def test_every_invariant_has_its_fault() -> None:
    planted = {violation for case in CASES for violation in case[4]}  # type: ignore[union-attr]

    assert planted == {invariant.violation for invariant in (*SEAT_INVARIANTS, *BOOKING_INVARIANTS, *HOUSE_INVARIANTS)}
