"""Requests that name themselves, two at once: one effect and one answer, to the byte. Without the guard there are two.

Nothing depends on speed: the rivals wait for each other behind a row lock, or while the provider is asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import Sum
from django.test import Client

from bookings.models import Booking
from seating.identity import token_for_guest
from seating.models import IdempotencyRecord, Seat, Showtime
from seating.services import answering, idempotency
from tests.support.buying import FlakyDemo, assert_bought_right
from tests.support.ledger import assert_sound
from tests.support.rivals import DEADLINE, in_background, rows_locked, wait_for_waiters

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf")]

CONTACT = {"name": "Ada Example", "email": "ada@example.org"}


class Kiosk:
    """A guest who asks the API, each time by a new connection, under one key."""

    def __init__(self) -> None:
        self.token = token_for_guest()["access"]

    def post(self, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **({"Idempotency-Key": key} if key else {})}
        return Client().post(f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers)


@pytest.fixture
def kiosk() -> Kiosk:
    return Kiosk()


@pytest.fixture(params=["guarded", "unguarded"])
def guarded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether keys are heeded: without, nobody claims them, looks them up or finds that another was quicker."""
    if request.param == "unguarded":
        monkeypatch.setattr(idempotency, "_claim", lambda _named: "")
        monkeypatch.setattr(answering, "look", lambda _named: None)
        for module in (idempotency, answering):
            monkeypatch.setattr(module, "keep", lambda _named, _answer: None)
    return request.param == "guarded"


def judge(guarded: bool, effects: int, once: int, *answers: Any) -> None:  # noqa: FBT001
    """Assert that there was one effect and one answer; without the guard, that the test could see two."""
    if not guarded:
        assert effects == 2 * once
        return
    assert effects == once
    first, *others = [(answer.status_code, answer.content) for answer in answers]
    assert others == [first] * len(others)


class TestHolding:
    @pytest.mark.parametrize(
        ("path", "body", "seats"),
        [
            ("showtimes/{}/seats/lock", {"seats": ["A1", "A2"]}, 2),
            ("showtimes/{}/seats/A1/hold", None, 1),
            ("holds", {"showtime_id": ..., "seats": ["A1", "A2"]}, 2),
            ("holds", {"showtime_id": ..., "quantity": 2}, 2),
        ],
    )
    def test_two_at_once(
        self, showtime: Showtime, kiosk: Kiosk, path: str, body: Any, seats: int, *, guarded: bool
    ) -> None:
        if body and "showtime_id" in body:
            body = {**body, "showtime_id": showtime.pk}
        kiosk.post(f"showtimes/{showtime.pk}/seats/C6/hold")
        kiosk_id = "SELECT FROM seating_holder"
        before = fences(showtime)
        with in_background() as start:
            with rows_locked(kiosk_id, []):
                asked = []
                for waiting in (1, 2):
                    asked.append(start(lambda: kiosk.post(path.format(showtime.pk), body, key="k")))
                    wait_for_waiters(waiting)
            answers = [future.result(DEADLINE) for future in asked]
        answers.append(kiosk.post(path.format(showtime.pk), body, key="k")) if guarded else None
        assert answers[0].status_code == 201
        # Each of them renews the hold, and so touches its seats: those it takes, and the one it had.
        judge(guarded, fences(showtime) - before, seats + 1, *answers)
        assert_sound(showtime.pk)

    def test_the_token_is_told_again_and_stored_nowhere(self, showtime: Showtime, kiosk: Kiosk) -> None:
        first, second = [kiosk.post("holds", {"showtime_id": showtime.pk, "quantity": 2}, key="k") for _ in range(2)]
        assert first.content == second.content
        token = first.json()["hold_token"]
        shown = Client().get(f"/api/v1/holds/{first.json()['hold_id']}", headers={"X-Hold-Token": token})
        assert shown.json()["seats"] == first.json()["seats"]
        assert token not in (IdempotencyRecord.objects.get().body or "")

    def test_what_was_refused_by_redis_is_refused_again(self, showtime: Showtime, kiosk: Kiosk) -> None:
        rival = Kiosk()
        rival.post(f"showtimes/{showtime.pk}/seats/A1/hold")
        first = kiosk.post(f"showtimes/{showtime.pk}/seats/A1/hold", key="k")
        assert (first.status_code, first.json()["code"]) == (409, "seat_held")
        Client().delete(
            f"/api/v1/showtimes/{showtime.pk}/seats/A1/hold", headers={"Authorization": f"Bearer {rival.token}"}
        )
        again = kiosk.post(f"showtimes/{showtime.pk}/seats/A1/hold", key="k")
        assert (again.status_code, again.content) == (409, first.content)
        assert kiosk.post(f"showtimes/{showtime.pk}/seats/A1/hold", key="l").status_code == 201

    def test_what_was_granted_is_told_also_when_redis_would_refuse_it_now(
        self, showtime: Showtime, kiosk: Kiosk
    ) -> None:
        path = f"showtimes/{showtime.pk}/seats/A1/hold"
        first = kiosk.post(path, key="k")
        Client().delete(f"/api/v1/{path}", headers={"Authorization": f"Bearer {kiosk.token}"})
        Kiosk().post(path)
        again = kiosk.post(path, key="k")
        assert (again.status_code, again.content) == (201, first.content)

    def test_another_path_is_another_request(self, showtime: Showtime, kiosk: Kiosk) -> None:
        kiosk.post(f"showtimes/{showtime.pk}/seats/A1/hold", key="k")
        answer = kiosk.post(f"showtimes/{showtime.pk}/seats/A2/hold", key="k")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


def fences(showtime: Showtime) -> int:
    """Return how often seats were touched, all together."""
    return int(Seat.objects.filter(showtime=showtime).aggregate(sum=Sum("fence"))["sum"])


class TestBuying:
    """The second request comes while the provider is asked for the first, with nothing locked."""

    @pytest.fixture
    def meeting(self, provider: FlakyDemo, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], threading.Event]:
        """Return what lets a call to the provider last until the second request waits for it, or makes it too."""

        def last(call: str) -> threading.Event:
            met, begun = threading.Event(), threading.Event()
            real = getattr(provider, call)

            def slow(order: Any) -> Any:
                if begun.is_set():
                    met.set()
                begun.set()
                assert met.wait(DEADLINE)
                return real(order)

            monkeypatch.setattr(provider, call, slow)
            clock = SimpleNamespace(
                monotonic=answering.time.monotonic,
                sleep=lambda _seconds: (met.set(), threading.Event().wait(0.01)),
            )
            monkeypatch.setattr(answering, "time", clock)
            return begun

        return last

    def twice(self, kiosk: Kiosk, path: str, body: Any, begun: threading.Event) -> list[Any]:
        with in_background() as start:
            first = start(lambda: kiosk.post(path, body, key="k"))
            assert begun.wait(DEADLINE)
            second = start(lambda: kiosk.post(path, body, key="k"))
            return [first.result(DEADLINE), second.result(DEADLINE)]

    @pytest.mark.parametrize("token", ["succeed", "decline", "stall"])
    @pytest.mark.parametrize("way", ["bookings", "bookings/confirm"])
    def test_two_at_once(
        self,
        *,
        showtime: Showtime,
        kiosk: Kiosk,
        provider: FlakyDemo,
        meeting: Callable[[str], threading.Event],
        way: str,
        token: str,
        guarded: bool,
    ) -> None:
        held = kiosk.post("holds", {"showtime_id": showtime.pk, "seats": ["A1", "A2"]}).json()
        which = (
            {"hold_id": held["hold_id"]} if way == "bookings" else {"showtime_id": showtime.pk, "seats": ["A1", "A2"]}
        )
        body = {**which, "contact": CONTACT, "payment": {"provider": "demo", "token": token}}
        answers = self.twice(kiosk, way, body, meeting("create"))
        assert answers[0].status_code == (402 if token == "decline" else 201)
        judge(guarded, provider.calls.count("create"), 1, *answers)
        assert Booking.objects.count() == 1
        if guarded:
            assert kiosk.post(way, body, key="k").content == answers[0].content
            assert Booking.objects.count() == 1
        assert_bought_right(showtime)

    def test_cancelling_two_at_once(
        self,
        showtime: Showtime,
        kiosk: Kiosk,
        provider: FlakyDemo,
        meeting: Callable[[str], threading.Event],
        *,
        guarded: bool,
    ) -> None:
        held = kiosk.post("holds", {"showtime_id": showtime.pk, "seats": ["A1"]}).json()
        body = {"hold_id": held["hold_id"], "contact": CONTACT, "payment": {"provider": "demo", "token": "stall"}}
        reference = kiosk.post("bookings", body).json()["reference"]
        answers = self.twice(kiosk, f"bookings/{reference}/cancel", None, meeting("cancel"))
        assert (answers[0].status_code, answers[0].json()["status"]) == (200, "CANCELLED")
        judge(guarded, provider.calls.count("cancel"), 1, *answers)
        assert_bought_right(showtime)

    def test_a_decline_is_not_paid_anew_by_its_repetition(
        self, showtime: Showtime, kiosk: Kiosk, *, guarded: bool
    ) -> None:
        held = kiosk.post("holds", {"showtime_id": showtime.pk, "seats": ["A1"]}).json()
        body = {"hold_id": held["hold_id"], "contact": CONTACT, "payment": {"provider": "demo", "token": "decline"}}
        answers = [kiosk.post("bookings", body, key="k") for _ in range(2)]
        judge(guarded, Booking.objects.count(), 1, *answers)
