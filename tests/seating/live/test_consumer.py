"""The frames of a socket: what each is answered, and that nonsense neither closes it nor stalls anybody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.serializers import Serializer

from bookings.consumers import BookingConsumer
from cinebook import asgi
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rate_limits import RateLimit
from seating import consumers
from seating.consumers import Action, SeatsConsumer
from seating.live import hub as hubs
from seating.live import viewer as viewers
from seating.live.holders import AT_ONCE
from seating.models import Showtime
from seating.serializers import ShowtimeRequest
from tests.factories import make_showtime
from tests.seating.live.conftest import Person
from tests.seating.live.sockets import TEST_SECONDS, in_loop, in_thread, socket

pytestmark = pytest.mark.django_db(transaction=True)

FREE = {"A1": "available", "A2": "available"}


def test_joining_shows_the_seats_as_rest_does(showtime: Showtime, ada: Person) -> None:
    rest = Client(headers={"authorization": f"Bearer {ada.token}"})

    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1"])
            frame = await client.ask("join:showtime", showtime_id=showtime.pk)
            status = (await in_thread(rest.get, f"/api/v1/showtimes/{showtime.pk}/seats/status")).json()

            assert frame["event"] == "seats:availability"
            assert frame["data"].keys() == status.keys()
            for key in ("showtime_id", "version", "seats"):
                assert frame["data"][key] == status[key]
            assert frame["data"]["seats"]["A1"] == "selected"
            assert frame["data"]["hold"].keys() == status["hold"].keys()

    scene()


def test_holding_extending_and_releasing(showtime: Showtime, ada: Person, ben: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token, join=showtime.pk) as client, socket(ben.token, join=showtime.pk) as other:
            made = await client.ask("seat:hold", showtime_id=showtime.pk, seats=["A1", "A2"])
            assert made["event"] == "seat:hold:success"
            assert made["data"]["seats"] == ["A1", "A2"]
            assert made["data"]["hold_token"]

            grown = await client.ask("seat:hold", showtime_id=showtime.pk, seat="A3")
            assert grown["data"]["seats"] == ["A1", "A2", "A3"]
            assert "hold_token" not in grown["data"]

            refused = await other.ask("seat:hold", showtime_id=showtime.pk, seats=["A3", "A4"])
            assert refused["event"] == "seat:hold:failed"
            assert refused["data"]["code"] == "seat_held"
            assert refused["data"]["seats"] == {"A3": "seat_held"}
            assert refused["data"]["alternatives"]
            assert refused["data"]["showtime_id"] == showtime.pk

            extended = await client.ask("hold:extend", showtime_id=showtime.pk)
            assert extended["event"] == "hold:extended"
            assert extended["data"]["expires_at"] > grown["data"]["expires_at"]

            holds = await client.ask("holds:get")
            assert holds["event"] == "holds:current"
            assert [hold["hold_id"] for hold in holds["data"]["holds"]] == [made["data"]["hold_id"]]

            one = await client.ask("seat:release", showtime_id=showtime.pk, seat="A2")
            assert one["event"] == "seat:release:success"
            assert one["data"]["released"] == ["A2"]
            assert one["data"]["hold"]["seats"] == ["A1", "A3"]
            everything = await client.ask("seat:release", showtime_id=showtime.pk)
            assert everything["data"]["released"] == ["A1", "A3"]
            assert everything["data"]["hold"] is None

            gone = await client.ask("hold:extend", showtime_id=showtime.pk)
            assert gone["event"] == "error"
            assert gone["data"]["code"] == "hold_expired"
            assert gone["data"]["showtime_id"] == showtime.pk

            for watching in (client, other):
                await watching.reach(4)
                assert watching.seats.items() >= FREE.items()

    scene()


# Stands for the showtime's id in the frames below.
HERE = "HERE"


def text(content: str) -> dict[str, Any]:
    return {"text": content}


def of(event: str, **data: Any) -> dict[str, Any]:
    return text(json.dumps({"event": event, "data": data}))


def joining(showtime_id: str) -> dict[str, Any]:
    return text(f'{{"event": "join:showtime", "data": {{"showtime_id": {showtime_id}}}}}')


NONSENSE: dict[str, dict[str, Any]] = {
    "not JSON": text("hello"),
    "nothing": text(""),
    "half of it": text('{"event": "join'),
    "no object": text("[]"),
    "null": text("null"),
    "binary": {"bytes": b'{"event": "holds:get"}'},
    "deep": text("[" * 60_000),
    "deep data": text('{"event":"join:showtime","data":' + '{"a":' * 9_000 + "1" + "}" * 9_001),
    "no event": text('{"data": {}}'),
    "an event that is none": text('{"event": 7}'),
    "an unknown event": of("seat:steal"),
    "data that is none": text('{"event": "holds:get", "data": [1]}'),
    "an id that is none": text('{"event": "holds:get", "id": {}}'),
    "a true id": text('{"event": "holds:get", "id": true}'),
    "a long id": text(json.dumps({"event": "holds:get", "id": "x" * 1000})),
    "no showtime": of("join:showtime"),
    "leaving nothing": of("leave:showtime"),
    "a showtime as text": joining('"1"'),
    "a showtime below zero": joining("-1"),
    "a showtime in parts": joining("1.0"),
    "a showtime that is no number": joining("NaN"),
    "a showtime beyond all numbers": joining("1e999"),
    "a large showtime": joining("1" + "0" * 30),
    "a showtime of five thousand digits": joining("1" + "0" * 5000),
}
NO_SEATS: dict[str, dict[str, Any]] = {
    "none": {},
    "empty": {"seats": []},
    "twice": {"seats": ["A1", "A1"]},
    "seat and seats": {"seat": "A1", "seats": ["A2"]},
    "a number": {"seat": 1},
    "a list of a list": {"seat": ["A1"]},
    "not a list": {"seats": "A1"},
    "a map": {"seats": {"A1": True}},
    "nothing at all": {"seats": None},
    "the letter zero": {"seat": "\0"},
}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    **{name: (frame, "error", "invalid_data") for name, frame in NONSENSE.items()},
    **{
        f"seats: {name}": (of("seat:hold", showtime_id=HERE, **seats), "seat:hold:failed", "invalid_data")
        for name, seats in NO_SEATS.items()
    },
    "a misspelt release": (of("seat:release", showtime_id=HERE, seat_codes=["A1"]), "error", "invalid_data"),
    "huge": (of("x" * 200_000), "error", "payload_too_large"),
    "ten thousand seats": (
        of("seat:hold", showtime_id=HERE, seats=[f"X{number}" for number in range(10_000)]),
        "seat:hold:failed",
        "too_many_seats",
    ),
    "an unknown showtime": (of("join:showtime", showtime_id=987654321), "error", "not_found"),
    "an unknown seat": (of("seat:hold", showtime_id=HERE, seat="Z9"), "seat:hold:failed", "unknown_seat"),
    "seats nowhere": (of("seat:hold", showtime_id=987654321, seat="A1"), "seat:hold:failed", "not_found"),
    "an unknown seat to release": (of("seat:release", showtime_id=HERE, seat="Z9"), "error", "unknown_seat"),
    "a hold that is not": (of("hold:extend", showtime_id=HERE), "error", "hold_expired"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_answered_and_the_socket_lives(name: str, showtime: Showtime, ada: Person) -> None:
    message, event, code = REFUSED[name]
    if "text" in message:
        message = text(message["text"].replace(f'"{HERE}"', str(showtime.pk)))

    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            await client.send_raw(message)
            frame = await client.next()

            assert frame["event"] == event
            assert frame["data"]["code"] == code
            assert frame["data"]["detail"]
            assert (await client.ask("holds:get"))["event"] == "holds:current"

    scene()


@pytest.mark.parametrize("seat", ["\ud800", "", " ", "x" * 17, "A1'; DROP TABLE seating_seat; --"])
def test_a_code_that_no_seat_can_have_is_refused(seat: str, showtime: Showtime, ada: Person) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            answer = await client.ask("seat:hold", showtime_id=showtime.pk, seat=seat)
            assert answer["event"] == "seat:hold:failed"
            assert answer["data"]["code"] in {"invalid_data", "unknown_seat"}

    scene()


@pytest.mark.parametrize("event", ["seat:hold", "seat:release", "hold:extend", "holds:get"])
def test_nobody_may_watch_but_not_act(event: str, showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            answer = await client.ask(event, showtime_id=showtime.pk, seats=["A1"])

            assert answer["event"] == ("seat:hold:failed" if event == "seat:hold" else "error")
            assert answer["data"]["code"] == "not_authenticated"

    scene()


@pytest.mark.parametrize("frame_id", ["7", 7, 0, "", "\ud800", -(2**62)])
def test_an_answer_repeats_the_id(frame_id: Any, showtime: Showtime) -> None:
    @in_loop
    async def scene() -> None:
        async with socket() as client:
            for event in ("join:showtime", "seat:hold", "nonsense"):
                await client.send(event, frame_id, showtime_id=showtime.pk)
                answer = await client.next()
                assert answer["id"] == frame_id
                assert type(answer["id"]) is type(frame_id)
            await client.send("join:showtime", showtime_id=showtime.pk)
            assert "id" not in await client.next()

    scene()


def test_one_socket_may_watch_several_showtimes_but_not_any_number(
    showtime: Showtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "MAX_JOINED", 2)
    second, third = make_showtime(), make_showtime()

    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            assert (await client.ask("join:showtime", showtime_id=second.pk))["event"] == "seats:availability"
            assert (await client.ask("join:showtime", showtime_id=showtime.pk))["event"] == "seats:availability"
            refused = await client.ask("join:showtime", showtime_id=third.pk)
            assert refused["data"]["code"] == "invalid_data"
            assert refused["data"]["limit"] == 2
            await client.send("leave:showtime", showtime_id=second.pk)
            assert (await client.ask("join:showtime", showtime_id=third.pk))["event"] == "seats:availability"

    scene()


def test_seats_made_on_first_use_are_shown(showtime: Showtime) -> None:
    showtime.seats.all().delete()

    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            assert client.seats["A1"] == "available"

    scene()


def test_too_many_frames_are_refused_and_then_the_socket_closes(
    showtime: Showtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "FRAMES", RateLimit("frames", burst=2, per_second=0.1))
    monkeypatch.setattr(consumers, "PATIENCE", RateLimit("over", burst=2, per_second=0.1))

    @in_loop
    async def scene() -> None:
        async with socket() as client:
            for _ in range(2):
                assert (await client.ask("join:showtime", showtime_id=showtime.pk))["event"] == "seats:availability"
            for _ in range(2):
                refused = await client.ask("join:showtime", showtime_id=showtime.pk)
                assert refused["data"]["code"] == "rate_limited"
                assert 1 <= refused["data"]["retry_after"] <= 10
            await client.send("join:showtime", showtime_id=showtime.pk)
            assert await client.closing_code() == consumers.POLICY_VIOLATION

    scene()


def test_operations_count_against_the_same_limit_as_rest(
    showtime: Showtime, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = RateLimit("seats", burst=2, per_second=0.1)
    monkeypatch.setattr(consumers, "SEAT_OPERATIONS", few)
    monkeypatch.setattr("seating.api.authentication.SEAT_OPERATIONS", few)
    rest = Client(headers={"authorization": f"Bearer {ada.token}"})
    assert rest.post(f"/api/v1/showtimes/{showtime.pk}/seats/A1/hold").status_code == 201

    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            assert (await client.ask("seat:hold", showtime_id=showtime.pk, seat="A2"))["event"] == "seat:hold:success"
            refused = await client.ask("seat:hold", showtime_id=showtime.pk, seat="A3")
            assert refused["data"]["code"] == "rate_limited"
            assert (await client.ask("holds:get"))["event"] == "holds:current"

    scene()


def test_limits_can_be_off_for_benchmarks(
    showtime: Showtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = False
    monkeypatch.setattr(consumers, "FRAMES", RateLimit("frames", burst=1, per_second=0.1))

    @in_loop
    async def scene() -> None:
        async with socket() as client:
            for _ in range(5):
                assert (await client.ask("join:showtime", showtime_id=showtime.pk))["event"] == "seats:availability"

    scene()


def test_whoever_does_not_read_is_closed(showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def scene() -> None:
        async with socket(join=showtime.pk) as client:
            (viewer,) = hubs.hub()._audiences[showtime.pk].viewers
            for _ in range(viewers.MAX_WAITING + 1):
                viewer.tell("{}")
            assert await client.closing_code() == viewers.TRY_AGAIN_LATER

    scene()


def test_one_holder_with_many_sockets_keeps_nobody_waiting(
    showtime: Showtime, ada: Person, ben: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def slowly(claimant: Any, _asked: dict[str, Any]) -> dict[str, Any]:
        if claimant.holder_id == ada.claimant.holder_id:
            begun.release()
            may_end.wait(TEST_SECONDS)
        return {}

    class Slow(SeatsConsumer):
        actions = {"holds:get": Action(Serializer, slowly, "holds:current", limited=False)}

    monkeypatch.setitem(asgi.sockets, "/ws/seats/", Slow.serve)

    @in_loop
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as stack:
            hers = [await stack.enter_async_context(socket(ada.token)) for _number in range(8)]
            asked = [asyncio.ensure_future(client.ask("holds:get")) for client in hers]
            for _number in range(AT_ONCE):
                await asyncio.to_thread(begun.acquire)
            try:
                async with socket(ben.token) as his:
                    assert (await his.ask("holds:get"))["event"] == "holds:current"
                assert not any(answer.done() for answer in asked)
                assert not begun.acquire(blocking=False)
            finally:
                may_end.set()
            assert {(await answer)["event"] for answer in asked} == {"holds:current"}

    scene()


def test_a_subclass_may_know_more_events(showtime: Showtime, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def buy(claimant: Any, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["showtime_id"] != showtime.pk:
            raise Refusal(ErrorCode.PAYMENT_DECLINED)
        return {"reference": f"of {claimant.holder_id}"}

    class Bookings(SeatsConsumer):
        actions = {
            **SeatsConsumer.actions,
            "booking:confirm": Action(ShowtimeRequest, buy, "booking:success", "booking:failed"),
        }

    monkeypatch.setitem(asgi.sockets, "/ws/seats/", Bookings.serve)

    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            sold = await client.ask("booking:confirm", showtime_id=showtime.pk)
            assert sold["event"] == "booking:success"
            assert sold["data"] == {"reference": f"of {ada.claimant.holder_id}"}
            declined = await client.ask("booking:confirm", showtime_id=showtime.pk + 1)
            assert declined["event"] == "booking:failed"
            assert declined["data"]["code"] == "payment_declined"
            assert (await client.ask("seat:hold", showtime_id=showtime.pk, seat="A1"))["event"] == "seat:hold:success"

    scene()


def test_a_mistake_of_ours_is_an_answer_and_the_socket_lives(
    showtime: Showtime, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(claimant: Any, asked: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(
        BookingConsumer, "actions", {**BookingConsumer.actions, "fail": Action(ShowtimeRequest, fail, "success")}
    )

    @in_loop
    async def scene() -> None:
        async with socket(ada.token) as client:
            assert (await client.ask("fail", showtime_id=showtime.pk))["data"]["code"] == "server_error"
            assert (await client.ask("holds:get"))["event"] == "holds:current"

    scene()
