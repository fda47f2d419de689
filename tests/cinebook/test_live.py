"""The door to the channel layer: messages arrive, nobody waits, and a loss is only a line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any

import pytest
from channels.layers import channel_layers
from channels_redis.pubsub import RedisPubSubChannelLayer
from pytest_django import Settings

from cinebook.core import live
from cinebook.core.live import send_to_group
from seating import broadcast
from seating.events import HoldChanged, HoldExpired, SeatsChanged
from tests.support.asking import NOWHERE
from tests.support.rivals import DEADLINE, race

pytestmark = pytest.mark.django_db


def heard(group: str, *sends: Any) -> list[dict[str, Any]]:
    """Return what somebody in the group hears, as many messages as are sent."""
    config = channel_layers.configs["default"]["CONFIG"]

    async def listen() -> list[dict[str, Any]]:
        layer = RedisPubSubChannelLayer(**config)
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        for send in sends:
            send()
        messages = [await asyncio.wait_for(layer.receive(channel), DEADLINE) for _ in sends]
        await layer.flush()
        return messages

    return asyncio.run(listen())


def test_a_message_reaches_whoever_listens() -> None:
    message = {"type": "greeting", "number": 7, "list": ["a"]}
    assert heard("room", lambda: send_to_group("room", message)) == [message]


def test_messages_of_one_thread_keep_their_order() -> None:
    sends = [lambda number=number: send_to_group("room", {"type": "count", "number": number}) for number in range(50)]
    assert [message["number"] for message in heard("room", *sends)] == list(range(50))


def test_there_is_one_loop_for_all_threads() -> None:
    live._started_loop.cache_clear()
    loops = race(*[live._loop] * 8)
    assert len({id(loop) for loop in loops}) == 1


def test_an_outage_costs_the_sender_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    away = RedisPubSubChannelLayer(hosts=[NOWHERE])
    monkeypatch.setattr(live, "get_channel_layer", lambda: away)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        send_to_group("room", {"type": "greeting"})
        assert time.monotonic() - began < 0.1
        # The loop does one thing after the other: when this is done, the message was given up.
        ends_at = time.monotonic() + DEADLINE
        while "live.message_lost" not in caplog.text:
            assert time.monotonic() < ends_at
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), live._loop()).result(DEADLINE)


@pytest.mark.parametrize(
    ("event", "group", "message"),
    [
        (
            SeatsChanged(3, 8, {"A1": "locked"}),
            "showtime.3",
            {"type": "seats.changed", "showtime_id": 3, "version": 8, "changes": {"A1": "locked"}},
        ),
        (HoldChanged(5, 3), "holder.5", {"type": "hold.changed", "showtime_id": 3}),
    ],
)
def test_every_event_goes_to_those_whom_it_concerns(event: Any, group: str, message: dict[str, Any]) -> None:
    assert heard(group, lambda: broadcast.send(event)) == [message]


def test_an_expired_hold_names_its_seats() -> None:
    hold_id = uuid.uuid4()
    assert heard("holder.5", lambda: broadcast.send(HoldExpired(5, 3, hold_id, ("A1", "A2")))) == [
        {"type": "hold.expired", "showtime_id": 3, "hold_id": str(hold_id), "seats": ["A1", "A2"]}
    ]
