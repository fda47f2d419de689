"""However slowly a socket reads, what waits for it is bounded and leads to what is true."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cinebook.core.sockets import frame_of
from seating.events import SeatsChanged
from seating.live import viewer as viewers
from seating.live.frames import Prepared, Stretch
from seating.live.handshake import SocketVisitor
from seating.live.viewer import Viewer

NOBODY = SocketVisitor("nothing")


def stretch(version: int, showtime_id: int = 1) -> Stretch:
    return Stretch.of([SeatsChanged(showtime_id, version, {f"A{version % 3}": f"state {version}"})])


async def written(viewer: Viewer) -> list[dict[str, Any]]:
    """Return all that waits for a viewer who reads at last."""
    frames: list[dict[str, Any]] = []

    async def send(text: str) -> None:
        frames.append(json.loads(text))

    writing = asyncio.ensure_future(viewer.write(send))
    # It never really waits, since `send` does not: what there is gets written in one go.
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])
    return frames


def test_a_slow_viewer_gets_the_newest_state_of_each_seat() -> None:
    async def scene() -> list[dict[str, Any]]:
        viewer = Viewer(NOBODY)
        viewer.show(showtime_id=1, version=0, text='{"event": "snapshot"}')
        for version in range(1, 1001):
            viewer.update(stretch(version))
        viewer.beat(1, Prepared(json.dumps({"event": "heartbeat", "data": {"version": 1000}})))
        return await written(viewer)

    snapshot, changed, heartbeat = asyncio.run(scene())

    assert snapshot == {"event": "snapshot"}
    assert changed["data"] == {
        "showtime_id": 1,
        "from_version": 0,
        "version": 1000,
        "changes": {"A1": "state 1000", "A2": "state 998", "A0": "state 999"},
    }
    assert heartbeat["data"]["version"] == 1000


def test_a_snapshot_stands_for_all_that_waited_before_it() -> None:
    async def scene() -> list[dict[str, Any]]:
        viewer = Viewer(NOBODY)
        viewer.update(stretch(5))
        viewer.update(stretch(5, showtime_id=2))
        viewer.show(showtime_id=1, version=6, text='{"event": "snapshot"}')
        viewer.update(stretch(7))
        return await written(viewer)

    frames = asyncio.run(scene())

    assert [frame["event"] for frame in frames] == ["snapshot", "seat:status:changed", "seat:status:changed"]
    assert [frame["data"]["from_version"] for frame in frames[1:] if frame["data"]["showtime_id"] == 1] == [6]


def test_many_viewers_are_sent_the_very_same_text() -> None:
    async def scene() -> list[list[str]]:
        one = stretch(1)
        texts: list[list[str]] = []
        for _ in range(3):
            viewer = Viewer(NOBODY)
            viewer.update(one)
            texts.append(list(viewer._next()))
        return texts

    first, *others = asyncio.run(scene())

    assert all(other[0] is first[0] for other in others)


def test_whoever_never_reads_is_let_go() -> None:
    async def scene() -> tuple[bool, bool, int]:
        viewer = Viewer(NOBODY)
        for _ in range(viewers.MAX_WAITING):
            viewer.tell("{}")
        before = viewer.dropped.is_set()
        viewer.tell("{}")
        return before, viewer.dropped.is_set(), len(viewer._line)

    assert asyncio.run(scene()) == (False, True, viewers.MAX_WAITING)


def test_what_waits_is_bounded_in_length_too() -> None:
    async def scene() -> None:
        viewer = Viewer(NOBODY)
        text = "x" * (viewers.MAX_WAITING_LENGTH // 2)
        for _ in range(3):
            # What has been written makes room.
            viewer.tell(text)
            assert viewer._next() == (text,)
        viewer.tell(text)
        viewer.tell(text)
        assert not viewer.dropped.is_set()
        viewer.tell("{}")
        assert viewer.dropped.is_set()
        assert viewer._line_length == viewers.MAX_WAITING_LENGTH

    asyncio.run(scene())


def test_one_long_frame_is_no_backlog() -> None:
    async def scene() -> None:
        viewer = Viewer(NOBODY)
        viewer.show(showtime_id=1, version=0, text="x" * (viewers.MAX_WAITING_LENGTH + 1))
        assert not viewer.dropped.is_set()

    asyncio.run(scene())


def test_whoever_takes_nothing_between_two_heartbeats_is_let_go() -> None:
    """Changes are merged and never overflow: without this, such a socket would stay for ever."""

    async def scene() -> None:
        reader, sleeper = Viewer(NOBODY), Viewer(NOBODY)
        for _ in range(2):
            for viewer in (reader, sleeper):
                viewer.beat(1, Prepared("{}"))
                viewer.beat(2, Prepared("{}"))
            assert await written(reader) == [{}, {}]
        assert not reader.dropped.is_set()
        assert sleeper.dropped.is_set()
        assert sleeper.drop_code == viewers.TRY_AGAIN_LATER

    asyncio.run(scene())


class Line:
    """A socket that takes so many offers; what is written to it otherwise takes a while."""

    def __init__(self, offers: int) -> None:
        self.offers = offers
        self.room = asyncio.Semaphore(0)
        self.taken: list[bytes] = []

    def offer(self, frames: bytes) -> bool:
        if not self.offers:
            return False
        self.offers -= 1
        self.taken.append(frames)
        return True

    async def write(self, text: str) -> None:
        await self.room.acquire()
        self.taken.append(frame_of(text))


def test_what_many_are_sent_is_written_at_once() -> None:
    async def scene() -> list[bytes]:
        line = Line(offers=2)
        viewer = Viewer(NOBODY, line.offer)
        viewer.update(stretch(1))
        viewer.beat(1, Prepared("{}"))
        return line.taken

    assert asyncio.run(scene()) == [stretch(1).prepared.content, frame_of("{}")]


def test_nothing_overtakes_what_waits_or_is_being_written() -> None:
    async def scene() -> list[bytes]:
        line = Line(offers=0)
        viewer = Viewer(NOBODY, line.offer)
        writing = asyncio.ensure_future(viewer.write(line.write))
        viewer.update(stretch(1))
        # It is about to be written, and waits for room.
        await asyncio.sleep(0)
        line.offers = 1
        viewer.update(stretch(2))
        viewer.update(stretch(3))
        viewer.beat(1, Prepared("{}"))
        assert line.taken == []
        for _ in range(3):
            line.room.release()
        # All of it is written in these few turns, and there is nothing else to do in this loop.
        for _ in range(10):
            await asyncio.sleep(0)
        viewer.update(stretch(4))
        writing.cancel()
        return line.taken

    first, both, heartbeat, at_once = asyncio.run(scene())

    assert first == stretch(1).prepared.content
    assert both == stretch(2).then(stretch(3)).prepared.content
    assert heartbeat == frame_of("{}")
    assert at_once == stretch(4).prepared.content


def test_the_first_reason_counts() -> None:
    async def scene() -> int:
        viewer = Viewer(NOBODY)
        viewer.drop(viewers.POLICY_VIOLATION)
        viewer.drop(viewers.TRY_AGAIN_LATER)
        return viewer.drop_code

    assert asyncio.run(scene()) == viewers.POLICY_VIOLATION
