"""The steps of a purchase, when there is nothing for them to do: no step takes another's word for it."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.utils import timezone

from seating.models import Holder, SeatChange, SeatStatus, Showtime
from seating.selectors.holds import HeldSeats, own_hold
from seating.services import (
    BookedHold,
    begin_payment,
    release_paid_hold,
    resume_hold,
    return_seats,
    run_sale,
    sell_hold,
    sell_late,
)
from tests.support.asking import hold, seat
from tests.support.ledger import assert_sound

pytestmark = pytest.mark.django_db(transaction=True)


def booked(held: HeldSeats) -> BookedHold:
    return BookedHold(hold_id=held.hold_id, holder_id=held.holder_id, showtime_id=held.showtime_id)


def test_a_hold_that_is_not_being_paid_is_left_alone(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold

    assert run_sale(lambda: resume_hold(booked=booked(held), until=timezone.now())) is None
    assert run_sale(lambda: release_paid_hold(booked=booked(held))) is False
    assert run_sale(lambda: sell_hold(booked=booked(held), codes=["A1"])) is False
    after = own_hold(holder_id=ada.pk, hold_id=held.hold_id)
    assert (after.expires_at, after.fences) == (held.expires_at, held.fences)


def test_a_sale_is_all_or_nothing(showtime: Showtime, ada: Holder, ben: Holder) -> None:
    held = hold(showtime, ada, "A1", "A2").hold
    hold(showtime, ben, "A3")
    run_sale(lambda: begin_payment(holder_id=ada.pk, showtime_id=showtime.pk))

    assert run_sale(lambda: sell_hold(booked=booked(held), codes=["A1", "A2", "A3"])) is False
    assert {seat(showtime, code).status for code in ("A1", "A2", "A3")} == {SeatStatus.RESERVED}
    assert run_sale(lambda: sell_hold(booked=booked(held), codes=["A1", "A2"])) is True
    assert [seat(showtime, code).status for code in ("A1", "A2", "A3")] == ["SOLD", "SOLD", "RESERVED"]
    run_sale(lambda: return_seats(booked=booked(held), codes=["A1", "A2"]))
    assert seat(showtime, "A1").status == SeatStatus.AVAILABLE
    assert_sound(showtime.pk)


def test_the_columns_say_what_happened(showtime: Showtime, ada: Holder) -> None:
    held = hold(showtime, ada, "A1").hold
    run_sale(lambda: begin_payment(holder_id=ada.pk, showtime_id=showtime.pk))
    run_sale(lambda: sell_hold(booked=booked(held), codes=["A1"]))

    sold = seat(showtime, "A1")
    assert (sold.hold_id, sold.paying, sold.reserved_at, sold.reserved_until) == (held.hold_id, False, None, None)
    assert sold.sold_at is not None
    assert held.server_time < sold.sold_at <= timezone.now()
    assert list(sold.events.order_by("seq").values_list("cause", flat=True)) == [SeatChange.HELD, SeatChange.SOLD]


@pytest.mark.parametrize("step", ["resume", "release", "sell", "sell late", "return"])
def test_no_step_is_a_transaction_of_its_own(showtime: Showtime, ada: Holder, step: str) -> None:
    own = booked(hold(showtime, ada, "A1").hold)
    steps = {
        "resume": lambda: resume_hold(booked=own, until=timezone.now()),
        "release": lambda: release_paid_hold(booked=own),
        "sell": lambda: sell_hold(booked=own, codes=["A1"]),
        "sell late": lambda: sell_late(booked=own, prices={"A1": 1200}),
        "return": lambda: return_seats(booked=own, codes=["A1"]),
    }
    with pytest.raises(transaction.TransactionManagementError, match="within run_sale"):
        steps[step]()
