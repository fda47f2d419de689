"""Taking seats, keeping them and letting them go: what is answered, and that each refusal says what to do."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from seating import locks
from seating.models import Hold, SeatStatus, Showtime
from tests.factories import HoldFactory, make_showtime
from tests.support.api import ApiClient, until_limited

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
FIELDS = {
    "hold_id",
    "showtime_id",
    "seats",
    "locked_at",
    "expires_at",
    "expires_in",
    "max_expires_at",
    "paying",
    "total",
    "server_time",
}


def lock(client: ApiClient, showtime: Showtime, *seats: str) -> Any:
    return client.ask("POST", f"showtimes/{showtime.pk}/seats/lock", {"seats": list(seats)})


def unlock(client: ApiClient, showtime: Showtime, *seats: str) -> Any:
    return client.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", {"seats": list(seats)} if seats else None)


def extend(client: ApiClient, showtime: Showtime, *seats: str) -> Any:
    return client.ask("PUT", f"showtimes/{showtime.pk}/seats/extend-lock", {"seats": list(seats)} if seats else {})


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def let_time_pass(hold_id: str, **changes: dt.timedelta) -> None:
    """Move a hold, and the seats it has, into the past."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_hold SET locked_at = locked_at - %(by)s, expires_at = expires_at - %(by)s,
                max_expires_at = max_expires_at - %(by)s WHERE id = %(hold)s
            """,
            {"by": changes["by"], "hold": hold_id},
        )
        cursor.execute(
            "UPDATE seating_seat SET reserved_at = reserved_at - %(by)s, reserved_until = reserved_until - %(by)s "
            "WHERE hold_id = %(hold)s",
            {"by": changes["by"], "hold": hold_id},
        )


def pay(hold_id: str) -> None:
    """Let a hold be paid, as a booking does."""
    Hold.objects.filter(pk=hold_id).update(paying=True)
    Hold.objects.get(pk=hold_id).seats.update(paying=True)


class TestLock:
    def test_answers_with_the_hold(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = lock(guest, showtime, "C1", "A1")

        assert answer.status_code == 201
        hold = answer.json()
        assert set(hold) == FIELDS | {"hold_token"}
        assert hold["showtime_id"] == showtime.pk
        assert hold["seats"] == ["A1", "C1"]
        assert hold["total"] == {"amount": "27.00", "currency": "EUR"}
        assert hold["paying"] is False
        assert hold["expires_in"] in (899, 900)
        for name in ("locked_at", "expires_at", "max_expires_at", "server_time"):
            assert hold[name].endswith("Z")
        locked_at, expires_at, cap = (
            parse_datetime(hold[name]) for name in ("locked_at", "expires_at", "max_expires_at")
        )
        assert locked_at is not None
        assert expires_at is not None
        assert cap is not None
        assert expires_at - locked_at == dt.timedelta(seconds=900)
        assert cap - locked_at == dt.timedelta(seconds=2700)
        redis_lock = locks.read(showtime_id=showtime.pk, code="A1")
        assert redis_lock
        assert redis_lock["hold_id"] == hold["hold_id"]

    def test_adds_to_the_hold_and_tells_its_token_once(self, guest: ApiClient, showtime: Showtime) -> None:
        first = lock(guest, showtime, "A1").json()
        second = lock(guest, showtime, "A2", "A1")

        assert second.status_code == 201
        assert second.json()["hold_id"] == first["hold_id"]
        assert second.json()["seats"] == ["A1", "A2"]
        assert set(second.json()) == FIELDS
        assert second.json()["expires_at"] > first["expires_at"]
        assert second.json()["max_expires_at"] == first["max_expires_at"]

    def test_of_ones_own_seats_is_200(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1", "A2")

        answer = lock(guest, showtime, "A2")

        assert answer.status_code == 200
        assert answer.json()["seats"] == ["A1", "A2"]

    def test_says_seat_by_seat_why_not_and_offers_others(
        self, guest: ApiClient, other: ApiClient, showtime: Showtime
    ) -> None:
        lock(other, showtime, "A1")

        answer = lock(guest, showtime, "A1", "A2")

        assert refusal(answer) == (409, "seat_held")
        assert answer.json()["seats"] == {"A1": "seat_held"}
        assert answer.json()["detail"].startswith("A1: ")
        assert answer.json()["alternatives"]
        assert all(len(group) == 2 for group in answer.json()["alternatives"])
        assert guest.ask("GET", "holds").json()["count"] == 0

    def test_the_code_is_the_worst_of_all_reasons(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        sold = HoldFactory(showtime=showtime, ended_at=timezone.now(), end_reason="sold")
        showtime.seats.filter(code="A3").update(status=SeatStatus.SOLD, hold=sold, sold_at=timezone.now())
        showtime.seats.filter(code="A2").update(status=SeatStatus.BLOCKED, block_reason="broken")

        blocked, booked = lock(guest, showtime, "A1", "A2"), lock(guest, showtime, "A2", "A3")

        assert refusal(blocked) == (409, "seat_blocked")
        assert blocked.json()["seats"] == {"A2": "seat_blocked"}
        assert refusal(booked) == (409, "seat_booked")
        assert booked.json()["seats"] == {"A2": "seat_blocked", "A3": "seat_booked"}

    def test_of_a_seat_that_is_not_there(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = lock(guest, showtime, "A1", "Z99", "a2")

        assert refusal(answer) == (400, "unknown_seat")
        assert answer.json()["seats"] == {"Z99": "unknown_seat", "a2": "unknown_seat"}

    def test_of_too_many_seats(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = lock(guest, showtime, *(f"A{number}" for number in range(1, 12)))

        assert refusal(answer) == (400, "too_many_seats")
        assert answer.json()["limit"] == 10

    def test_of_ten_thousand_seats(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = lock(guest, showtime, *(f"A{number}" for number in range(10_000)))

        assert refusal(answer) == (400, "too_many_seats")

    def test_of_too_many_seats_in_steps(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, *(f"{row}{number}" for row in "AC" for number in range(1, 6)))

        assert refusal(lock(guest, showtime, "A6")) == (400, "too_many_seats")

    @pytest.mark.parametrize(
        "changes",
        [
            {"sales_open_at": timezone.now() + HOUR},
            {"starts_at": timezone.now() - HOUR, "sales_open_at": timezone.now() - 3 * HOUR},
        ],
    )
    def test_while_nothing_is_sold(self, guest: ApiClient, changes: dict[str, Any]) -> None:
        assert refusal(lock(guest, make_showtime(**changes), "A1")) == (409, "not_on_sale")

    def test_of_a_cancelled_showtime(self, guest: ApiClient, showtime: Showtime) -> None:
        Showtime.objects.filter(pk=showtime.pk).update(cancelled_at=timezone.now())

        assert refusal(lock(guest, showtime, "A1")) == (409, "not_on_sale")

    def test_while_the_hold_is_being_paid(self, guest: ApiClient, showtime: Showtime) -> None:
        hold = lock(guest, showtime, "A1").json()
        pay(hold["hold_id"])

        for answer in (lock(guest, showtime, "A2"), extend(guest, showtime), unlock(guest, showtime)):
            assert refusal(answer) == (409, "hold_paying")
        assert guest.ask("GET", f"holds/{hold['hold_id']}").json()["paying"] is True

    def test_of_no_showtime(self, guest: ApiClient) -> None:
        for key in ("999999999", "9" * 18, "9" * 19, "-1", "x", "1.0"):
            answer = guest.ask("POST", f"showtimes/{key}/seats/lock", {"seats": ["A1"]})
            assert refusal(answer) == (404, "not_found")

    def test_by_nobody(self, nobody: ApiClient, showtime: Showtime) -> None:
        assert refusal(lock(nobody, showtime, "A1")) == (401, "not_authenticated")

    def test_is_counted_per_holder(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        answers = until_limited(lambda: unlock(guest, showtime), at_most=600)

        assert {answer.status_code for answer in answers[:60]} == {200}
        assert refusal(answers[-1]) == (429, "rate_limited")
        assert answers[-1]["Retry-After"] == "1"
        assert unlock(other, showtime).status_code == 200

    def test_is_not_counted_when_limits_are_off(self, guest: ApiClient, showtime: Showtime, settings: Any) -> None:
        settings.RATE_LIMITS = False

        assert {unlock(guest, showtime).status_code for _ in range(80)} == {200}


class TestUnlock:
    def test_some(self, guest: ApiClient, showtime: Showtime) -> None:
        first = lock(guest, showtime, "A1", "A2", "A3").json()

        answer = unlock(guest, showtime, "A3", "A1")

        assert answer.status_code == 200
        assert set(answer.json()) == {"released", "hold", "server_time"}
        assert sorted(answer.json()["released"]) == ["A1", "A3"]
        assert answer.json()["hold"]["seats"] == ["A2"]
        assert answer.json()["hold"]["expires_at"] > first["expires_at"]
        assert locks.read(showtime_id=showtime.pk, code="A1") is None

    @pytest.mark.parametrize("body", [None, {}, b""])
    def test_all(self, guest: ApiClient, showtime: Showtime, body: Any) -> None:
        lock(guest, showtime, "A1", "A2")

        answer = guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", body)

        assert sorted(answer.json()["released"]) == ["A1", "A2"]
        assert answer.json()["hold"] is None

    @pytest.mark.parametrize(
        "body", [{"seat": "A1"}, {"Seats": ["A1"]}, {"seats": []}, {"seats": None}, [], ["A1"], "A1", b"null", 0, False]
    )
    def test_nothing_by_mistake(self, guest: ApiClient, showtime: Showtime, body: Any) -> None:
        lock(guest, showtime, "A1", "A2")

        answer = guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", body)

        assert refusal(answer) == (400, "invalid_data")
        assert guest.ask("GET", "holds").json()["results"][0]["seats"] == ["A1", "A2"]

    def test_passes_over_the_seats_of_others(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1")
        lock(other, showtime, "A2")

        answer = unlock(guest, showtime, "A1", "A2", "A3")

        assert answer.json()["released"] == ["A1"]
        assert other.ask("GET", "holds").json()["results"][0]["seats"] == ["A2"]

    def test_without_a_hold(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = unlock(guest, showtime)

        assert (answer.json()["released"], answer.json()["hold"]) == ([], None)

    def test_of_a_seat_that_is_not_there(self, guest: ApiClient, showtime: Showtime) -> None:
        assert refusal(unlock(guest, showtime, "Z99")) == (400, "unknown_seat")

    def test_of_no_showtime(self, guest: ApiClient) -> None:
        assert refusal(guest.ask("DELETE", "showtimes/999999999/seats/unlock")) == (404, "not_found")


class TestExtend:
    def test_renews_the_time(self, guest: ApiClient, showtime: Showtime) -> None:
        hold = lock(guest, showtime, "A1", "A2").json()
        let_time_pass(hold["hold_id"], by=dt.timedelta(minutes=5))

        answer = extend(guest, showtime, "A1")

        assert answer.status_code == 200
        assert set(answer.json()) == FIELDS
        assert answer.json()["expires_at"] > hold["expires_at"]
        assert answer.json()["seats"] == ["A1", "A2"]

    @pytest.mark.parametrize("body", [None, {}])
    def test_needs_no_body(self, guest: ApiClient, showtime: Showtime, body: Any) -> None:
        lock(guest, showtime, "A1")

        assert guest.ask("PUT", f"showtimes/{showtime.pk}/seats/extend-lock", body).status_code == 200

    def test_at_the_cap_changes_nothing(self, guest: ApiClient, showtime: Showtime, settings: Any) -> None:
        settings.SEAT_HOLD_MAX_SECONDS = settings.SEAT_HOLD_SECONDS
        hold = lock(guest, showtime, "A1").json()
        assert hold["expires_at"] == hold["max_expires_at"]

        answer = extend(guest, showtime)

        assert answer.status_code == 200
        assert answer.json()["expires_at"] == hold["expires_at"]

    def test_without_a_hold(self, guest: ApiClient, showtime: Showtime) -> None:
        assert refusal(extend(guest, showtime)) == (410, "hold_expired")

    def test_of_a_hold_that_has_run_out(self, guest: ApiClient, showtime: Showtime) -> None:
        hold = lock(guest, showtime, "A1").json()
        let_time_pass(hold["hold_id"], by=dt.timedelta(minutes=16))

        assert refusal(extend(guest, showtime)) == (410, "hold_expired")
        assert refusal(guest.ask("GET", f"holds/{hold['hold_id']}")) == (410, "hold_expired")
        assert refusal(guest.ask("DELETE", f"holds/{hold['hold_id']}")) == (410, "hold_expired")
        assert guest.ask("GET", "holds").json()["results"] == []

    def test_of_a_seat_that_somebody_else_has(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1")
        lock(other, showtime, "A2")

        answer = extend(guest, showtime, "A1", "A2")

        assert refusal(answer) == (409, "seat_held")
        assert answer.json()["seats"] == {"A2": "seat_held"}

    def test_of_a_seat_that_nobody_has(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1")

        assert refusal(extend(guest, showtime, "A1", "A2")) == (410, "hold_expired")


class TestOneSeat:
    def test_hold_and_release(self, guest: ApiClient, showtime: Showtime) -> None:
        path = f"showtimes/{showtime.pk}/seats/A1/hold"

        assert guest.ask("POST", path).status_code == 201
        assert guest.ask("POST", path).status_code == 200
        answer = guest.ask("DELETE", path)
        assert (answer.json()["released"], answer.json()["hold"]) == (["A1"], None)
        assert guest.ask("DELETE", path).json()["released"] == []

    def test_the_others_stay(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, "A1", "A2")

        answer = guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/A1/hold")

        assert answer.json()["hold"]["seats"] == ["A2"]

    def test_that_is_taken(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        lock(other, showtime, "A1")

        answer = guest.ask("POST", f"showtimes/{showtime.pk}/seats/A1/hold")

        assert refusal(answer) == (409, "seat_held")
        assert answer.json()["seats"] == {"A1": "seat_held"}

    @pytest.mark.parametrize(
        "code",
        ["%00", "%0A", "A1%0A", "%C3%A4", "%ED%A0%80", "%FF", "%F0%9F%8E%AC", "..", "%25", "a1", "A01", "A" * 5000],
    )
    def test_with_an_odd_code(self, guest: ApiClient, showtime: Showtime, code: str) -> None:
        for method in ("POST", "DELETE"):
            answer = guest.ask(method, f"showtimes/{showtime.pk}/seats/{code}/hold")
            assert refusal(answer) == (400, "unknown_seat")

    @pytest.mark.parametrize("code", ["%2F", "A1%2Fhold", "A1/hold"])
    def test_whose_code_looks_like_a_path(self, guest: ApiClient, showtime: Showtime, code: str) -> None:
        assert refusal(guest.ask("POST", f"showtimes/{showtime.pk}/seats/{code}/hold")) == (404, "not_found")

    def test_whose_code_is_spelled_in_percents(self, guest: ApiClient, showtime: Showtime) -> None:
        assert guest.ask("POST", f"showtimes/{showtime.pk}/seats/%41%31/hold").json()["seats"] == ["A1"]


class TestNewHold:
    def post(self, client: ApiClient, **body: Any) -> Any:
        return client.ask("POST", "holds", body)

    def test_of_named_seats(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = self.post(guest, showtime_id=showtime.pk, seats=["A1", "A2"])

        assert answer.status_code == 201
        assert set(answer.json()) == FIELDS | {"hold_token"}
        assert answer.json()["seats"] == ["A1", "A2"]
        assert self.post(guest, showtime_id=showtime.pk, seats=["A2"]).status_code == 200

    def test_of_the_best_seats(self, guest: ApiClient, showtime: Showtime) -> None:
        best = guest.ask("GET", f"showtimes/{showtime.pk}/seats/best?count=3").json()["seats"]

        answer = self.post(guest, showtime_id=showtime.pk, quantity=3)

        assert answer.status_code == 201
        assert sorted(answer.json()["seats"]) == sorted(best)

    def test_with_a_quantity_that_agrees(self, guest: ApiClient, showtime: Showtime) -> None:
        assert self.post(guest, showtime_id=showtime.pk, seats=["A1", "C3"], quantity=2).json()["seats"] == ["A1", "C3"]

    @pytest.mark.parametrize("quantity", [1, 3])
    def test_with_a_quantity_that_contradicts(self, guest: ApiClient, showtime: Showtime, quantity: int) -> None:
        answer = self.post(guest, showtime_id=showtime.pk, seats=["A1", "A2"], quantity=quantity)

        assert refusal(answer) == (400, "invalid_data")
        assert guest.ask("GET", "holds").json()["count"] == 0

    def test_of_more_than_are_free_together(self, guest: ApiClient, showtime: Showtime) -> None:
        answer = self.post(guest, showtime_id=showtime.pk, quantity=4)

        assert refusal(answer) == (409, "seat_held")
        assert answer.json()["alternatives"] == []

    @pytest.mark.parametrize("quantity", [11, 10_000, 2**70])
    def test_of_too_many(self, guest: ApiClient, showtime: Showtime, quantity: int) -> None:
        answer = self.post(guest, showtime_id=showtime.pk, quantity=quantity)

        assert refusal(answer) == (400, "too_many_seats")

    def test_of_too_many_with_those_one_has(self, guest: ApiClient, showtime: Showtime) -> None:
        lock(guest, showtime, *(f"{row}{number}" for row in "AB" for number in (1, 2, 3, 4)))

        assert refusal(self.post(guest, showtime_id=showtime.pk, quantity=3)) == (400, "too_many_seats")

    @pytest.mark.parametrize("key", [999_999_999, 2**63 - 1])
    def test_at_no_showtime(self, guest: ApiClient, key: int) -> None:
        assert refusal(self.post(guest, showtime_id=key, seats=["A1"])) == (404, "not_found")
        assert refusal(self.post(guest, showtime_id=key, quantity=1)) == (404, "not_found")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"quantity": 1},
            {"showtime_id": 0, "quantity": 1},
            {"showtime_id": -1, "quantity": 1},
            {"showtime_id": 2**63, "quantity": 1},
            {"showtime_id": "1", "quantity": 1},
            {"showtime_id": 1.0, "quantity": 1},
            {"showtime_id": True, "quantity": 1},
            {"showtime_id": None, "quantity": 1},
            {"showtime_id": [1], "quantity": 1},
            {"showtime_id": 1},
            {"showtime_id": 1, "quantity": 0},
            {"showtime_id": 1, "quantity": -1},
            {"showtime_id": 1, "quantity": "2"},
            {"showtime_id": 1, "quantity": 2.0},
            {"showtime_id": 1, "quantity": True},
            {"showtime_id": 1, "quantity": None},
            {"showtime_id": 1, "seats": []},
            {"showtime_id": 1, "seats": None},
            {"showtime_id": 1, "seats": None, "quantity": 1},
        ],
    )
    def test_of_nonsense(self, guest: ApiClient, body: dict[str, Any]) -> None:
        assert refusal(self.post(guest, **body)) == (400, "invalid_data")

    def test_by_nobody(self, nobody: ApiClient, showtime: Showtime) -> None:
        assert refusal(self.post(nobody, showtime_id=showtime.pk, quantity=1)) == (401, "not_authenticated")


class TestOwnHolds:
    def test_are_listed_oldest_first(self, user: ApiClient, showtime: Showtime) -> None:
        first = lock(user, showtime, "A1").json()
        second = lock(user, make_showtime(), "A1").json()

        answer = user.ask("GET", "holds").json()

        assert (answer["count"], answer["next"], answer["previous"]) == (2, None, None)
        assert [hold["hold_id"] for hold in answer["results"]] == [first["hold_id"], second["hold_id"]]
        assert all(set(hold) == FIELDS for hold in answer["results"])

    def test_come_in_pages(self, user: ApiClient, showtime: Showtime) -> None:
        lock(user, showtime, "A1")
        second = lock(user, make_showtime(), "A1").json()

        page = user.ask("GET", "holds?page=2&page_size=1").json()

        assert [hold["hold_id"] for hold in page["results"]] == [second["hold_id"]]
        assert user.ask("GET", "holds?page=9").status_code == 404

    def test_one(self, guest: ApiClient, showtime: Showtime) -> None:
        hold = lock(guest, showtime, "A1").json()

        answer = guest.ask("GET", f"holds/{hold['hold_id']}")

        assert answer.status_code == 200
        assert set(answer.json()) == FIELDS
        assert answer.json()["seats"] == ["A1"]

    def test_one_is_released(self, guest: ApiClient, showtime: Showtime) -> None:
        hold = lock(guest, showtime, "A1", "A2").json()

        answer = guest.ask("DELETE", f"holds/{hold['hold_id']}")

        assert answer.status_code == 200
        assert (sorted(answer.json()["released"]), answer.json()["hold"]) == (["A1", "A2"], None)
        for method in ("GET", "DELETE"):
            assert refusal(guest.ask(method, f"holds/{hold['hold_id']}")) == (410, "hold_expired")

    def test_of_others_look_like_none(self, guest: ApiClient, other: ApiClient, showtime: Showtime) -> None:
        live = lock(guest, showtime, "A1").json()["hold_id"]
        ended = lock(other, showtime, "A2").json()["hold_id"]
        other.ask("DELETE", f"holds/{ended}")

        for method in ("GET", "DELETE"):
            unknown = other.ask(method, f"holds/{uuid.uuid4()}")
            assert refusal(unknown) == (404, "not_found")
            assert other.ask(method, f"holds/{live}").content == unknown.content
            assert guest.ask(method, f"holds/{ended}").content == unknown.content
        assert guest.ask("GET", f"holds/{live}").status_code == 200

    @pytest.mark.parametrize("key", ["1", "x", "%00", "0" * 32, "{}", "a1636560-7200-421b-a309-e354e0026ec"])
    def test_with_an_odd_id(self, guest: ApiClient, key: str) -> None:
        assert refusal(guest.ask("GET", f"holds/{key}")) == (404, "not_found")

    def test_by_nobody(self, nobody: ApiClient) -> None:
        for method, path in (("GET", "holds"), ("GET", f"holds/{uuid.uuid4()}"), ("DELETE", f"holds/{uuid.uuid4()}")):
            assert refusal(nobody.ask(method, path)) == (401, "not_authenticated")
