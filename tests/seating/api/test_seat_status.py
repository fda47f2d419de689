"""How the seats stand, as each viewer sees them, and how little is sent to who knows already."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from seating.models import BlockReason, Seat, SeatStatus, Showtime, ShowtimeSales
from seating.selectors import seat_map as seat_maps
from seating.services import block_seats, cancel_showtime, resume_sales, stop_sales, unblock_seats
from tests.factories import HoldFactory, make_showtime
from tests.seating.api.conftest import bearer
from tests.support.api import ApiClient

pytestmark = pytest.mark.django_db


def status(client: ApiClient, showtime: Showtime, **headers: str) -> Any:
    return client.ask("GET", f"showtimes/{showtime.pk}/seats/status", **headers)


def since(client: ApiClient, showtime: Showtime, version: int, **headers: str) -> Any:
    return client.ask("GET", f"showtimes/{showtime.pk}/seats/status?since={version}", **headers)


def lock(client: ApiClient, showtime: Showtime, *seats: str) -> Any:
    answer = client.ask("POST", f"showtimes/{showtime.pk}/seats/lock", {"seats": list(seats)})
    assert answer.status_code == 201
    return answer.json()


def closes(showtime_id: int, *, hours: int) -> None:
    """Let the sale end so many hours from now."""
    Showtime.objects.filter(pk=showtime_id).update(sales_close_at=timezone.now() + dt.timedelta(hours=hours))


class TestStatus:
    def test_every_viewer_sees_their_own(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient, other: ApiClient
    ) -> None:
        hold = lock(guest, showtime, "A1", "A2")
        lock(other, showtime, "C6")
        sold = HoldFactory(showtime=showtime, ended_at=timezone.now(), end_reason="sold")
        showtime.seats.filter(code="B3").update(status=SeatStatus.SOLD, hold=sold, sold_at=timezone.now())
        showtime.seats.filter(code="B1").update(status=SeatStatus.BLOCKED, block_reason="broken")

        strangers = status(nobody, showtime).json()
        guests = status(guest, showtime).json()

        everybody = {"A3": "available", "B1": "blocked", "B3": "occupied", "C6": "locked"}
        assert everybody.items() <= strangers["seats"].items()
        assert everybody.items() <= guests["seats"].items()
        assert (strangers["seats"]["A1"], guests["seats"]["A1"]) == ("locked", "selected")
        assert status(other, showtime).json()["seats"]["C6"] == "selected"
        assert list(strangers["seats"]) == [f"{row}{number}" for row in "ABC" for number in range(1, 7)]
        assert strangers["showtime_id"] == showtime.pk
        assert strangers["version"] == guests["version"] == 2
        assert strangers["server_time"].endswith("Z")
        assert strangers["hold"] is None
        assert guests["hold"]["hold_id"] == hold["hold_id"]
        assert "hold_token" not in guests["hold"]

    def test_no_answer_names_another_holder(self, showtime: Showtime, guest: ApiClient, other: ApiClient) -> None:
        hold = lock(guest, showtime, "A1")

        assert hold["hold_id"] not in status(other, showtime).content.decode()

    def test_makes_the_seats_of_a_showtime_on_first_use(self, showtime: Showtime, nobody: ApiClient) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()

        answer = status(nobody, showtime).json()

        assert answer["version"] == 0
        assert len(answer["seats"]) == showtime.seats.count() == 18

    @pytest.mark.parametrize("headers", [{}, {"If_None_Match": "*"}, {"If_None_Match": 'W/"0"'}])
    def test_of_no_showtime(self, nobody: ApiClient, guest: ApiClient, headers: dict[str, str]) -> None:
        for client in (nobody, guest):
            assert client.ask("GET", "showtimes/999999999/seats/status", **headers).status_code == 404

    def test_head(self, showtime: Showtime, nobody: ApiClient) -> None:
        answer = nobody.ask("HEAD", f"showtimes/{showtime.pk}/seats/status")

        assert (answer.status_code, answer.content) == (200, b"")
        assert answer["ETag"] == status(nobody, showtime)["ETag"]


class TestTag:
    def test_who_knows_the_newest_gets_nothing(self, showtime: Showtime, nobody: ApiClient, guest: ApiClient) -> None:
        lock(guest, showtime, "A1")
        for client in (nobody, guest):
            first = status(client, showtime)
            assert first["Cache-Control"] == "private, no-cache"
            for known in (first["ETag"], f'W/"old", {first["ETag"]}', "*"):
                again = status(client, showtime, If_None_Match=known)
                assert (again.status_code, again.content) == (304, b"")
                assert (again["ETag"], again["Cache-Control"]) == (first["ETag"], "private, no-cache")

    def test_differs_between_viewers_with_different_maps(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient, other: ApiClient
    ) -> None:
        lock(guest, showtime, "A1")
        lock(other, showtime, "A2")

        assert len({status(client, showtime)["ETag"] for client in (nobody, guest, other)}) == 3

    def test_of_one_viewer_does_not_spare_another(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient
    ) -> None:
        lock(guest, showtime, "A1")

        assert status(guest, showtime, If_None_Match=status(nobody, showtime)["ETag"]).status_code == 200
        assert status(nobody, showtime, If_None_Match=status(guest, showtime)["ETag"]).status_code == 200

    def test_changes_with_the_seats(self, showtime: Showtime, nobody: ApiClient, guest: ApiClient) -> None:
        known = status(nobody, showtime)["ETag"]
        lock(guest, showtime, "A1")

        assert status(nobody, showtime, If_None_Match=known).status_code == 200

    def test_changes_with_the_sale(self, showtime: Showtime, nobody: ApiClient, guest: ApiClient) -> None:
        """Its version does not, so the version alone would lie."""
        lock(guest, showtime, "A1")
        for client in (nobody, guest):
            resume_sales(showtime_id=showtime.pk)
            for change, told in (
                (stop_sales, (False, False)),
                (resume_sales, (True, False)),
                (lambda *, showtime_id: closes(showtime_id, hours=-1), (False, False)),
                (lambda *, showtime_id: closes(showtime_id, hours=1), (True, False)),
            ):
                known = status(client, showtime)["ETag"]
                change(showtime_id=showtime.pk)
                answer = status(client, showtime, If_None_Match=known)
                assert answer.status_code == 200
                assert (answer.json()["on_sale"], answer.json()["cancelled"]) == told
        known = status(nobody, showtime)["ETag"]
        cancel_showtime(showtime_id=showtime.pk)
        answer = status(nobody, showtime, If_None_Match=known).json()
        assert (answer["on_sale"], answer["cancelled"]) == (False, True)

    def test_changes_for_the_holder_when_the_hold_is_extended(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient
    ) -> None:
        lock(guest, showtime, "A1")
        own, strangers = status(guest, showtime)["ETag"], status(nobody, showtime)["ETag"]

        guest.ask("PUT", f"showtimes/{showtime.pk}/seats/extend-lock", {})

        assert status(guest, showtime, If_None_Match=own).status_code == 200
        assert status(nobody, showtime, If_None_Match=strangers).status_code == 304

    @pytest.mark.parametrize("known", ["", "x", '"', 'W/"', "\x00", "é", '"1"' * 5000])
    def test_nonsense_is_no_tag(self, showtime: Showtime, nobody: ApiClient, known: str) -> None:
        assert status(nobody, showtime, If_None_Match=known).status_code == 200


class TestSince:
    """The changes alone, for who knows the seats at an older version."""

    def test_the_changes_lead_to_the_whole(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient, other: ApiClient
    ) -> None:
        """Snapshot and changes make the snapshot, for everybody and from every version."""
        clients = (nobody, guest, other)
        maps = [{client: status(client, showtime).json() for client in clients}]
        for change in (
            lambda: lock(guest, showtime, "A1", "A2"),
            lambda: lock(other, showtime, "B1"),
            lambda: guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", {"seats": ["A1"]}),
            lambda: block_seats(showtime_id=showtime.pk, codes=["C1"], reason=BlockReason.HOUSE_SEAT),
            lambda: guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", {}),
            lambda: unblock_seats(showtime_id=showtime.pk, codes=["C1"]),
        ):
            change()
            now = {client: status(client, showtime).json() for client in clients}
            maps.append(now)
            for then in maps:
                for client in clients:
                    news = since(client, showtime, then[client]["version"]).json()
                    assert then[client]["seats"] | news["changes"] == now[client]["seats"]
                    assert (news["from_version"], news["version"]) == (then[client]["version"], now[client]["version"])
                    assert (news["hold"] is None) == (now[client]["hold"] is None)

    def test_has_the_seats_that_changed_and_no_others(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient
    ) -> None:
        hold = lock(guest, showtime, "A1", "A2")
        guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", {"seats": ["A2"]})

        strangers, own = since(nobody, showtime, 0).json(), since(guest, showtime, 1).json()

        assert strangers.keys() == {
            *(
                "showtime_id",
                "from_version",
                "version",
                "server_time",
                "on_sale",
                "cancelled",
                "viewers",
                "changes",
                "hold",
            )
        }
        assert strangers["changes"] == {"A1": "locked", "A2": "available"}
        assert own["changes"] == {"A2": "available"}
        assert (own["hold"]["hold_id"], strangers["hold"]) == (hold["hold_id"], None)
        assert since(guest, showtime, 0).json()["changes"]["A1"] == "selected"

    def test_nothing_has_changed(self, showtime: Showtime, nobody: ApiClient, guest: ApiClient) -> None:
        assert since(nobody, showtime, 0).json()["changes"] == {}
        lock(guest, showtime, "A1")

        for client in (nobody, guest):
            answer = since(client, showtime, 1).json()
            assert (answer["from_version"], answer["version"], answer["changes"]) == (1, 1, {})

    def test_tells_of_the_sale(self, showtime: Showtime, nobody: ApiClient) -> None:
        stop_sales(showtime_id=showtime.pk)

        assert since(nobody, showtime, 0).json()["on_sale"] is False

    def test_what_was_too_long_ago_is_answered_in_full(
        self, showtime: Showtime, nobody: ApiClient, guest: ApiClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(seat_maps, "MOST_VERSIONS", 2)
        for seat in ("A1", "A2", "A3"):
            lock(guest, showtime, seat)

        assert since(nobody, showtime, 1).json()["changes"] == {"A2": "locked", "A3": "locked"}
        for version in (0, 4, 2**63 - 1):
            answer = since(nobody, showtime, version)
            assert answer.json()["seats"] == status(nobody, showtime).json()["seats"]
            assert "changes" not in answer.json()

    def test_its_tag_is_that_of_the_state(self, showtime: Showtime, nobody: ApiClient, guest: ApiClient) -> None:
        lock(guest, showtime, "A1")
        for client in (nobody, guest):
            whole = status(client, showtime)
            for version in (0, 1, 99):
                answer = since(client, showtime, version)
                assert (answer["ETag"], answer["Cache-Control"]) == (whole["ETag"], "private, no-cache")
                for known in (whole["ETag"], "*"):
                    again = since(client, showtime, version, If_None_Match=known)
                    assert (again.status_code, again.content) == (304, b"")
                    assert (again["ETag"], again["Cache-Control"]) == (whole["ETag"], "private, no-cache")
            lock(guest, showtime, "A2")
            assert since(client, showtime, 1, If_None_Match=whole["ETag"]).json()["changes"]
            guest.ask("DELETE", f"showtimes/{showtime.pk}/seats/unlock", {"seats": ["A2"]})

    @pytest.mark.parametrize("version", ["x", "-1", "1.5", "1e3", "%00", "9" * 5000, str(2**63)])
    def test_nonsense(self, showtime: Showtime, nobody: ApiClient, version: str) -> None:
        answer = nobody.ask("GET", f"showtimes/{showtime.pk}/seats/status?since={version}")

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_data")

    def test_of_no_showtime(self, nobody: ApiClient) -> None:
        for headers in ({}, {"If_None_Match": "*"}):
            assert nobody.ask("GET", "showtimes/999999999/seats/status?since=0", **headers).status_code == 404

    def test_a_showtime_that_was_never_used(self, showtime: Showtime, nobody: ApiClient) -> None:
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()

        assert since(nobody, showtime, 0).json()["changes"] == {}
        assert len(since(nobody, showtime, 1).json()["seats"]) == 18

    def test_the_bearer_of_a_hold_sees_that_hold(self, showtime: Showtime, guest: ApiClient) -> None:
        phone = bearer(lock(guest, showtime, "A1")["hold_token"])

        assert since(phone, showtime, 0).json()["changes"] == {"A1": "selected"}


class TestTheBearerOfAHold:
    def test_sees_that_hold(self, showtime: Showtime, guest: ApiClient) -> None:
        hold = lock(guest, showtime, "A1")

        seen = status(bearer(hold["hold_token"]), showtime).json()

        assert seen["seats"]["A1"] == "selected"
        assert seen["hold"]["hold_id"] == hold["hold_id"]

    def test_is_a_stranger_at_another_showtime(self, showtime: Showtime, guest: ApiClient) -> None:
        elsewhere = make_showtime()
        token = lock(guest, showtime, "A1")["hold_token"]
        lock(guest, elsewhere, "A1")

        seen = status(bearer(token), elsewhere).json()

        assert (seen["hold"], seen["seats"]["A1"]) == (None, "locked")

    def test_does_not_see_a_newer_hold_of_the_same_holder(self, showtime: Showtime, guest: ApiClient) -> None:
        old = lock(guest, showtime, "A1")
        guest.ask("DELETE", f"holds/{old['hold_id']}")
        lock(guest, showtime, "A2")

        answer = status(bearer(old["hold_token"]), showtime)

        assert (answer.json()["hold"], answer.json()["seats"]["A2"]) == (None, "locked")
        assert status(bearer(old["hold_token"]), showtime, If_None_Match=answer["ETag"]).status_code == 304


class TestBestSeats:
    def test_the_best_and_others(self, showtime: Showtime, nobody: ApiClient) -> None:
        answer = nobody.ask("GET", f"showtimes/{showtime.pk}/seats/best?count=3").json()

        assert set(answer) == {"seats", "alternatives", "server_time"}
        groups = [answer["seats"], *answer["alternatives"]]
        assert all(len(group) == 3 for group in groups)
        assert len({code for group in groups for code in group}) == 3 * len(groups) > 3

    def test_one_seat_if_no_count_is_given(self, showtime: Showtime, nobody: ApiClient) -> None:
        assert len(nobody.ask("GET", f"showtimes/{showtime.pk}/seats/best").json()["seats"]) == 1

    def test_none_where_so_many_are_not_together(self, showtime: Showtime, nobody: ApiClient) -> None:
        answer = nobody.ask("GET", f"showtimes/{showtime.pk}/seats/best?count=4").json()

        assert (answer["seats"], answer["alternatives"]) == ([], [])

    @pytest.mark.parametrize("count", ["0", "-1", "abc", "1.5", "1e3", "NaN", "%00", "9" * 5000])
    def test_a_count_that_is_none(self, showtime: Showtime, nobody: ApiClient, count: str) -> None:
        answer = nobody.ask("GET", f"showtimes/{showtime.pk}/seats/best?count={count}")

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_data")

    @pytest.mark.parametrize("count", [11, 10_000, 10**40])
    def test_more_than_a_hold_may_have(self, showtime: Showtime, nobody: ApiClient, count: int) -> None:
        answer = nobody.ask("GET", f"showtimes/{showtime.pk}/seats/best?count={count}")

        assert (answer.status_code, answer.json()["code"]) == (400, "too_many_seats")
        assert answer.json()["limit"] == 10

    def test_of_no_showtime(self, nobody: ApiClient, db: None) -> None:
        assert nobody.ask("GET", "showtimes/999999999/seats/best").status_code == 404
