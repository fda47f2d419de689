"""Snapshot and frames make the next snapshot, for each operation of the product and whoever looks on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from cinebook.core.errors import Refusal
from seating.identity import HOLDER_CLAIM
from seating.models import Holder, Showtime
from seating.selectors.holds import live_hold
from seating.selectors.seat_map import seat_snapshot
from seating.serializers import seat_status
from tests.law.cases import SAID_BY_THE_SERVER, Case, cases, lasting, normalised, shapes, write
from tests.law.store import Store
from tests.races.operations import OPERATIONS, Scene, scene
from tests.seating.live.sockets import Socket, in_loop, in_thread, socket
from tests.support.buying import FlakyDemo

pytestmark = pytest.mark.django_db(transaction=True)

# Frames that change what somebody sees.
TELLING = {"seats:availability", "seat:status:changed", "hold:changed", "hold:expired"}
# Who else looks on, beside a stranger and Ada, because it is about them, too.
ABOUT = {"hold": "ben", "hold best": "cid", "sign in": "dora"}
# Where else something comes of an operation that everybody sees.
ALSO = [("call off", "held"), ("call off", "paying"), ("call off", "confirmed"), ("stop", "held"), ("hold", "lapsed")]
# Nobody can ask for a showtime that is gone.
ENDS_THE_SHOWTIME = {"remove"}


@pytest.fixture(scope="module")
def written(request: pytest.FixtureRequest) -> Iterator[list[Case] | None]:
    """What is to be written, if that was asked for."""
    # The option is known where this folder was asked for.
    if not request.config.getoption("--write-cases", default=False):
        yield None
        return
    assert not hasattr(request.config, "workerinput"), "one process writes them all"
    collected: list[Case] = []
    yield collected
    write(SAID_BY_THE_SERVER, collected)


def token_of(holder: Holder) -> str:
    token = AccessToken()
    token[HOLDER_CLAIM] = holder.pk
    return str(token)


def seen_by(holder: Holder | None, showtime: Showtime) -> dict[str, Any]:
    """Return what the REST API would say; read in the order in which it reads."""
    hold = live_hold(holder_id=holder.pk, showtime_id=showtime.pk) if holder else None
    snapshot = seat_snapshot(showtime_id=showtime.pk, holder_id=holder.pk if holder else None)
    told: dict[str, Any] = json.loads(json.dumps(seat_status(snapshot, hold, viewers=0)))
    return told


class Onlooker:
    """Somebody with a socket, who keeps a map."""

    def __init__(self, name: str, holder: Holder | None, line: Socket, snapshot: dict[str, Any]) -> None:
        self.name = name
        self._holder = holder
        self._line = line
        self._before = snapshot
        self._steps: list[dict[str, Any]] = []
        self._store = Store(snapshot)

    async def comes_to_see(self, showtime: Showtime) -> Case:
        """Take frames until the map shows what is true; return the whole of it."""
        truth = Store(await in_thread(seen_by, self._holder, showtime)).shown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while self._store.shown() != truth:
                    self._hear(await self._line.next())
        assert self._store.shown() == truth, (self.name, self._steps)
        assert await self._asks_again() == self._store.shown() == truth, (self.name, self._steps)
        return {"viewer": self.name, "before": self._before, "steps": self._steps, "after": truth}

    async def _asks_again(self) -> dict[str, Any]:
        """Return what the next snapshot shows; whatever was on its way comes before it."""
        await self._line.send("join:showtime", "again", showtime_id=self._before["showtime_id"])
        while True:
            frame = await self._line.next()
            if frame.get("id") == "again":
                return Store(frame["data"]).shown()
            self._hear(frame)

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["event"] in TELLING:
            result = self._store.hear(frame["event"], frame["data"])
            assert result == "applied", "the server tells everything in order, and once"
            self._steps.append({"event": frame["event"], "data": frame["data"]})


@in_loop
async def play(name: str, at: Scene, collected: list[Case]) -> None:
    people = {"a stranger": None, "Ada": at.ada}
    if name in ABOUT:
        people[ABOUT[name].title()] = getattr(at, ABOUT[name])
    async with contextlib.AsyncExitStack() as stack:
        onlookers = []
        for viewer, holder in people.items():
            line = await stack.enter_async_context(socket(token_of(holder) if holder else None))
            answer = await line.ask("join:showtime", showtime_id=at.showtime.pk)
            onlookers.append(Onlooker(viewer, holder, line, answer["data"]))
        await in_thread(OPERATIONS[name].does, at)
        if name in ENDS_THE_SHOWTIME:
            with pytest.raises(Refusal):
                await in_thread(seen_by, None, at.showtime)
            return
        collected += [await onlooker.comes_to_see(at.showtime) for onlooker in onlookers]


@pytest.mark.parametrize(("name", "stage"), [*((name, OPERATIONS[name].stage) for name in OPERATIONS), *ALSO])
def test_the_law(name: str, stage: str, provider: FlakyDemo, written: list[Case] | None) -> None:
    at = scene(stage, provider)
    prepare = OPERATIONS[name].prepare
    if prepare:
        prepare(at)
    said: list[Case] = []
    play(name, at, said)
    said = [normalised({"name": name, "stage": stage, **case}) for case in said]
    if written is not None:
        written += said
        return
    kept = cases(SAID_BY_THE_SERVER)
    assert [ends(case) for case in said] == [
        ends(case) for case in kept if (case["name"], case["stage"]) == (name, stage)
    ]
    known = {shape for case in kept for shape in shapes(case)}
    assert {shape for case in said for shape in shapes(case)} <= known, "the frames have changed: --write-cases"


def ends(case: Case) -> Any:
    """Return what a case begins and ends with; how many frames lie between is up to the clock."""
    return lasting({key: case[key] for key in ("name", "stage", "viewer", "before", "after")})
