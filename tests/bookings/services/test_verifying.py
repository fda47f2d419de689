"""Whatever is wrong is found and told, and nothing else: every check by a fault that was planted for it."""

from __future__ import annotations

import pytest
from redis import Redis

from bookings.models import PaymentStatus
from bookings.services import cancel_booking, reconcile, verify
from seating.models import BlockReason
from seating.services import (
    adopt_holds,
    block_seats,
    expire_holds,
    second_look,
    unblock_seats,
    withdraw_hold,
)
from tests.factories import HolderFactory, UserFactory, make_showtime
from tests.support.asking import extend, hold, release, somebody_holds
from tests.support.buying import buy, close_window, decide, notify
from tests.support.passing_time import run_out

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch, deaf: None) -> None:
    """Nobody else is at work here, so whatever differs need not be waited for."""
    monkeypatch.setattr(second_look, "PATIENCE_SECONDS", 0.05)


def found(*showtimes: int) -> list[tuple[str, str]]:
    return [(finding.number, finding.violation) for finding in verify(showtimes or None).findings]


def test_a_house_with_a_rich_past_agrees(redis: Redis) -> None:
    showtime = make_showtime()
    guest, user = HolderFactory(), HolderFactory(guest_key=None, user=UserFactory())
    hold(showtime, guest, "A1", "A2")
    extend(showtime, guest)
    release(showtime, guest, "A1")
    adopt_holds(guest_id=guest.pk, holder_id=user.pk)
    overtaken = somebody_holds(showtime, "A3", "A4")
    run_out(overtaken.hold_id)
    redis.flushdb()
    hold(showtime, user, "A3")
    expire_holds(showtime_id=showtime.pk)
    withdraw_hold(hold_id=somebody_holds(showtime, "A5").hold_id)
    block_seats(showtime_id=showtime.pk, codes=["C1", "C2"], reason=BlockReason.BROKEN)
    unblock_seats(showtime_id=showtime.pk, codes=["C1"])
    bought = buy(somebody_holds(showtime, "B1", "B2")).booking
    cancelled = somebody_holds(showtime, "B3")
    cancel_booking(holder_id=cancelled.holder_id, reference=buy(cancelled).booking.reference)
    late = buy(somebody_holds(showtime, "B4"), "stall").booking
    close_window(late)
    declined = buy(somebody_holds(showtime, "B5"), "stall").booking
    decide(declined, PaymentStatus.DECLINED)
    stalled = buy(somebody_holds(showtime, "B6"), "stall").booking
    notify(bought, times=2)
    assert reconcile().findings == []
    report = verify()

    assert report.findings == []
    assert report.redis == "compared"
    assert stalled
    assert found(showtime.pk) == []
