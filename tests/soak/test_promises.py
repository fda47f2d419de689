"""The judge of promises: histories that it must report, and ones that look like them and are right."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from tests.support.promises import LATE, SLACK, LastBooking, LastSeat, Promises


class History(Promises):
    """Promises about showtime 1, in short words: who, at which instants, and which seats."""

    def hold(self, who: str, at: tuple[float, float], seats: str = "A1", *, lasts: float = 100, **given: Any) -> None:
        self.held(**self._about(who, at, seats), expires_in=lasts, **given)

    def buy(self, who: str, at: tuple[float, float], seats: str = "A1", reference: str = "BK-1") -> None:
        self.booked(**self._about(who, at, seats), reference=reference)

    def pay(self, who: str, at: tuple[float, float], seats: str = "A1", *, lasts: float) -> None:
        self.paying(**self._about(who, at, seats), reference="BK-1", seconds=lasts)

    def let_go(self, who: str, at: tuple[float, float], seats: str | None = "A1", **given: Any) -> None:
        named = seats.split() if seats else None
        self.released(holder=who, showtime=1, seats=named, sent=at[0], received=at[1], **given)

    def cancel(self, at: tuple[float, float], *, acknowledged: bool = True) -> None:
        self.cancelled(reference="BK-1", sent=at[0], received=at[1], acknowledged=acknowledged)

    def no_answer(self, who: str, at: tuple[float, float], **given: Any) -> None:
        self.unknown(**{"kind": "lock", "holder": who, "showtime": 1, "sent": at[0], "received": at[1], **given})

    @staticmethod
    def _about(who: str, at: tuple[float, float], seats: str) -> dict[str, Any]:
        codes = seats.split()
        return {"holder": who, "hold": f"{who}'s", "showtime": 1, "seats": codes, "sent": at[0], "received": at[1]}


@pytest.fixture
def history() -> History:
    return History()


def found(history: History, **given: Any) -> list[str]:
    return [violation.invariant for violation in history.violations(**given)]


def at_the_end(
    history: History, *, bookings: Collection[LastBooking] = (), asked_at: float = 50.0, **seats: tuple[str, str | None]
) -> list[str]:
    last = {(1, code): LastSeat(*standing) for code, standing in seats.items()}
    return [each.invariant for each in history.violations_at_the_end(bookings=bookings, seats=last, asked_at=asked_at)]


def booking(status: str = "CONFIRMED", seats: str = "A1", reference: str = "BK-1", who: str = "ada") -> LastBooking:
    return LastBooking(reference, f"{who}'s", status, frozenset(seats.split()))


# --- Two people on a seat ---


def test_two_people_are_given_one_seat(history: History) -> None:
    history.hold("ada", (0, 1), "A1 A2")
    history.hold("ben", (2, 3), "A2 A3")
    (violation,) = history.violations()
    assert violation.invariant == "I4"
    assert violation.seat == (1, "A2")
    assert [line.split()[1] for line in history.story((1, "A2"))] == ["ada", "ben"]


def test_a_sold_seat_is_given_to_somebody_else(history: History) -> None:
    history.buy("ada", (0, 1))
    history.hold("ben", (5000, 5001))
    assert found(history) == ["I1"]


def test_a_seat_is_sold_twice(history: History) -> None:
    history.buy("ada", (0, 1))
    history.buy("ben", (2, 3), reference="BK-2")
    assert found(history) == ["I1"]


def test_a_seat_is_sold_while_somebody_else_holds_it(history: History) -> None:
    history.hold("ada", (0, 1))
    history.buy("ben", (2, 3))
    assert found(history) == ["I1"]


def test_a_seat_that_is_being_paid_is_given_to_somebody_else(history: History) -> None:
    history.hold("ada", (0, 1), lasts=5)
    history.pay("ada", (2, 3), lasts=60)
    history.hold("ben", (40, 41))
    assert found(history) == ["I4"]


def test_who_buys_again_is_told_of_the_booking_that_there_is(history: History) -> None:
    history.pay("ada", (2, 3), lasts=60)
    history.pay("ada", (50, 51), lasts=60)
    history.hold("ben", (63, 64))
    assert found(history) == []
    history.hold("cy", (55, 56))
    assert "I4" in found(history)


def test_a_booking_may_have_been_begun_by_a_request_that_nobody_answered(history: History) -> None:
    history.no_answer("ada", (2, 3), hold="ada's", buys=True)
    history.pay("ada", (50, 51), lasts=60)
    history.hold("ben", (63, 64))
    assert "I4" not in found(history)
    history.hold("cy", (55, 56))
    assert "I4" in found(history)


def test_a_hold_that_was_extended_is_not_over(history: History) -> None:
    history.hold("ada", (0, 1), lasts=10)
    history.extended(holder="ada", hold="ada's", showtime=1, seats=["A1"], expires_in=10, sent=8, received=9)
    history.hold("ben", (12, 13))
    assert found(history) == ["I4"]


def test_who_was_declined_keeps_their_seats(history: History) -> None:
    history.hold("ada", (0, 1), lasts=5)
    about = {"holder": "ada", "hold": "ada's", "showtime": 1, "seats": ["A1"]}
    history.declined(**about, seconds=120, sent=2, received=3)
    history.hold("ben", (100, 101))
    assert found(history) == ["I4"]
    # And nobody has bought that hold.
    assert at_the_end(history, bookings=[booking()], asked_at=500) == ["I3"]


def test_the_same_person_twice(history: History) -> None:
    history.hold("ada", (0, 1))
    history.hold("ada", (2, 3))
    history.buy("ada", (4, 5))
    assert found(history) == []


@pytest.mark.parametrize("second", [(10.5, 12), (9, 10.5)])
def test_the_first_hold_may_have_run_out(history: History, second: tuple[float, float]) -> None:
    history.hold("ada", (0, 1), lasts=10)
    history.hold("ben", second)
    assert found(history) == []


def test_an_end_is_counted_from_when_it_was_asked_for(history: History) -> None:
    """The server has counted from some instant before the answer."""
    history.hold("ada", (0, 4), lasts=10)
    history.hold("ben", (11, 12))
    assert found(history) == []


def test_what_was_let_go_of_may_be_gone_before_the_answer(history: History) -> None:
    history.hold("ada", (0, 1), "A1 A2")
    history.let_go("ada", (5, 9))
    history.hold("ben", (6, 7))
    assert found(history) == []


def test_only_the_seats_that_were_let_go_of_are_gone(history: History) -> None:
    history.hold("ada", (0, 1), "A1 A2")
    history.let_go("ada", (5, 6), "A2")
    history.hold("ben", (7, 8), "A1 A2")
    assert [violation.seat for violation in history.violations()] == [(1, "A1")]


def test_who_takes_a_seat_again_has_it_again(history: History) -> None:
    history.hold("ada", (0, 1))
    history.let_go("ada", (2, 3), None)
    history.hold("ada", (4, 5))
    history.hold("ben", (6, 7))
    assert found(history) == ["I4"]


def test_a_release_at_the_same_time_may_be_the_later_one(history: History) -> None:
    """Two tabs: the release was sent before the hold was answered, and answered after it."""
    history.let_go("ada", (2, 6))
    history.hold("ada", (0, 5))
    history.hold("ben", (7, 8))
    assert found(history) == []


def test_a_release_without_an_answer_may_still_come(history: History) -> None:
    history.hold("ada", (0, 1))
    history.no_answer("ada", (2, 3), seats=["A1"], ends=True)
    history.hold("ada", (5, 6))
    history.hold("ben", (10, 11))
    assert "I4" not in found(history)
    later = 3 + LATE + 1
    history.hold("cem", (later, later + 1), "A2")
    history.hold("dan", (later + 2, later + 3), "A2")
    assert "I4" in found(history)


def test_a_purchase_without_an_answer_may_have_another_end(history: History) -> None:
    """Its payment's time may be over before the hold's was."""
    history.hold("ada", (0, 1))
    history.no_answer("ada", (2, 3), hold="ada's", buys=True)
    history.hold("ben", (20, 21))
    assert "I4" not in found(history)


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_cancelled_booking_keeps_no_seat(history: History, acknowledged: bool) -> None:  # noqa: FBT001
    history.hold("ada", (0, 1))
    history.buy("ada", (2, 3))
    history.cancel((4, 5), acknowledged=acknowledged)
    history.hold("ben", (6, 7))
    assert found(history) == []


def test_what_the_house_takes_back_is_no_longer_promised(history: History) -> None:
    history.hold("ada", (0, 1), "A1 A2")
    history.house(showtime=1, seats=["A1"], sent=2, received=3)
    history.hold("ben", (4, 5), "A1")
    assert found(history) == []
    history.hold("cem", (6, 7), "A2")
    assert found(history) == ["I4"]
    history.house(showtime=1, sent=5)
    assert found(history) == []


# --- All or nothing ---


def test_a_hold_without_a_seat_that_was_asked_for(history: History) -> None:
    history.hold("ada", (0, 1), "A1", asked=["A1", "A2"])
    assert found(history) == ["I5"]


def test_a_release_that_kept_a_seat(history: History) -> None:
    history.let_go("ada", (0, 1), "A1", left=["A1", "A2"])
    assert found(history) == ["I5"]


def test_a_release_of_some_seats(history: History) -> None:
    history.let_go("ada", (0, 1), "A1", left=["A2"])
    assert found(history) == []


def test_a_booking_that_changes_its_seats(history: History) -> None:
    history.buy("ada", (0, 1), "A1 A2")
    history.buy("ada", (2, 3), "A1")
    assert found(history) == ["I5"]


# --- Bookings at the end ---


def test_a_hold_that_was_bought_twice(history: History) -> None:
    history.buy("ada", (0, 1))
    history.buy("ada", (2, 3), reference="BK-2")
    assert found(history) == ["I3"]
    both = [booking(), booking(reference="BK-2")]
    assert at_the_end(history, bookings=both, A1=("SOLD", "ada's")) == ["I3"]


@pytest.mark.parametrize(
    ("left", "seat", "invariants"),
    [
        ([booking()], ("SOLD", "ada's"), []),
        ([], ("SOLD", "ada's"), ["I3"]),
        ([booking(), booking()], ("SOLD", "ada's"), ["I3", "I3"]),
        ([booking("EXPIRED")], ("SOLD", "ada's"), ["I3"]),
        ([booking("REFUNDED")], ("AVAILABLE", None), ["I3", "I3"]),
        ([booking(seats="A1 A2")], ("SOLD", "ada's"), ["I5"]),
        ([booking()], ("SOLD", "ben's"), ["I3"]),
        ([booking()], ("RESERVED", "ada's"), ["I3"]),
    ],
)
def test_what_becomes_of_a_booking(
    history: History, left: list[LastBooking], seat: tuple[str, str | None], invariants: list[str]
) -> None:
    history.buy("ada", (0, 1))
    assert at_the_end(history, bookings=left, A1=seat) == invariants


def test_what_becomes_of_a_cancelled_booking(history: History) -> None:
    history.buy("ada", (0, 1))
    history.cancel((2, 3))
    assert at_the_end(history, bookings=[booking("REFUNDED")]) == []
    assert at_the_end(history, bookings=[booking()]) == ["I3"]


def test_a_cancelling_that_nobody_answered_may_have_come_to_nothing(history: History) -> None:
    history.buy("ada", (0, 1))
    history.cancel((2, 3), acknowledged=False)
    for status in ("CONFIRMED", "REFUNDED"):
        assert at_the_end(history, bookings=[booking(status)]) == []
    assert at_the_end(history, bookings=[booking("EXPIRED")]) == ["I3"]


def test_a_booking_that_nobody_knows_of(history: History) -> None:
    history.hold("ada", (0, 1), lasts=5)
    assert at_the_end(history, bookings=[booking()]) == ["I3"]
    assert at_the_end(history, bookings=[booking("EXPIRED")]) == []


def test_a_booking_whose_answer_was_lost(history: History) -> None:
    history.no_answer("ada", (0, 1), hold="ada's", buys=True)
    assert at_the_end(history, bookings=[booking()]) == []
    assert at_the_end(history) == []


# --- Holds at the end ---


@pytest.mark.parametrize(
    ("seat", "invariants"),
    [
        (("RESERVED", "ada's"), []),
        (("SOLD", "ada's"), []),
        (("AVAILABLE", None), ["I4"]),
        (("RESERVED", "ben's"), ["I4"]),
        (("BLOCKED", None), ["I4"]),
    ],
)
def test_what_becomes_of_a_hold(history: History, seat: tuple[str, str | None], invariants: list[str]) -> None:
    history.hold("ada", (0, 1), lasts=100)
    assert at_the_end(history, A1=seat, asked_at=50) == invariants
    assert at_the_end(history, A1=seat, asked_at=100) == []


# --- Server errors ---


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_server_error(history: History, status: int | None) -> None:
    history.no_answer("ada", (10, 11), status=status, server="web1")
    assert found(history) == ["I10"]
    assert found(history, database_down=[(0, 3)]) == ["I10"]
    assert found(history, database_down=[(0, 10 - SLACK)]) == []
    assert found(history, database_down=[(11, 12)]) == []
    assert found(history, database_down=[(11.1, 12)]) == ["I10"]


def test_a_server_that_is_down_gives_no_answer(history: History) -> None:
    history.no_answer("ada", (10, 11), server="web1")
    assert found(history, servers_down={"web1": [(9, 10)]}) == []
    assert found(history, servers_down={"web2": [(9, 10)]}) == ["I10"]


def test_a_server_that_is_down_gives_no_wrong_answer_either(history: History) -> None:
    history.no_answer("ada", (10, 11), status=500, server="web1")
    assert found(history, servers_down={"web1": [(9, 10)]}) == ["I10"]


def test_what_needs_somebody_else_may_be_unavailable(history: History) -> None:
    history.no_answer("ada", (10, 11), kind="cancel", status=503)
    assert found(history, unavailable={"cancel": [(9, 12)]}) == []
    assert found(history, unavailable={"lock": [(9, 12)]}) == ["I10"]
    history.no_answer("ada", (10, 11), kind="cancel", status=500)
    assert found(history, unavailable={"cancel": [(9, 12)]}) == ["I10"]


def test_answers_are_counted(history: History) -> None:
    history.answered("lock", "201")
    history.refused(kind="lock", status=409, code="seat_held")
    history.no_answer("ada", (0, 1), status=503)
    assert history.answers == {("lock", "201"): 1, ("lock", "409 seat_held"): 1, ("lock", "503"): 1}
    assert history.operations == {"lock": 3}
