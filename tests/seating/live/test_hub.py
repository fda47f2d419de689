"""Snapshot and events make the snapshot, whatever is lost, late, or out of order; and it costs a process once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import threading
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cinebook.core.errors import Refusal
from seating.events import HoldExpired, SeatsChanged, holder_group, showtime_group
from seating.live import audience as audiences
from seating.live import hub as hubs
from seating.live.hub import hub
from seating.live.threads import DatabaseThreads
from seating.models import SeatChange, SeatStatus, Showtime, ShowtimeSales
from seating.selectors.seat_changes import changes_since, current_versions
from seating.selectors.seat_map import seat_snapshot
from seating.services import (
    cancel_showtime,
    extend_hold,
    hold_seats,
    release_seats,
    resume_sales,
    stop_sales,
)
from seating.services.ledger import ChangedSeat, record_changes
from tests.factories import make_showtime
from tests.seating.live.conftest import Person
from tests.seating.live.sockets import Socket, in_loop, in_thread, socket, tell_from_elsewhere, until

pytestmark = pytest.mark.django_db(transaction=True)


def take(person: Person, showtime: Showtime, *codes: str) -> None:
    hold_seats(
        holder_id=person.claimant.holder_id, user_id=person.claimant.user_id, showtime_id=showtime.pk, codes=codes
    )


def let_go(person: Person, showtime: Showtime, *codes: str) -> None:
    release_seats(holder_id=person.claimant.holder_id, showtime_id=showtime.pk, codes=codes or None)


def as_stranger(showtime: Showtime) -> tuple[int, dict[str, str]]:
    snapshot = seat_snapshot(showtime_id=showtime.pk, holder_id=None)
    return snapshot.version, {code: status.value for code, status in snapshot.seats.items()}


def block_silently(showtime: Showtime, *codes: str) -> int:
    """Block seats as something does whose message is lost; return the version."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seating_seat SET status = 'BLOCKED', block_reason = 'house' "
            "WHERE showtime_id = %s AND code = ANY(%s) RETURNING id",
            [showtime.pk, list(codes)],
        )
        changed = [
            ChangedSeat(seat_id, SeatStatus.AVAILABLE, SeatStatus.BLOCKED, SeatChange.BLOCKED, None)
            for (seat_id,) in cursor.fetchall()
        ]
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    version = record_changes(showtime_id=showtime.pk, changed=changed, happened_at=now)
    assert version
    return version


async def changed(showtime: Showtime, version: int, **changes: str) -> None:
    await tell_from_elsewhere(
        showtime_group(showtime.pk),
        {"type": "seats.changed", "showtime_id": showtime.pk, "version": version, "changes": changes},
    )


@pytest.mark.parametrize("seed", range(4))
def test_snapshot_and_events_make_the_snapshot(seed: int, showtime: Showtime, ada: Person, ben: Person) -> None:
    @in_loop
    async def scene() -> None:
        dice = random.Random(seed)  # noqa: S311
        codes = list(seats_at_first)
        async with contextlib.AsyncExitStack() as stack:
            clients: list[Socket] = []

            async def act(person: Person) -> None:
                wanted = dice.sample(codes, dice.randint(1, 3))
                work = dice.choice([take, take, let_go])
                with contextlib.suppress(Refusal):
                    await in_thread(work, person, showtime, *wanted)

            async def come() -> None:
                clients.append(await stack.enter_async_context(socket(join=showtime.pk)))

            async def come_back() -> None:
                await dice.choice(clients).send("join:showtime", showtime_id=showtime.pk)

            await come()
            for _ in range(30):
                await asyncio.gather(act(ada), act(ben), dice.choice([come, come_back])())
            version, seats = await in_thread(as_stranger, showtime)
            assert version > 10
            for client in clients:
                await client.reach(version)
                assert client.seats == seats
                assert client.resyncs == 0

    seats_at_first = as_stranger(showtime)[1]
    scene()


def test_six_before_five(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            await changed(showtime, 2, A1="available", A2="locked")
            await changed(showtime, 1, A1="locked")

            frame = await client.receive("seat:status:changed")

            assert frame["data"] == {
                "showtime_id": showtime.pk,
                "from_version": 0,
                "version": 2,
                "changes": {"A1": "available", "A2": "locked"},
            }

    scene()


def test_a_change_that_comes_twice_is_told_once(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            for version in (1, 1, 2, 1, 2):
                await changed(showtime, version, A1="locked")
            await client.reach(2)
            await changed(showtime, 3, A1="available")
            await client.reach(3)

            assert client.resyncs == 0
            told = [raw for raw in client.raw if "seat:status:changed" in raw]
            assert len(told) <= 3

    scene()


def test_a_lost_message_is_read_from_the_ledger_when_the_next_one_comes(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            await in_thread(block_silently, showtime, "A1", "A2")
            second = await in_thread(block_silently, showtime, "A3")
            await changed(showtime, second, A3="blocked")

            await client.reach(second)

            assert client.seats == (await in_thread(as_stranger, showtime))[1]
            assert client.resyncs == 0

    scene()


def test_a_lost_message_is_found_by_asking_for_the_versions(showtime: Showtime, ben: Person) -> None:
    """Nothing else comes: the check that asks for all versions must find it."""

    @in_loop
    async def scene() -> None:
        other = await in_thread(make_showtime)
        async with socket(join=showtime.pk) as client, socket(join=other.pk) as elsewhere:
            version = await in_thread(block_silently, showtime, "A1")
            hub()._check_now.set()
            await client.reach(version)

            assert client.seats["A1"] == "blocked"
            assert not await elsewhere.waits()

    scene()


def test_a_new_showtime_is_checked_once_more_by_itself(showtime: Showtime) -> None:
    """Its subscription may have come into force a moment after its snapshot was read."""

    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            version = await in_thread(block_silently, showtime, "A1")

            await client.reach(version)

    scene()


class TestSale:
    """The house stops selling, sells again, or cancels: everybody is shown the seats anew, at once."""

    def test_everybody_is_told_of_each_turn(self, showtime: Showtime, ada: Person, ben: Person) -> None:
        @in_loop
        async def scene() -> None:
            await in_thread(take, ada, showtime, "A1")
            async with (
                socket(join=showtime.pk) as nobody,
                socket(ada.token, join=showtime.pk) as holder,
                socket(ben.token, join=showtime.pk) as looker,
            ):
                for change, told in (
                    (stop_sales, (False, False)),
                    (resume_sales, (True, False)),
                    (cancel_showtime, (False, True)),
                ):
                    await in_thread(change, showtime_id=showtime.pk)
                    for client in (nobody, holder, looker):
                        shown = await next_snapshot(client)
                        assert (shown["on_sale"], shown["cancelled"]) == told
                        if change is not cancel_showtime:
                            assert shown["version"] == 1
                            assert shown["seats"]["A1"] == ("selected" if client is holder else "locked")
                            assert bool(shown["hold"]) is (client is holder)
                await looker.reach(2)
                assert looker.seats == (await in_thread(as_stranger, showtime))[1]
                await in_thread(block_silently, showtime, "B1")
                hub()._check_now.set()
                await nobody.reach(3)
                assert nobody.resyncs == 0

        scene()

    def test_a_crowd_costs_one_snapshot(self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
        @in_loop
        async def scene() -> None:
            async with contextlib.AsyncExitStack() as stack:
                crowd = [await stack.enter_async_context(socket(join=showtime.pk)) for _viewer in range(20)]
                read = []

                def count(**given: Any) -> Any:
                    read.append(given)
                    return seat_snapshot(**given)

                monkeypatch.setattr(audiences, "seat_snapshot", count)
                await in_thread(stop_sales, showtime_id=showtime.pk)
                for client in crowd:
                    assert (await next_snapshot(client))["on_sale"] is False
                # It is heard directly, and through Redis from others; here from this process alone.
                assert len(read) == 1

        scene()

    @pytest.mark.parametrize("trouble", ["the message is lost", "the clock closes it"])
    def test_what_nobody_told_is_found_with_the_versions(self, showtime: Showtime, trouble: str) -> None:
        def change() -> None:
            if trouble == "the message is lost":
                ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
            else:
                Showtime.objects.filter(pk=showtime.pk).update(sales_close_at=timezone.now())

        @in_loop
        async def scene() -> None:
            async with socket(join=showtime.pk) as client:
                await in_thread(change)
                hub()._check_now.set()
                shown = await next_snapshot(client)
                assert (shown["on_sale"], shown["version"]) == (False, 0)
                hub()._check_now.set()
                await asyncio.sleep(0)
                assert not await client.waits()

        scene()

    def test_who_comes_in_with_older_news_is_told_anew(
        self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Their snapshot was read before the turn and shown after it."""

        @in_loop
        async def scene() -> None:
            async with socket(join=showtime.pk) as first:
                old = await in_thread(audiences._snapshot, showtime.pk, None)
                await in_thread(stop_sales, showtime_id=showtime.pk)
                assert (await next_snapshot(first))["on_sale"] is False
                with monkeypatch.context() as stale:
                    stale.setattr(audiences, "_snapshot", lambda *_given: old)
                    client = Socket("/ws/seats/", {"host": "localhost:8000"}, (), "ws")
                    await client.open()
                    await client.send("join:showtime", showtime_id=showtime.pk)
                    assert (await next_snapshot(client))["on_sale"] is True
                while (await next_snapshot(client))["on_sale"] is not False:
                    pass
                await client.close()

        scene()

    def test_while_postgresql_is_away_nothing_is_shown_and_the_next_check_finds_it(
        self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @in_loop
        async def scene() -> None:
            async with socket(join=showtime.pk) as client:
                failed = asyncio.Event()
                loop = asyncio.get_running_loop()

                def fail(*given: Any) -> Any:
                    loop.call_soon_threadsafe(failed.set)
                    raise OperationalError("the connection is gone")

                with monkeypatch.context() as away:
                    away.setattr(audiences, "_snapshot_for_strangers", fail)
                    await in_thread(stop_sales, showtime_id=showtime.pk)
                    await failed.wait()
                audience = hub()._audiences[showtime.pk]
                await until(lambda: not audience._looking)
                hub()._check_now.set()
                assert (await next_snapshot(client))["on_sale"] is False

        scene()


async def next_snapshot(client: Socket) -> dict[str, Any]:
    """Take frames until the next snapshot; return what it says."""
    while True:
        frame = await client.next()
        if frame["event"] == "seats:availability":
            data: dict[str, Any] = frame["data"]
            return data


def test_those_who_come_together_share_a_snapshot(
    showtime: Showtime, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a server has ended all its viewers come to another, at once."""
    read: list[Any] = []
    all_wait = threading.Event()

    def slow(**given: Any) -> Any:
        read.append(given["holder_id"])
        assert all_wait.wait(10)
        return seat_snapshot(**given)

    @in_loop
    async def scene() -> None:
        await in_thread(take, ada, showtime, "A1")
        async with contextlib.AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(socket()) for _viewer in range(50)]
            own = await stack.enter_async_context(socket(ada.token))
            monkeypatch.setattr(audiences, "seat_snapshot", slow)
            for number, client in enumerate([*crowd, own]):
                await client.send("join:showtime", number, showtime_id=showtime.pk)
                await until(lambda: read)
            gone = Socket("/ws/seats/", {"host": "localhost:8000"}, (), "ws")
            await gone.open()
            await gone.send("join:showtime", showtime_id=showtime.pk)
            # Each counts twice: in the hub, and here.
            await until(lambda: hub()._audiences and hub()._audiences[showtime.pk].joining == 2 * 52)
            all_wait.set()
            await gone.close()
            for number, client in enumerate([*crowd, own]):
                frame = await client.receive("seats:availability")
                assert frame["id"] == number
                assert frame["data"]["seats"]["A1"] == ("selected" if client is own else "locked")
                assert bool(frame["data"]["hold"]) is (client is own)
            # The first one's, that of all who came meanwhile, and the holder's.
            assert read == [None, None, ada.claimant.holder_id]
            await in_thread(let_go, ada, showtime)
            for client in (*crowd, own):
                await client.reach(2)
                assert (client.seats["A1"], client.resyncs) == ("available", 0)

    scene()


def test_a_resync_reads_once_for_the_crowd(showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(socket(join=showtime.pk)) for _viewer in range(20)]
            read = []

            def count(**given: Any) -> Any:
                read.append(given)
                return seat_snapshot(**given)

            monkeypatch.setattr(audiences, "seat_snapshot", count)
            hub()._audiences[showtime.pk].resync()
            for client in crowd:
                await next_snapshot(client)
            assert len(read) == 1

    scene()


def test_who_wants_to_see_what_there_is_not_is_refused_alone(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket() as one, socket() as two:
            for client in (one, two):
                await client.send("join:showtime", 1, showtime_id=987654321)
            for client in (one, two):
                assert (await client.receive())["data"]["code"] == "not_found"
                assert (await client.ask("join:showtime", showtime_id=showtime.pk))["event"] == "seats:availability"

    scene()


def test_all_versions_are_asked_for_in_one_statement(showtime: Showtime, ben: Person) -> None:
    take(ben, showtime, "A1")

    with CaptureQueriesContext(connection) as queries:
        time, versions = current_versions(showtime_ids=[showtime.pk, 987654321])

    assert len(queries) == 1
    assert versions == {showtime.pk: (1, "open")}
    assert time is not None
    assert current_versions(showtime_ids=[987654321]) == (None, {})


def test_the_ledger_is_read_in_order_as_a_stranger_sees_it(showtime: Showtime, ben: Person) -> None:
    take(ben, showtime, "A1", "A2")
    let_go(ben, showtime, "A1")
    block_silently(showtime, "A1")

    assert changes_since(showtime_id=showtime.pk, version=0) == [
        SeatsChanged(showtime.pk, 1, {"A1": "locked", "A2": "locked"}),
        SeatsChanged(showtime.pk, 2, {"A1": "available"}),
        SeatsChanged(showtime.pk, 3, {"A1": "blocked"}),
    ]
    assert [event.version for event in changes_since(showtime_id=showtime.pk, version=1, at_most=1)] == [2]
    assert changes_since(showtime_id=showtime.pk, version=3) == []


def test_messages_of_what_never_happened_lead_back_to_what_is_true(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            await changed(showtime, 9, A1="occupied")

            frame = await client.receive("seats:availability", "seat:status:changed")

            assert frame["event"] == "seats:availability"
            assert frame["data"]["version"] == 0

    scene()


def test_a_database_put_back_to_an_earlier_state_is_shown_as_it_is(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as one, socket(join=showtime.pk) as two:
            for client in (one, two):
                await changed(showtime, 1, A1="occupied")
                await client.reach(1)
            # PostgreSQL has never heard of version 1.
            hub()._check_now.set()

            for client in (one, two):
                frame = await client.receive("seats:availability")
                assert frame["data"]["version"] == 0
                assert frame["data"]["seats"]["A1"] == "available"

    scene()


def test_a_database_put_back_is_found_when_it_has_gone_on_to_the_same_version(showtime: Showtime, ada: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            await changed(showtime, 1, A1="occupied")
            await client.reach(1)
            # PostgreSQL has never heard of that version 1, and has now one of its own.
            await in_thread(take, ada, showtime, "A2")

            frame = await client.receive("seats:availability")
            assert frame["data"]["version"] == 1
            assert frame["data"]["seats"]["A1"] == "available"
            assert frame["data"]["seats"]["A2"] == "locked"

    scene()


def test_a_database_put_back_to_before_the_first_use_is_shown_as_it_is(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            await changed(showtime, 1, A1="occupied")
            await client.reach(1)
            await in_thread(ShowtimeSales.objects.all().delete)
            hub()._check_now.set()

            frame = await client.receive("seats:availability")
            assert frame["data"]["version"] == 0
            assert frame["data"]["seats"]["A1"] == "available"

    scene()


def test_who_leaves_during_a_resync_takes_nothing_from_the_others(showtime: Showtime, ben: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as one, socket(join=showtime.pk) as two:
            audience = hub()._audiences[showtime.pk]
            _first, second = audience.viewers
            audience.resync()
            hub().unwatch(second, showtime.pk)

            await next_snapshot(one)
            await in_thread(take, ben, showtime, "A1")
            await one.reach(1)
            assert not await two.waits()

    scene()


def test_when_all_leave_during_a_resync_nothing_is_kept(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk):
            audience = hub()._audiences[showtime.pk]
            (viewer,) = audience.viewers
            audience.resync()
            # A turn of the loop, in which the reading begins.
            await asyncio.sleep(0)
            hub().unwatch(viewer, showtime.pk)

            await until(lambda: showtime.pk not in hub()._audiences)

    scene()


def test_who_holds_what_is_told_again_after_the_layer_was_away(
    showtime: Showtime, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token, join=showtime.pk) as client:
            await in_thread(take, ada, showtime, "A1")
            await client.receive("hold:changed")
            hub()._listener._turn(healthy=False)
            with monkeypatch.context() as patched:
                # Another process does it, and nobody hears of it here.
                patched.setattr("seating.broadcast.send_to_group", lambda *_message: None)
                await in_thread(let_go, ada, showtime)
            hub()._listener._turn(healthy=True)

            frame = await client.receive("seats:availability")
            assert frame["data"]["version"] == 2
            assert frame["data"]["hold"] is None

    scene()


def test_changes_close_together_go_out_as_one_frame(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            watched = hub()._audiences[showtime.pk]
            for version in range(1, 21):
                watched.hear(
                    {"type": "seats.changed", "version": version, "changes": {"A1": f"state {version}", "A2": "locked"}}
                )

            frame = await client.receive("seat:status:changed")

            assert (frame["data"]["from_version"], frame["data"]["version"]) == (0, 20)
            assert frame["data"]["changes"] == {"A1": "state 20", "A2": "locked"}

    scene()


def test_the_first_change_does_not_wait_for_others_and_the_others_share_a_frame(
    showtime: Showtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            watched = hub()._audiences[showtime.pk]
            for burst in range(2):
                # As after a quiet time.
                watched._told_at = -math.inf
                first = 20 * burst + 1
                with monkeypatch.context() as patient:
                    patient.setattr(audiences, "GATHER_SECONDS", 3600)
                    hear(watched, first)
                    frame = await client.receive("seat:status:changed")
                    assert (frame["data"]["from_version"], frame["data"]["version"]) == (first - 1, first)
                assert watched._gathered == []
                for version in range(first + 1, first + 20):
                    hear(watched, version)
                    await asyncio.sleep(0)
                frame = await client.receive("seat:status:changed")
                assert (frame["data"]["from_version"], frame["data"]["version"]) == (first, first + 19)

    def hear(watched: audiences.Audience, version: int) -> None:
        watched.hear({"type": "seats.changed", "version": version, "changes": {"A1": f"state {version}"}})

    scene()


def test_sold_seats_are_announced_right_after_their_change(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            await changed(showtime, 1, A1="occupied", A2="occupied", A3="available")

            first, second = await client.next(), await client.next()

            assert first["event"] == "seat:status:changed"
            assert second == {
                "event": "seats:booked",
                "data": {"showtime_id": showtime.pk, "version": 1, "seats": ["A1", "A2"]},
            }

    scene()


def test_a_change_reaches_two_hundred_viewers_and_asks_the_database_nothing(
    showtime: Showtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The check of a new showtime would ask for its version in the middle of this.
    monkeypatch.setattr(hubs, "FIRST_CHECK_SECONDS", 1000)
    opened: list[Any] = []

    def count(**kwargs: Any) -> None:
        opened.append(kwargs)

    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(socket(join=showtime.pk)) for _ in range(200)]
            # In the tests every call in a thread opens a connection of its own, so these count the statements.
            connection_created.connect(count)
            try:
                await changed(showtime, 1, A1="locked")
                for client in clients:
                    await client.reach(1)
            finally:
                connection_created.disconnect(count)

            assert len({client.raw[-1] for client in clients}) == 1
            assert opened == []

    scene()


def test_what_many_are_sent_goes_past_asgi(showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.05)
    offered: list[bytes] = []

    def offer(frames: bytes) -> bool:
        offered.append(frames)
        return True

    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk, offer=offer) as client:
            await changed(showtime, 1, A1="locked")
            await until(lambda: any(b"seat:status:changed" in frames for frames in offered))
            await until(lambda: b"heartbeat" in offered[-1])
            # What it alone is told is written as ever, and so is its snapshot.
            assert (await client.ask("holds:get"))["event"] == "error"
            assert [json.loads(raw)["event"] for raw in client.raw] == ["seats:availability", "error"]

    scene()


def test_one_hold_reaches_everybody(showtime: Showtime, ada: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(socket(join=showtime.pk)) for _ in range(200)]
            await in_thread(take, ada, showtime, "A1", "A2")
            for client in clients:
                await client.reach(1)
                assert client.seats["A1"] == client.seats["A2"] == "locked"

    scene()


def test_only_the_first_and_the_last_viewer_cost_a_group_operation(
    showtime: Showtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations: list[tuple[str, str]] = []

    @in_loop
    async def scene() -> None:
        listener = hub()._listener
        for name in ("subscribe", "unsubscribe"):
            monkeypatch.setattr(listener, name, counted(name, getattr(listener, name)))
        async with socket(join=showtime.pk) as one:
            async with socket(join=showtime.pk) as two:
                await two.send("leave:showtime", showtime_id=showtime.pk)
                await two.ask("join:showtime", showtime_id=showtime.pk)
            assert operations == [("subscribe", group)]
            await one.send("leave:showtime", showtime_id=showtime.pk)
            await until(lambda: len(operations) == 2)
        assert operations == [("subscribe", group), ("unsubscribe", group)]
        assert hub()._audiences == {}

    def counted(name: str, operation: Any) -> Any:
        async def call(of: str, *rest: Any) -> None:
            operations.append((name, of))
            await operation(of, *rest)

        return call

    group = showtime_group(showtime.pk)
    scene()


def test_who_has_left_is_told_nothing_more(showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as gone, socket(join=showtime.pk) as here:
            await gone.send("leave:showtime", showtime_id=showtime.pk)
            await until(lambda: len(hub()._audiences[showtime.pk].viewers) == 1)
            await changed(showtime, 1, A1="locked")
            await here.reach(1)

            assert not await gone.waits()

    scene()


def test_everybody_who_watches_is_told_the_version_now_and_then(
    showtime: Showtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_SECONDS", 0.05)

    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            frame = await client.receive("heartbeat")

            assert frame["data"].keys() == {"showtime_id", "version", "server_time", "viewers"}
            assert frame["data"]["version"] == 0
            assert frame["data"]["viewers"] == 1
            assert frame["data"]["server_time"].endswith("Z")

    scene()


def test_all_sockets_of_a_holder_hear_of_their_hold_and_nobody_else_does(
    showtime: Showtime, ada: Person, ben: Person
) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as one, socket(ada.token) as two, socket(ben.token, join=showtime.pk) as other:
            await in_thread(take, ada, showtime, "A1")
            for client in (one, two):
                frame = await client.receive("hold:changed")
                assert frame["data"]["showtime_id"] == showtime.pk
                assert frame["data"]["hold"]["seats"] == ["A1"]
                assert "hold_token" not in frame["data"]["hold"]
            hold_id = frame["data"]["hold"]["hold_id"]

            await in_thread(let_go, ada, showtime)
            for client in (one, two):
                assert (await client.receive("hold:changed"))["data"] == {"showtime_id": showtime.pk, "hold": None}

            expired = HoldExpired(ada.claimant.holder_id, showtime.pk, hold_id, ("A1",))
            await tell_from_elsewhere(
                holder_group(ada.claimant.holder_id),
                {"type": "hold.expired", "showtime_id": showtime.pk, "hold_id": hold_id, "seats": list(expired.seats)},
            )
            for client in (one, two):
                assert (await client.receive("hold:expired"))["data"] == {
                    "showtime_id": showtime.pk,
                    "hold_id": hold_id,
                    "seats": ["A1"],
                }
            await other.reach(2)
            assert not any("hold:" in raw for raw in other.raw)

    scene()


def test_a_hold_is_read_once_per_process_however_many_tabs_there_are(showtime: Showtime, ada: Person) -> None:
    opened: list[Any] = []

    def count(**kwargs: Any) -> None:
        opened.append(kwargs)

    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            tabs = [await stack.enter_async_context(socket(ada.token)) for _ in range(20)]
            connection_created.connect(count)
            try:
                await tell_from_elsewhere(
                    holder_group(ada.claimant.holder_id), {"type": "hold.changed", "showtime_id": showtime.pk}
                )
                for tab in tabs:
                    await tab.receive("hold:changed")
            finally:
                connection_created.disconnect(count)
            assert len(opened) == 1

    scene()


def test_no_frame_tells_who_another_holder_is(showtime: Showtime, ada: Person, ben: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as stranger, socket(ben.token, join=showtime.pk) as other:
            async with socket(ada.token, join=showtime.pk) as own:
                answer = await own.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"])
                secrets = [answer["data"]["hold_id"], answer["data"]["hold_token"], ada.username, "user_id", "holder"]
                for client in (stranger, other):
                    await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"])
                await in_thread(extend_hold, holder_id=ada.claimant.holder_id, showtime_id=showtime.pk)
                await in_thread(let_go, ada, showtime)
            for client in (stranger, other):
                await client.reach(2)
                told = "\n".join(client.raw)
                assert not [secret for secret in secrets if secret in told]

    scene()


def test_threads_keep_no_connection(showtime: Showtime) -> None:
    threads = DatabaseThreads(2, "test")

    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def fail() -> None:
        ask()
        raise ValueError

    async def scene() -> None:
        for work in (ask, fail, ask, fail):
            with contextlib.suppress(ValueError):
                await threads.run(work)
        for _ in range(4):
            assert await threads.run(lambda: connection.connection) is None

    asyncio.run(scene())


def test_the_database_may_be_away_for_a_while(showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the ledger and the versions fails, and is done again by the next check."""
    real = audiences.changes_since
    failures = [0]

    def fail_once(**kwargs: Any) -> Any:
        failures[0] += 1
        if failures[0] == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column")
        return real(**kwargs)

    monkeypatch.setattr(audiences, "changes_since", fail_once)

    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            version = await in_thread(block_silently, showtime, "A1")
            hub()._check_now.set()
            await until(lambda: failures[0] == 1)
            hub()._check_now.set()
            await client.reach(version)

    scene()
    assert ShowtimeSales.objects.get(showtime=showtime).seq == 1
