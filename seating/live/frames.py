"""Frames: `{"event", "data", "id"?}` as text, and what many viewers are sent, made once for all of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from cinebook.core.sockets import frame_of
from seating.events import SeatsChanged
from seating.selectors.seat_map import ViewedStatus
from seating.serializers import instant

FrameId = str | int


def frame(event: str, data: Mapping[str, Any], frame_id: FrameId | None = None) -> str:
    """Return a frame as it goes out, in ASCII.

    Args:
        event: its name.
        data: what it says.
        frame_id: the `id` of the client's frame that it answers, if that had one.
    """
    content: dict[str, Any] = {"event": event, "data": data}
    if frame_id is not None:
        content["id"] = frame_id
    return json.dumps(content, cls=DjangoJSONEncoder, separators=(",", ":"))


def answering(text: str, frame_id: FrameId | None) -> str:
    """Return a frame that has no `id` as the answer to a client's frame, without making it anew."""
    return text if frame_id is None else f'{text[:-1]},"id":{json.dumps(frame_id)}}}'


def heartbeat(*, showtime_id: int, version: int, server_time: dt.datetime, viewers: int) -> str:
    """Return the frame that says at which version everybody should be, and how many they are."""
    return frame(
        "heartbeat",
        {"showtime_id": showtime_id, "version": version, "server_time": instant(server_time), "viewers": viewers},
    )


class Prepared:
    """Frames that many are sent, one after the other: as texts, and as the very bytes that go over the line.

    Args:
        texts: of the frames.
    """

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.content = b"".join(map(frame_of, texts))


@dataclasses.dataclass(frozen=True)
class Stretch:
    """What leads a showtime's map from one version to a later one: of each changed seat, how it stands at the end."""

    showtime_id: int
    from_version: int
    version: int
    changes: Mapping[str, str]

    @classmethod
    def of(cls, events: Sequence[SeatsChanged]) -> Stretch:
        """Return the stretch of some events: at least one, in order and without a gap."""
        changes: dict[str, str] = {}
        for event in events:
            changes.update(event.changes)
        return cls(events[0].showtime_id, events[0].from_version, events[-1].version, changes)

    def then(self, later: Stretch) -> Stretch:
        """Return this stretch and the one that follows it, as one."""
        return Stretch(self.showtime_id, self.from_version, later.version, {**self.changes, **later.changes})

    @functools.cached_property
    def prepared(self) -> Prepared:
        """The frames that say so; made once, however many viewers are sent them."""
        version = {"showtime_id": self.showtime_id, "version": self.version}
        changed = frame(
            "seat:status:changed", {**version, "from_version": self.from_version, "changes": dict(self.changes)}
        )
        sold = [code for code, status in self.changes.items() if status == ViewedStatus.OCCUPIED]
        return Prepared(changed, frame("seats:booked", {**version, "seats": sold})) if sold else Prepared(changed)
