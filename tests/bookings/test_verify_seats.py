"""`manage.py verify_seats`: what it prints, and how it ends."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings
from redis import Redis

from bookings.services import verifying
from seating.models import Seat, SeatHold, ShowtimeSales
from seating.selectors import comparison
from seating.selectors.holds import HeldSeats
from seating.services import release_seats
from tests.factories import make_showtime
from tests.support.asking import NOWHERE, somebody_holds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf", "hasty")]


@pytest.fixture
def held(redis: Redis) -> HeldSeats:
    return somebody_holds(make_showtime(), "A1", "A2")


def run(*arguments: str) -> tuple[int, str]:
    """Return how the command ends, and what it prints."""
    out = StringIO()
    try:
        call_command("verify_seats", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


def leave_audit_open(held: HeldSeats) -> None:
    release_seats(holder_id=held.holder_id, showtime_id=held.showtime_id)
    SeatHold.objects.filter(hold=held.hold_id, seat__code="A1").update(ended_at=None, end_reason="")


def test_one_line_says_that_all_agree(held: HeldSeats) -> None:
    status, told = run()

    assert status == 0
    assert told.startswith("Checked 1 showtimes, 18 seats, 2 ledger rows, 1 holds, 2 audit rows, 0 bookings")
    assert told.count("\n") == 1
    assert "3 redis keys: all agree, in " in told


def test_what_disagrees_is_told_with_both_sides_and_what_to_do(held: HeldSeats) -> None:
    Seat.objects.filter(showtime=held.showtime_id, code="C1").update(status="BLOCKED", block_reason="broken")

    status, told = run("--showtime", str(held.showtime_id))

    assert status == 1
    assert f"I7 at showtime {held.showtime_id}: replaying the ledger does not give the seat (1)." in told
    assert "    seat C1: the ledger says AVAILABLE, the seat BLOCKED" in told
    assert "    What to do: Nothing repairs this by itself" in told
    assert "1 disagreements" in told


def test_the_json_is_one_object(held: HeldSeats) -> None:
    ShowtimeSales.objects.filter(showtime=held.showtime_id).update(seq=7)

    status, told = run("--json")
    report = json.loads(told.splitlines()[0])

    assert status == 1
    assert report.keys() == {"checked", "findings", "repaired", "failures", "redis", "seconds"}
    assert report["redis"] == "compared"
    assert report["checked"]["showtimes"] == 1
    [finding] = report["findings"]
    assert finding.pop("advice")
    assert finding == {
        "number": "I7",
        "violation": "a showtime's versions have a gap, or its counter is another",
        "showtime_id": held.showtime_id,
        "count": 1,
        "what": "versions",
        "examples": ["versions: the counter says 7, the ledger has 1 and its newest is 1"],
    }


def test_a_repair_tells_line_by_line_what_it_did(held: HeldSeats, redis: Redis) -> None:
    leave_audit_open(held)
    redis.set(f"seat_lock:{{{held.showtime_id}}}:B1", "?")

    status, told = run("--repair")

    assert status == 0
    assert told.splitlines()[:2] == [
        f"Repaired: showtime {held.showtime_id}: the audit of seat A1 in hold {held.hold_id} says released.",
        f"Repaired: showtime {held.showtime_id}: in Redis the lock of seat B1 is removed.",
    ]
    assert run()[0] == 0


def test_where_all_agree_a_repair_does_nothing(held: HeldSeats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookings.management.commands.verify_seats.repair_seats", None)

    assert run("--repair")[0] == 0


def test_a_repair_that_fails_says_where(held: HeldSeats, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_audit_open(held)

    def fail(holds: Any) -> Any:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("seating.services.reconciling._close_audit_without_seat", fail)

    status, told = run("--repair")

    assert status == 1
    assert f"showtime {held.showtime_id}: ValueError: a mistake of ours" in told


def test_without_redis_it_ends_well_and_says_what_it_left_out(
    held: HeldSeats, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = NOWHERE
    monkeypatch.setattr(comparison, "PAUSE_SECONDS", 0)

    status, told = run()

    assert status == 0
    assert told.startswith("Redis is away: its locks were not compared.")


def test_without_postgresql_it_could_not_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_given: Any) -> Any:
        raise OperationalError("nobody is there")

    monkeypatch.setattr(verifying, "_batches", away)

    assert run() == (2, "PostgreSQL could not be asked: nobody is there")


def test_a_showtime_that_is_not_there_could_not_be_checked(held: HeldSeats) -> None:
    assert run("--showtime", str(held.showtime_id), "--showtime", "424242") == (2, "There is no showtime 424242.")
