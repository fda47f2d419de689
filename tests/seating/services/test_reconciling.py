"""After one run of the reconciler nothing is stuck (I9) and Redis says what PostgreSQL says (I8)."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings
from redis import Redis

from seating import locks
from seating.locks import mending
from seating.models import Hold, Seat, SeatHold, SeatStatus
from seating.selectors.holds import HeldSeats
from seating.selectors.invariants import SEAT_INVARIANTS, broken_invariants
from seating.services import expire_holds, extend_hold, hold_seats, reconcile_seats, reconciling, release_seats
from tests.factories import HolderFactory, UserFactory, make_showtime
from tests.support.asking import hold, somebody_holds
from tests.support.locks import assert_redis_says_what_postgresql_says
from tests.support.passing_time import let_pass
from tests.support.rivals import in_background, race, until, waiters

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "unix:///nonexistent/redis.sock?db=0"


def broken() -> set[str]:
    return {finding.violation for finding in broken_invariants(SEAT_INVARIANTS)}


def update_seats(hold_id: uuid.UUID, **values: Any) -> None:
    Seat.objects.filter(hold=hold_id).update(**values)


def end(held: HeldSeats) -> None:
    """End a hold as a mistake might: its seats and their audit stay behind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seating_hold SET ended_at = clock_timestamp(), end_reason = 'released' WHERE id = %s",
            [held.hold_id],
        )


def lock_key(held: HeldSeats, code: str) -> str:
    return f"seat_lock:{{{held.showtime_id}}}:{code}"


def record_key(held: HeldSeats, hold_id: uuid.UUID | None = None) -> str:
    return f"seat_hold:{{{held.showtime_id}}}:{hold_id or held.hold_id}"


def index_key(held: HeldSeats) -> str:
    return f"locked_seats:{{{held.showtime_id}}}"


def change_lock(redis: Redis, held: HeldSeats, code: str, **fields: Any) -> None:
    key = lock_key(held, code)
    redis.set(key, json.dumps({**json.loads(redis.get(key)), **fields}), keepttl=True)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_what_has_run_out_is_freed_with_its_locks_and_its_audit(redis: Redis) -> None:
    over, live = somebody_holds(make_showtime(), "A1", "A2"), somebody_holds(make_showtime(), "B3")
    let_pass(1000, over.hold_id)

    report = reconcile_seats()

    assert report.expired_seats == 2
    assert set(Seat.objects.filter(showtime=over.showtime_id).values_list("status", flat=True)) == {"AVAILABLE"}
    assert Hold.objects.get(pk=over.hold_id).end_reason == "expired"
    assert set(SeatHold.objects.filter(hold=over.hold_id).values_list("end_reason", flat=True)) == {"expired"}
    assert Hold.objects.get(pk=live.hold_id).ended_at is None
    assert_redis_says_what_postgresql_says(redis)
    assert not broken()


def test_a_second_run_finds_nothing_to_do(redis: Redis) -> None:
    over, _live = somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "B3")
    let_pass(1000, over.hold_id)
    redis.flushdb()
    reconcile_seats()

    report = reconcile_seats()

    assert (report.expired_seats, report.repaired_rows, report.locks, report.failures) == (0, 0, mending.Mended(), [])


def test_seats_of_a_hold_that_ended_are_freed_once_their_time_is_over(redis: Redis) -> None:
    held = somebody_holds(make_showtime(), "A1", "A2")
    end(held)
    assert "a seat is reserved by a hold that has ended" in broken()

    assert reconcile_seats().repaired_rows == 0
    let_pass(1000, held.hold_id)
    assert reconcile_seats().repaired_rows == 2

    assert not Seat.objects.filter(status=SeatStatus.RESERVED).exists()
    assert not broken()
    assert_redis_says_what_postgresql_says(redis)


def test_a_seat_that_waits_for_the_payment_of_a_hold_that_nobody_pays_is_freed_too(redis: Redis) -> None:
    held = somebody_holds(make_showtime(), "A1", "A2")
    let_pass(1000, held.hold_id)
    update_seats(held.hold_id, paying=True)
    assert expire_holds(showtime_id=held.showtime_id) == 0, "the clock alone leaves it alone"

    report = reconcile_seats()

    assert (report.repaired_rows, report.expired_seats) == (2, 2)
    assert not broken()


def test_a_hold_that_is_being_paid_is_left_alone_and_so_is_what_redis_has_of_it(redis: Redis) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)
    update_seats(held.hold_id, paying=True)
    Hold.objects.filter(pk=held.hold_id).update(paying=True)
    before = redis.get(lock_key(held, "A1"))

    report = reconcile_seats()

    assert (report.repaired_rows, report.expired_seats) == (0, 0)
    assert redis.get(lock_key(held, "A1")) == before
    assert Seat.objects.get(hold=held.hold_id).status == SeatStatus.RESERVED


def test_an_audit_row_that_was_left_open_does_not_keep_its_seat_from_being_held_again(redis: Redis) -> None:
    showtime = make_showtime()
    held = somebody_holds(showtime, "A1")
    release_seats(holder_id=held.holder_id, showtime_id=showtime.pk)
    SeatHold.objects.filter(hold=held.hold_id).update(ended_at=None, end_reason="")
    assert "a reserved seat and the audit of its hold do not agree" in broken()

    assert reconcile_seats().repaired_rows == 1

    assert not broken()
    assert somebody_holds(showtime, "A1").seats == ("A1",)


def test_a_hold_whose_seats_were_all_taken_over_comes_to_its_end(redis: Redis) -> None:
    showtime = make_showtime()
    late = somebody_holds(showtime, "A1", "A2")
    let_pass(1000, late.hold_id)
    redis.flushdb()
    new = somebody_holds(showtime, "A1", "A2")
    assert Hold.objects.get(pk=late.hold_id).ended_at is None

    assert reconcile_seats().expired_seats == 0

    assert Hold.objects.get(pk=late.hold_id).end_reason == "expired"
    assert set(SeatHold.objects.filter(hold=late.hold_id).values_list("end_reason", flat=True)) == {"overtaken"}
    assert Hold.objects.get(pk=new.hold_id).ended_at is None
    assert_redis_says_what_postgresql_says(redis)
    assert not broken()


def test_a_showtime_at_which_a_step_fails_does_not_stop_the_others(redis: Redis) -> None:
    stuck, fine = sorted(
        (somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")),
        key=lambda held: held.showtime_id,
    )
    let_pass(1000, stuck.hold_id, fine.hold_id)
    with connection.cursor() as cursor:
        # The ledger already has the line that ending this hold would write.
        cursor.execute("UPDATE seating_showtimesales SET seq = 0 WHERE showtime_id = %s", [stuck.showtime_id])

    report = reconcile_seats()

    assert report.expired_seats == 1
    assert len(report.failures) == 1
    assert f"showtime {stuck.showtime_id}: IntegrityError" in report.failures[0]
    assert Hold.objects.get(pk=fine.hold_id).ended_at is not None


def test_a_seat_that_stays_locked_is_left_to_the_next_run(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, fine = somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")
    let_pass(1000, busy.hold_id, fine.hold_id)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c lock_timeout=100")

    with transaction.atomic():
        Seat.objects.select_for_update(no_key=True).get(hold=busy.hold_id)
        [report] = race(reconcile_seats)

    assert (report.expired_seats, report.failures) == (1, [])
    assert reconcile_seats().expired_seats == 1


def test_strays_of_several_holds_are_freed_together(redis: Redis) -> None:
    showtime = make_showtime()
    ended, other = somebody_holds(showtime, "A1"), somebody_holds(showtime, "B1")
    end(ended)
    let_pass(1000, ended.hold_id)
    update_seats(other.hold_id, paying=True)

    assert reconcile_seats().repaired_rows == 2

    assert not broken()
    assert_redis_says_what_postgresql_says(redis)


# --- Redis ------------------------------------------------------------------------------------------------------------


def test_after_a_flush_everything_is_written_anew(redis: Redis) -> None:
    user = HolderFactory(user=UserFactory(), guest_key=None)
    hold(make_showtime(), user, "A1", "A2")
    somebody_holds(make_showtime(), "B3")
    redis.flushdb()

    mended = reconcile_seats().locks

    assert mended == mending.Mended(locks_written=3, records_written=2, index_lines=3)
    assert_redis_says_what_postgresql_says(redis)


def test_what_is_right_is_not_written_again(redis: Redis) -> None:
    held = somebody_holds(make_showtime(), "A1", "A2")
    before = redis.get(lock_key(held, "A1"))
    assert "nonce" in json.loads(before)

    assert reconcile_seats().locks == mending.Mended()
    assert redis.get(lock_key(held, "A1")) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda redis, held: redis.delete(lock_key(held, "A1")), id="a lock is missing"),
        pytest.param(lambda redis, held: change_lock(redis, held, "A1", owner="0"), id="a wrong owner"),
        pytest.param(lambda redis, held: change_lock(redis, held, "A1", user_id=7), id="a wrong user"),
        pytest.param(lambda redis, held: change_lock(redis, held, "A1", fence=0), id="a stale fence"),
        pytest.param(lambda redis, held: change_lock(redis, held, "A1", fence=99), id="a fence that was rolled back"),
        pytest.param(lambda redis, held: change_lock(redis, held, "A1", hold_id=str(uuid.uuid4())), id="a wrong hold"),
        pytest.param(lambda redis, held: redis.set(lock_key(held, "A1"), "?", px=60_000), id="an unreadable lock"),
        pytest.param(lambda redis, held: redis.set(lock_key(held, "A1"), "[1]"), id="a lock that is a list"),
        pytest.param(lambda redis, held: redis.set(lock_key(held, "A1"), "{}", px=60_000), id="an empty lock"),
        pytest.param(lambda redis, held: redis.pexpire(lock_key(held, "A1"), 5_000), id="a lock ends too early"),
        pytest.param(lambda redis, held: redis.pexpire(lock_key(held, "A1"), 10**7), id="a lock ends too late"),
        pytest.param(lambda redis, held: redis.persist(lock_key(held, "A1")), id="a lock never ends"),
        pytest.param(
            lambda redis, held: redis.set(lock_key(held, "B1"), redis.get(lock_key(held, "A1"))), id="a ghost"
        ),
        pytest.param(lambda redis, held: redis.set(lock_key(held, "Z99"), "?"), id="a ghost of no seat"),
        pytest.param(
            lambda redis, held: redis.set(lock_key(held, "B1"), json.dumps({"nonce": "x", "owner": "1"})),
            id="a provisional lock that never ends",
        ),
        pytest.param(lambda redis, held: redis.delete(record_key(held)), id="a missing record"),
        pytest.param(lambda redis, held: redis.set(record_key(held), "?"), id="a wrong record"),
        pytest.param(
            lambda redis, held: redis.set(record_key(held, uuid.uuid4()), "?"),
            id="a record of nobody",
        ),
        pytest.param(lambda redis, held: redis.delete(index_key(held)), id="a missing index"),
        pytest.param(lambda redis, held: redis.zrem(index_key(held), "A1"), id="a missing line"),
        pytest.param(lambda redis, held: redis.zadd(index_key(held), {"B1": 10**13}), id="a line too many"),
        pytest.param(lambda redis, held: redis.zadd(index_key(held), {"A1": 1}), id="a line that is over"),
        pytest.param(
            lambda redis, held: redis.pexpire(index_key(held), 5_000),
            id="an index ends too early",
        ),
    ],
)
def test_whatever_is_wrong_is_right_after_one_run(redis: Redis, damage: Any) -> None:
    held = somebody_holds(make_showtime(), "A1", "A2")
    damage(redis, held)

    reconcile_seats()

    assert_redis_says_what_postgresql_says(redis)


def test_locks_of_a_showtime_without_any_hold_are_found_and_removed(redis: Redis) -> None:
    redis.set("seat_lock:{424242}:A1", json.dumps({"fence": 3, "hold_id": "x", "owner": "1"}), px=600_000)
    redis.zadd("locked_seats:{424243}", {"B1": 10**13})
    redis.set("seat_lock:{not-a-number}:A1", "somebody else's")

    reconcile_seats()

    assert redis.keys("*seat*:*") == ["seat_lock:{not-a-number}:A1"]


def test_an_attempt_that_is_under_way_keeps_its_provisional_locks(redis: Redis) -> None:
    held = somebody_holds(make_showtime(), "A1")
    owner = locks.LockOwner(holder_id=HolderFactory().pk, user_id=None)
    assert not locks.acquire(showtime_id=held.showtime_id, codes=["B1"], owner=owner, nonce=uuid.uuid4())
    before = redis.get(lock_key(held, "B1"))

    reconcile_seats()

    assert redis.get(lock_key(held, "B1")) == before
    assert 0 < redis.pttl(lock_key(held, "B1")) <= locks.PROVISIONAL_MS
    assert redis.zscore(index_key(held), "B1")


def test_without_redis_it_does_what_postgresql_needs_and_says_so(redis: Redis, settings: Settings) -> None:
    held = somebody_holds(make_showtime(), "A1")
    let_pass(1000, held.hold_id)
    settings.REDIS_URL = NOWHERE

    report = reconcile_seats()

    assert report.expired_seats == 1
    assert report.locks is None


@pytest.mark.parametrize("after", ["everything", "look"])
def test_a_redis_that_goes_away_on_the_way_is_no_failure(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    somebody_holds(make_showtime(), "A1")
    step = getattr(mending, after)

    def do_and_leave(**given: Any) -> Any:
        done = step(**given)
        settings.REDIS_URL = NOWHERE
        return done

    monkeypatch.setattr(mending, after, do_and_leave)

    report = reconcile_seats()

    assert (report.locks, report.failures) == (None, [])


# --- Beside others ----------------------------------------------------------------------------------------------------


def test_two_reconcilers_at_once_do_everything_once(redis: Redis) -> None:
    holds = [somebody_holds(make_showtime(), "A1", "A2") for _number in range(6)]
    over = [held.hold_id for held in holds[:3]]
    let_pass(1000, *over)
    redis.flushdb()

    reports = race(reconcile_seats, reconcile_seats)

    assert sum(report.expired_seats for report in reports) == 6
    assert all(report.failures == [] for report in reports)
    assert SeatHold.objects.filter(hold__in=over, end_reason="expired").count() == 6
    assert_redis_says_what_postgresql_says(redis)
    assert not broken()


def test_a_showtime_that_another_reconciler_is_at_is_passed_over(redis: Redis) -> None:
    somebody_holds(make_showtime(), "A1")
    redis.flushdb()

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('reconcile showtime', id)) FROM seating_showtime"
            )
        [report] = race(reconcile_seats)

    assert report.locks == mending.Mended()
    assert not redis.keys("*seat*")


def test_a_hold_that_is_being_extended_is_left_to_whoever_extends_it(redis: Redis) -> None:
    busy, other = somebody_holds(make_showtime(), "A1"), somebody_holds(make_showtime(), "A1")
    redis.flushdb()

    with transaction.atomic():
        Hold.objects.select_for_update(no_key=True).get(pk=busy.hold_id)
        [report] = race(reconcile_seats)
        assert report.locks.locks_written == 1
        assert redis.exists(lock_key(other, "A1"))
        assert not redis.exists(lock_key(busy, "A1"))

    extend_hold(holder_id=busy.holder_id, showtime_id=busy.showtime_id)
    assert reconcile_seats().locks == mending.Mended()
    assert_redis_says_what_postgresql_says(redis)


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "control without the row locks"])
def test_a_release_in_the_middle_of_it_leaves_no_ghost(
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    guarded: bool,  # noqa: FBT001
) -> None:
    held = somebody_holds(make_showtime(), "A1")
    redis.flushdb()
    mend = mending.mend
    releases: list[Future[Any]] = []

    def mend_while_somebody_releases(**given: Any) -> mending.Mended | None:
        def release() -> None:
            release_seats(holder_id=held.holder_id, showtime_id=held.showtime_id)

        releases.append(start(release))
        until(lambda: waiters() or releases[0].done())
        return mend(**given)

    def read_without_locking(**given: Any) -> set[uuid.UUID]:
        return {held.hold_id}

    monkeypatch.setattr(mending, "mend", mend_while_somebody_releases)
    if not guarded:
        monkeypatch.setattr(reconciling, "lock_unended_holds", read_without_locking)

    with in_background() as start:
        reconcile_seats()
    releases[0].result()

    assert Hold.objects.get(pk=held.hold_id).end_reason == "released"
    assert bool(redis.exists(lock_key(held, "A1"))) is not guarded


def test_whoever_takes_a_seat_while_it_is_reconciled_keeps_their_lock(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = somebody_holds(make_showtime(), "A1")
    redis.set(lock_key(held, "B1"), json.dumps({"fence": 1, "hold_id": "a ghost", "owner": "0"}), px=600_000)
    look = mending.look

    def look_before_somebody_takes_it(**given: Any) -> mending.Seen | None:
        seen = look(**given)
        race(lambda: somebody_holds(Hold.objects.get(pk=held.hold_id).showtime, "B1"))
        return seen

    monkeypatch.setattr(mending, "look", look_before_somebody_takes_it)

    reconcile_seats()

    assert Seat.objects.filter(status=SeatStatus.RESERVED).count() == 2
    assert_redis_says_what_postgresql_says(redis)


# --- Size -------------------------------------------------------------------------------------------------------------


def test_two_thousand_expired_seats_at_many_showtimes_are_freed_within_seconds(redis: Redis) -> None:
    drawing = "\n".join(f"{chr(65 + row)} {'s' * 20}" for row in range(5))
    holds = []
    for _showtime in range(20):
        showtime = make_showtime(drawing=drawing)
        for row in "ABCDE":
            for first in (1, 11):
                codes = [f"{row}{number}" for number in range(first, first + 10)]
                holder = HolderFactory()
                holds.append(
                    hold_seats(holder_id=holder.pk, user_id=None, showtime_id=showtime.pk, codes=codes).hold.hold_id
                )
    let_pass(1000, *holds)
    begun = time.monotonic()

    report = reconcile_seats()

    assert report.expired_seats == 2000
    assert time.monotonic() - begun < 10
    assert not Seat.objects.filter(status=SeatStatus.RESERVED).exists()
    assert not Hold.objects.filter(ended_at=None).exists()
    assert_redis_says_what_postgresql_says(redis)
    assert not broken()
