"""How many look on: each person once, whichever tabs and processes they look through, and nothing of who they are."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import msgpack
import pytest

from seating.live import hub as hubs
from seating.live.hub import hub
from seating.live.presence import (
    ASKED_SECONDS,
    PRESENCE_GROUP,
    REPORTED_SECONDS,
    Presence,
    mark_of,
    presence,
)
from seating.models import Showtime
from tests.factories import make_showtime
from tests.seating.live.conftest import Person
from tests.seating.live.sockets import Socket, in_loop, in_thread, socket, tell_from_elsewhere, until
from tests.support.api import ApiClient


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _nobody_yet() -> None:
    """Those who asked in other tests are still remembered."""
    presence.cache_clear()


@pytest.fixture
def here(clock: Clock) -> Presence:
    return Presence(clock)


@pytest.fixture
def elsewhere(clock: Clock) -> Presence:
    return Presence(clock)


def tell(teller: Presence, listener: Presence, *, wants_answers: bool = False) -> bool:
    """Carry a report from one process to the other as Redis does."""
    message = teller.message(teller.report(), wants_answers=wants_answers)
    return listener.hear(msgpack.unpackb(msgpack.packb(message, use_bin_type=True), raw=False))


class TestCounting:
    def test_a_person_with_two_tabs_is_one(self, here: Presence) -> None:
        ada = mark_of(1)
        for showtime_id in (7, 7, 8):
            here.come(showtime_id, ada)
        here.come(7, mark_of(2))
        assert (here.count(7), here.count(8), here.count(9)) == (2, 1, 0)

        here.go(7, ada)
        assert here.count(7) == 2
        here.go(7, ada)
        assert (here.count(7), here.count(8)) == (1, 1)

    def test_strangers_are_as_many_as_their_sockets(self, here: Presence) -> None:
        for _ in range(100):
            here.come(7, mark_of(None))
        assert here.count(7) == 100

    def test_a_holder_is_the_same_in_every_process_and_nobody_can_tell_which(self) -> None:
        assert mark_of(41) == mark_of(41) != mark_of(42)
        assert b"41" not in mark_of(41)

    def test_another_key_makes_other_marks(self, settings: Any) -> None:
        ours = mark_of(41)
        settings.SECRET_KEY = "another " * 20
        assert mark_of(41) != ours

    def test_nothing_is_kept_of_those_who_have_gone(self, here: Presence) -> None:
        here.come(7, mark_of(1))
        here.go(7, mark_of(1))
        assert here._watching == {}

    def test_who_asks_counts_for_a_while(self, here: Presence, clock: Clock) -> None:
        here.ask(7, mark_of(1))
        here.come(7, mark_of(1))
        here.ask(7, mark_of(2))
        assert here.count(7) == 2

        clock.now += ASKED_SECONDS - 1
        here.ask(7, mark_of(2))
        clock.now += 2
        here.go(7, mark_of(1))
        assert here.count(7) == 1
        clock.now += ASKED_SECONDS
        assert here.count(7) == 0
        assert here.report() == []
        assert here._asked == {}


class TestOverProcesses:
    def test_all_are_counted_and_each_once(self, here: Presence, elsewhere: Presence) -> None:
        for holder_id in range(10):
            here.come(7, mark_of(holder_id))
        for holder_id in range(5, 20):
            elsewhere.come(7, mark_of(holder_id))
        elsewhere.ask(8, mark_of(1))
        tell(elsewhere, here)

        assert (here.count(7), here.count(8)) == (20, 1)
        assert elsewhere.count(7) == 15

    def test_the_newest_report_counts(self, here: Presence, elsewhere: Presence) -> None:
        elsewhere.come(7, mark_of(1))
        tell(elsewhere, here)
        elsewhere.go(7, mark_of(1))
        elsewhere.come(8, mark_of(1))
        tell(elsewhere, here)

        assert (here.count(7), here.count(8)) == (0, 1)

    def test_a_process_that_is_silent_is_forgotten(self, here: Presence, elsewhere: Presence, clock: Clock) -> None:
        elsewhere.come(7, mark_of(1))
        tell(elsewhere, here)
        clock.now += REPORTED_SECONDS - 1
        assert here.count(7) == 1
        clock.now += 1
        assert here.count(7) == 0
        here.report()
        assert here._elsewhere == {}

    def test_its_own_report_is_no_news(self, here: Presence) -> None:
        here.come(7, mark_of(1))
        assert tell(here, here, wants_answers=True) is False
        here.go(7, mark_of(1))
        assert here.count(7) == 0

    def test_who_begins_is_answered(self, here: Presence, elsewhere: Presence) -> None:
        assert tell(elsewhere, here, wants_answers=True) is True
        assert tell(elsewhere, here) is False

    def test_a_thousand_viewers_fit_into_a_short_message(self, here: Presence) -> None:
        for holder_id in range(1000):
            here.come(7, mark_of(holder_id))
        message = here.message(here.report(), wants_answers=False)
        assert len(msgpack.packb(message)) < 6200

    def test_any_comings_and_goings(self, here: Presence, elsewhere: Presence, clock: Clock) -> None:
        dice = random.Random(7)  # noqa: S311
        sockets: list[tuple[Presence, int, int]] = []
        for _ in range(500):
            if sockets and dice.random() < 0.45:
                process, showtime_id, holder_id = sockets.pop(dice.randrange(len(sockets)))
                process.go(showtime_id, mark_of(holder_id))
            else:
                sockets.append((dice.choice([here, elsewhere]), dice.randrange(3), dice.randrange(30)))
                process, showtime_id, holder_id = sockets[-1]
                process.come(showtime_id, mark_of(holder_id))
            clock.now += 1
            tell(elsewhere, here)
            for showtime_id in range(3):
                people = {holder_id for _process, number, holder_id in sockets if number == showtime_id}
                assert here.count(showtime_id) == len(people)


async def viewers(client: Socket, showtime: Showtime) -> int:
    """Return how many look on, as a client is told when it joins again."""
    count: int = (await client.ask("join:showtime", showtime_id=showtime.pk))["data"]["viewers"]
    return count


@pytest.mark.django_db(transaction=True)
class TestSockets:
    def test_everybody_is_told_with_the_seats(self, showtime: Showtime, ada: Person, ben: Person) -> None:
        @in_loop
        async def scene() -> None:
            async with socket(ada.token, join=showtime.pk) as own:
                assert await viewers(own, showtime) == 1
                async with socket(ada.token, join=showtime.pk), socket(ben.token, join=showtime.pk) as other:
                    assert await viewers(own, showtime) == await viewers(other, showtime) == 2
                    async with socket(join=showtime.pk):
                        assert await viewers(own, showtime) == 3
                    await other.send("leave:showtime", showtime_id=showtime.pk)
                    await until(lambda: presence().count(showtime.pk) == 1)
                assert await viewers(own, showtime) == 1
            assert presence().count(showtime.pk) == 0

        scene()

    def test_whoever_cannot_be_shown_a_showtime_does_not_count(self, showtime: Showtime) -> None:
        @in_loop
        async def scene() -> None:
            async with socket() as client:
                assert (await client.ask("join:showtime", showtime_id=987654321))["event"] == "error"
                assert presence().count(987654321) == 0

        scene()

    def test_a_socket_that_breaks_off_while_it_joins_leaves_nothing_behind(self, showtime: Showtime) -> None:
        @in_loop
        async def scene() -> None:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(5):
                    client = await stack.enter_async_context(socket())
                    await client.send("join:showtime", showtime_id=showtime.pk)
            await until(lambda: not hub()._audiences)
            assert presence().count(showtime.pk) == 0

        scene()

    def test_other_processes_are_told_and_heard(self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[dict[str, Any]] = []
        monkeypatch.setattr(hubs, "send_to_group", lambda group, message: sent.append({"group": group, **message}))

        @in_loop
        async def scene() -> None:
            # A process that has begun asks the others.
            await until(lambda: sent)
            assert (sent[0]["group"], sent[0]["wants_answers"]) == (PRESENCE_GROUP, True)
            async with socket(join=showtime.pk) as client:
                other = Presence()
                for _ in range(3):
                    other.come(showtime.pk, mark_of(None))
                told = len(sent)
                await tell_from_elsewhere(PRESENCE_GROUP, other.message(other.report(), wants_answers=True))
                await until(lambda: presence().count(showtime.pk) == 4)
                assert await viewers(client, showtime) == 4
                # And who has begun is answered at once.
                await until(lambda: len(sent) > told)
                assert [number for number, _marks in sent[-1]["seen"]] == [showtime.pk]
                assert sent[-1]["wants_answers"] is False

        scene()

    def test_it_is_told_every_few_seconds_and_once_more_when_nobody_is_left(
        self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[dict[str, Any]] = []
        monkeypatch.setattr(hubs, "REPORT_SECONDS", 0.05)
        monkeypatch.setattr(hubs, "send_to_group", lambda _group, message: sent.append(message))

        @in_loop
        async def scene() -> None:
            async with socket(join=showtime.pk):
                await until(lambda: len([message for message in sent if message["seen"]]) >= 3)
            await until(lambda: sent[-1]["seen"] == [])
            told = len(sent)
            for _ in range(3):
                hub()._report_now.set()
                await until(lambda: not hub()._report_now.is_set())
            assert len(sent) == told

        scene()


@pytest.mark.django_db
def test_who_asks_for_the_seats_counts_and_is_told(ada: Person) -> None:
    showtime = make_showtime()
    guest, stranger = ApiClient(token=ada.token), ApiClient()
    path = f"showtimes/{showtime.pk}/seats/status"

    assert stranger.ask("GET", path).json()["viewers"] == 0
    answer = guest.ask("GET", path)
    assert answer.json()["viewers"] == 1
    assert guest.ask("GET", f"{path}?since=0").json()["viewers"] == 1
    assert stranger.ask("GET", path).json()["viewers"] == 1
    # It is no news of its own.
    assert guest.ask("GET", path, If_None_Match=answer["ETag"]).status_code == 304
    assert guest.ask("GET", "showtimes/987654321/seats/status").status_code == 404
    assert presence().count(987654321) == 0


def test_in_a_thread_beside_the_loop(here: Presence) -> None:
    """Requests ask from threads while sockets come and go."""

    async def scene() -> None:
        async def come_and_go(holder_id: int) -> None:
            for _ in range(50):
                await in_thread(here.come, 7, mark_of(holder_id))
                assert await in_thread(here.count, 7) >= 1
                await in_thread(here.go, 7, mark_of(holder_id))

        await asyncio.gather(*(come_and_go(number) for number in range(8)))

    asyncio.run(scene())
    assert here.count(7) == 0
