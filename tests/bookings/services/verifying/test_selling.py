"""While the house sells there is no false alarm."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
from redis import Redis

from bookings.models import Booking, DemoPayment
from bookings.services import cancel_booking, verify_seats
from cinebook.core.errors import Refusal
from seating import locks
from seating.models import Hold, SeatEvent, Showtime
from seating.selectors import comparison, second_look
from seating.services import (
    expire_holds,
)
from tests.bookings.services.verifying.house import House, found
from tests.factories import make_showtime
from tests.support.asking import release, somebody_holds
from tests.support.buying import buy, notify
from tests.support.passing_time import run_out
from tests.support.rivals import in_background, race

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf", "hasty")]


@pytest.mark.parametrize("patient", [True, False], ids=["as it is", "control without the second look"])
def test_a_release_that_redis_has_not_heard_of_yet_is_no_alarm(
    house: House,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    patient: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 5.0 if patient else 0.0)
    looked, committed = threading.Event(), threading.Event()
    tell_redis, compare = locks.release, comparison.mending.compare

    def tell_late(**given: Any) -> None:
        committed.set()
        assert looked.wait(20)
        tell_redis(**given)

    def compare_and_tell(**given: Any) -> Any:
        differences = compare(**given)
        looked.set()
        return differences

    monkeypatch.setattr(locks, "release", tell_late)
    monkeypatch.setattr(comparison.mending, "compare", compare_and_tell)
    holder = Hold.objects.get(pk=house.held.hold_id).holder
    with in_background() as start:
        releasing = start(lambda: release(house.showtime, holder))
        assert committed.wait(20)
        alarms = found()
        releasing.result(20)

    assert bool(alarms) is not patient
    assert found() == set()


def test_money_that_has_just_come_is_no_alarm(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's books know of late money before its notice is heard."""
    DemoPayment.objects.filter(order=house.declined.reference).update(status="CAPTURED")
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 5.0)
    monkeypatch.setattr(second_look.time, "sleep", lambda _seconds: notify(house.declined))

    assert found() == set()
    assert Booking.objects.get(pk=house.declined.pk).status == "REFUNDED"


class Crowd:
    """People who hold, pay, cancel, let go and run out of time at two showtimes."""

    def __init__(self, people: int) -> None:
        self.showtimes = [make_showtime(), make_showtime()]
        self.people = people
        self.gone = 0

    def person(self, number: int) -> None:
        try:
            for turn in range(12):
                with suppress(Refusal):  # somebody else was quicker
                    self.act(self.showtimes[(number + turn) % 2], turn + number, f"{'ABC'[number % 3]}{1 + turn % 6}")
        finally:
            self.gone += 1

    def act(self, showtime: Showtime, kind: int, code: str) -> None:
        held = somebody_holds(showtime, code)
        match kind % 4:
            case 0:
                booking = buy(held).booking
                cancel_booking(holder_id=held.holder_id, reference=booking.reference)
            case 1:
                with suppress(Refusal):
                    buy(held, "decline")
                release(showtime, Hold.objects.get(pk=held.hold_id).holder)
            case 2:
                run_out(held.hold_id)
                expire_holds(showtime_id=showtime.pk)
            case _:
                release(showtime, Hold.objects.get(pk=held.hold_id).holder)

    def verified(self) -> list[Any]:
        reports = [verify_seats()]
        while self.gone < self.people:
            reports.append(verify_seats())
        return reports


def test_a_crowd_raises_no_false_alarm(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 5.0)
    crowd = Crowd(people=5)

    *_people, reports = race(*[lambda number=number: crowd.person(number) for number in range(5)], crowd.verified)

    assert len(reports) > 1
    assert [finding for report in reports for finding in report.findings] == []
    assert SeatEvent.objects.filter(cause__in=["sold", "released", "expired", "cancelled"]).count() > 20
