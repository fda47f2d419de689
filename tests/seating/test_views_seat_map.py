"""The seat map as a page of forms: what it shows, what its buttons do, and what it says when they cannot."""

from __future__ import annotations

import datetime as dt
import html as markup
import re
from typing import Any

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from cinebook.core.rate_limits import RateLimit
from seating import views
from seating.identity import GUEST_KEY
from seating.models import Hold, Holder, Seat, SeatHold, SeatStatus, Showtime, ShowtimeSales
from seating.selectors.best_seats import offered_seats
from seating.services import hold_seats, leave, let_go_of_left_holds, stay, still_there
from tests.factories import HolderFactory, UserFactory, make_showtime

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def showtime() -> Showtime:
    return make_showtime()


def page(client: Client, showtime: Showtime, **query: str) -> str:
    response = client.get(showtime.get_absolute_url(), query)
    assert response.status_code == 200
    return " ".join(markup.unescape(response.content.decode()).split())


def press(client: Client, showtime: Showtime, **fields: Any) -> str:
    """Press a button; return where the browser is sent."""
    response = client.post(f"{showtime.get_absolute_url()}seats/", fields)
    assert response.status_code == 303, response.content
    return response["Location"]


def held(client: Client, showtime: Showtime) -> list[str]:
    key = client.session[GUEST_KEY]
    seats = SeatHold.objects.filter(hold__holder__guest_key=key, hold__showtime=showtime, ended_at=None)
    return sorted(seats.values_list("seat__code", flat=True))


def holder_of(client: Client) -> Holder:
    return Holder.objects.get(guest_key=client.session[GUEST_KEY])


def somebody_holds(showtime: Showtime, *codes: str) -> Holder:
    holder = HolderFactory()
    # Until it is told after the commit that the seats were granted, their locks say that PostgreSQL is deciding.
    with TestCase.captureOnCommitCallbacks(execute=True):
        hold_seats(holder_id=holder.pk, user_id=None, showtime_id=showtime.pk, codes=codes)
    return holder


def button(html: str, code: str) -> str:
    found = re.search(rf'<li class="seat" id="seat-{code}".*?</li>', html)
    assert found
    return found[0]


class TestTheMap:
    def test_a_free_seat_is_a_button_that_sends_its_code(self, client: Client, showtime: Showtime) -> None:
        seat = button(page(client, showtime), "A1")
        assert '<button class="place" type="submit" name="seat" value="A1"' in seat
        assert 'aria-label="Seat A1, Standard, €12.00, available"' in seat

    def test_what_others_have_can_be_read_but_not_sent(self, client: Client, showtime: Showtime) -> None:
        somebody_holds(showtime, "A1")
        seat = button(page(client, showtime), "A1")
        assert 'type="button" value="A1" aria-disabled="true"' in seat
        assert "Seat A1, Standard, €12.00, temporarily unavailable" in seat

    def test_own_seats_read_selected(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        seat = button(page(client, showtime), "A1")
        assert 'data-status="selected"' in seat
        assert 'aria-pressed="true"' in seat
        assert "Seat A1, Standard, €12.00, selected" in seat

    def test_the_panel_tells_seats_prices_total_and_time(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, take="A1 C1")
        html = page(client, showtime)
        hold = Hold.objects.get()
        assert re.search(r'A1</strong> <span class="chosen-sort">Standard</span> <span [^>]*>€12.00', html)
        assert re.search(r'C1</strong> <span class="chosen-sort">Premium</span> <span [^>]*>€15.00', html)
        assert re.search(r'id="total"> €27.00 <', html)
        assert f"{timezone.localtime(hold.expires_at):%H:%M}</time>" in html.replace(" </time>", "</time>")
        assert html.count(f'href="/checkout/{hold.pk}/"') == 2
        assert 'name="release" value="A1"' in html

    def test_the_price_is_the_one_of_the_moment_when_it_was_held(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        showtime.prices.filter(category="standard").update(amount=9900)
        html = page(client, showtime)
        assert re.search(r'id="total"> €12.00 <', html)
        assert re.search(r'chosen-price">€12.00<', html)

    def test_without_seats_there_is_nothing_to_continue_to(self, client: Client, showtime: Showtime) -> None:
        html = page(client, showtime)
        assert "/checkout/" not in html
        assert re.search(r'id="chosen"[^>]* hidden', html)

    def test_statements(self, client: Client, showtime: Showtime, django_assert_max_num_queries: Any) -> None:
        page(client, showtime)
        with django_assert_max_num_queries(7):
            page(client, showtime)
        press(client, showtime, seat="A1")
        with django_assert_max_num_queries(7):
            page(client, showtime)


class TestNothingIsSold:
    @pytest.mark.parametrize("state", ["closed", "not-yet", "stopped", "sold-out", "none-free"])
    def test_it_says_so_and_has_no_button_that_sends(self, client: Client, state: str) -> None:
        now = timezone.now()
        showtime = make_showtime(
            starts_at=now - HOUR if state == "closed" else now + 48 * HOUR,
            sales_open_at=now + HOUR if state == "not-yet" else now - 24 * HOUR,
        )
        if state == "stopped":
            ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        if state == "none-free":
            codes = [seat.code for seat in showtime.seats.all()]
            somebody_holds(showtime, *codes[:9])
            somebody_holds(showtime, *codes[9:])
        if state == "sold-out":
            showtime.seats.update(status=SeatStatus.BLOCKED, block_reason="broken")
        html = page(client, showtime)
        assert {
            "closed": "not sold at the moment",
            "not-yet": "On sale from",
            "stopped": "not sold at the moment",
            "sold-out": "Sold out.",
            "none-free": "No seat is free right now",
        }[state] in html
        assert 'name="seat"' not in html
        assert re.search(r'id="best"[^>]*hidden>', html)
        assert html.count('<button class="place"') == 18

    def test_a_cancelled_showtime_has_no_map(self, client: Client, showtime: Showtime) -> None:
        Showtime.objects.filter(pk=showtime.pk).update(cancelled_at=timezone.now())
        html = page(client, showtime)
        assert "is cancelled" in html
        assert f'href="{showtime.movie.get_absolute_url()}">See other showtimes' in html
        assert "<button" not in html
        assert "<script" not in html

    def test_what_is_held_can_still_be_let_go(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        assert 'name="seat" value="A1"' in page(client, showtime)
        press(client, showtime, seat="A1")
        assert held(client, showtime) == []

    def test_a_form_that_comes_too_late_is_refused_in_words(self, client: Client, showtime: Showtime) -> None:
        page(client, showtime)
        ShowtimeSales.objects.filter(showtime=showtime).update(sales_open=False)
        assert press(client, showtime, seat="A1").endswith("#refusal")
        assert "not on sale now" in page(client, showtime)


class TestTheForms:
    def test_a_seat_is_taken_and_let_go_by_the_same_button(self, client: Client, showtime: Showtime) -> None:
        assert press(client, showtime, seat="A1") == f"/showtimes/{showtime.pk}/#seat-A1"
        assert press(client, showtime, seat="A2") == f"/showtimes/{showtime.pk}/#seat-A2"
        assert held(client, showtime) == ["A1", "A2"]
        press(client, showtime, seat="A1")
        assert held(client, showtime) == ["A2"]

    def test_the_map_stays_close_up(self, client: Client, showtime: Showtime) -> None:
        where = press(client, showtime, seat="A1", zoom="close")
        assert where == f"/showtimes/{showtime.pk}/?zoom=close#seat-A1"
        assert re.search(r'id="zoom-close"[^>]* checked', page(client, showtime, zoom="close"))
        assert re.search(r'id="zoom-whole"[^>]* checked', page(client, showtime))

    def test_the_map_stays_close_up_after_a_refusal(self, client: Client, showtime: Showtime) -> None:
        somebody_holds(showtime, "A2")
        press(client, showtime, seat="A2", zoom="close")
        refusal = re.search(r'<form class="notice refusal".*?</form>', page(client, showtime, zoom="close"))
        assert refusal
        assert '<input type="hidden" name="zoom" value="close">' in refusal[0]

    def test_the_best_seats(self, client: Client, showtime: Showtime) -> None:
        best = offered_seats(showtime_id=showtime.pk, count=3)[0]
        assert press(client, showtime, best="1", quantity="3").endswith("#choice")
        assert held(client, showtime) == best

    def test_one_or_all_are_let_go_from_the_panel(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, take="A1 A2 A3")
        assert press(client, showtime, release="A2").endswith("#choice")
        assert held(client, showtime) == ["A1", "A3"]
        press(client, showtime, release_all="1")
        assert held(client, showtime) == []

    def test_a_taken_seat_is_refused_with_others_to_take(self, client: Client, showtime: Showtime) -> None:
        somebody_holds(showtime, "A2")
        assert press(client, showtime, seat="A2").endswith("#refusal")
        html = page(client, showtime)
        assert "A2: Held by somebody else." in html
        offered = re.findall(r'name="take" value="([^"]+)"> Take (\S+) instead', html)
        assert offered
        assert all(value == said and value != "A2" for value, said in offered)
        press(client, showtime, take=offered[0][0])
        assert held(client, showtime) == [offered[0][0]]
        assert "Held by somebody else" not in page(client, showtime), "it is said once"

    def test_alternatives_come_in_as_large_a_group(self, client: Client, showtime: Showtime) -> None:
        somebody_holds(showtime, "A2")
        press(client, showtime, take="A1 A2")
        html = page(client, showtime)
        assert re.search(r"Take [A-C]\d and [A-C]\d instead", html)
        assert held(client, showtime) == []

    def test_somebody_elses_seat_is_not_let_go(self, client: Client, showtime: Showtime) -> None:
        other = somebody_holds(showtime, "A1")
        press(client, showtime, release="A1")
        press(client, showtime, release_all="1")
        assert SeatHold.objects.get(ended_at=None).hold.holder == other

    def test_too_many_are_refused(self, client: Client, showtime: Showtime) -> None:
        for fields in (
            {"best": "1", "quantity": "11"},
            {"take": " ".join(seat.code for seat in showtime.seats.all())},
        ):
            press(client, showtime, **fields)
            assert "more than can be held at once" in page(client, showtime)

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"seat": ""},
            {"seat": "Z99"},
            {"seat": "A1\x00"},
            {"seat": "<b>A1</b>"},
            {"take": " "},
            {"take": "A1 Z9"},
            {"best": "1"},
            {"best": "1", "quantity": "0"},
            {"best": "1", "quantity": "-1"},
            {"best": "1", "quantity": "٣"},
            {"best": "1", "quantity": "9" * 5000},
            {"release": "Z9"},
            {"zoom": "close"},
        ],
    )
    def test_what_makes_no_sense_is_refused_and_changes_nothing(
        self, client: Client, showtime: Showtime, fields: dict[str, str]
    ) -> None:
        assert press(client, showtime, **fields).endswith("#refusal")
        html = page(client, showtime)
        assert 'role="alert"' in html
        assert "<b>A1" not in client.get(showtime.get_absolute_url()).content.decode()
        assert not Hold.objects.exists()

    def test_a_hold_that_is_being_paid_is_left_alone(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        Hold.objects.update(paying=True)
        Seat.objects.filter(code="A1").update(paying=True)
        press(client, showtime, seat="A1")
        html = page(client, showtime)
        assert "being paid for" in html
        assert 'data-state="paying"' in html
        assert held(client, showtime) == ["A1"]

    def test_a_stranger_without_our_page_is_refused(self, showtime: Showtime) -> None:
        client = Client(enforce_csrf_checks=True)
        for path in ("seats", "leave"):
            assert client.post(f"{showtime.get_absolute_url()}{path}/", {"seat": "A1"}).status_code == 403
        html = client.get(showtime.get_absolute_url()).content.decode()
        [token, *_] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
        response = client.post(f"{showtime.get_absolute_url()}seats/", {"seat": "A1", "csrfmiddlewaretoken": token})
        assert response.status_code == 303
        assert held(client, showtime) == ["A1"]

    def test_they_are_only_posted(self, client: Client, showtime: Showtime) -> None:
        assert client.get(f"{showtime.get_absolute_url()}seats/").status_code == 405
        assert client.get(f"{showtime.get_absolute_url()}leave/").status_code == 405

    @pytest.mark.parametrize("number", ["0", "999999", "99999999999999999999999"])
    def test_an_unknown_showtime_is_not_found(self, client: Client, number: str) -> None:
        assert client.post(f"/showtimes/{number}/seats/", {"seat": "A1"}).status_code == 404

    def test_who_presses_too_fast_is_told_to_wait(
        self, client: Client, showtime: Showtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(views, "SEAT_OPERATIONS", RateLimit("seat forms of a test", burst=1, per_second=0.001))
        press(client, showtime, seat="A1")
        press(client, showtime, seat="A2")
        assert "a little fast" in page(client, showtime)
        assert held(client, showtime) == ["A1"]

    def test_a_user_holds_as_themselves(self, client: Client, showtime: Showtime) -> None:
        user = UserFactory()
        client.force_login(user)
        press(client, showtime, seat="A1")
        assert Hold.objects.get().holder.user == user


class TestLeaving:
    """The clock of these holds is turned back, so that nobody has to wait."""

    def leave(self, client: Client, showtime: Showtime, visited_at: str = "") -> None:
        response = client.post(f"{showtime.get_absolute_url()}leave/", {"visited_at": visited_at})
        assert response.status_code == 204

    def opened_at(self, client: Client, showtime: Showtime) -> str:
        [instant] = re.findall(r'data-visited-at="([^"]+)"', page(client, showtime))
        return instant

    def ago(self, seconds: float, *, of: str = "left_at") -> None:
        Hold.objects.filter(ended_at=None).update(**{of: timezone.now() - dt.timedelta(seconds=seconds)})

    def test_who_leaves_lets_go_after_some_seconds(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        self.leave(client, showtime, self.opened_at(client, showtime))
        assert let_go_of_left_holds() == 0
        self.ago(10.5)
        assert let_go_of_left_holds() == 0
        self.ago(11.5)
        assert let_go_of_left_holds() == 1
        assert Hold.objects.get().end_reason == "released"
        assert Seat.objects.get(showtime=showtime, code="A1").status == SeatStatus.AVAILABLE

    def test_who_comes_back_keeps_them(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        self.leave(client, showtime)
        self.ago(20)
        page(client, showtime)
        assert let_go_of_left_holds() == 0
        assert held(client, showtime) == ["A1"]

    def test_a_reload_whose_old_page_says_goodbye_late_keeps_them(self, client: Client, showtime: Showtime) -> None:
        old = self.opened_at(client, showtime)
        press(client, showtime, seat="A1")
        page(client, showtime)
        self.leave(client, showtime, old)
        assert Hold.objects.get().left_at is None

    def test_the_older_of_two_tabs_may_be_the_last(self, client: Client, showtime: Showtime) -> None:
        old = self.opened_at(client, showtime)
        press(client, showtime, seat="A1")
        page(client, showtime)
        self.ago(11, of="visited_at")
        self.leave(client, showtime, old)
        assert Hold.objects.get().left_at is not None

    def test_a_tab_that_polls_keeps_them(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        status = f"/api/v1/showtimes/{showtime.pk}/seats/status"
        tag = client.get(status)["ETag"]
        self.leave(client, showtime)
        assert client.get(status, headers={"If-None-Match": tag}).status_code == 304
        assert Hold.objects.get().left_at is None

    def test_an_open_socket_keeps_them_but_the_closed_pages_own_does_not_count(
        self, client: Client, showtime: Showtime
    ) -> None:
        press(client, showtime, seat="A1")
        present = {(holder_of(client).pk, showtime.pk)}
        self.leave(client, showtime)
        self.ago(2)
        let_go_of_left_holds(present=present)
        assert Hold.objects.get().left_at is not None, "the page's own socket may not have ended yet"
        self.ago(4)
        let_go_of_left_holds(present=present)
        assert Hold.objects.get().left_at is None

    def test_a_change_of_the_hold_is_a_sign_of_life(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        for path, method in (("lock", client.post), ("extend-lock", client.put), ("unlock", client.delete)):
            self.leave(client, showtime)
            url = f"/api/v1/showtimes/{showtime.pk}/seats/{path}"
            assert method(url, {"seats": ["A2"]}, content_type="application/json").status_code in (200, 201)
            assert Hold.objects.get().left_at is None

    def test_the_checkout_and_signing_in_are_no_leaving(self, client: Client, showtime: Showtime) -> None:
        opened = self.opened_at(client, showtime)
        press(client, showtime, seat="A1")
        stay(holder_id=holder_of(client).pk)
        self.leave(client, showtime, opened)
        assert Hold.objects.get().left_at is None

    def test_what_is_being_paid_is_never_let_go(self, client: Client, showtime: Showtime) -> None:
        press(client, showtime, seat="A1")
        self.leave(client, showtime)
        self.ago(60)
        Hold.objects.update(paying=True)
        Seat.objects.filter(code="A1").update(paying=True)
        assert let_go_of_left_holds() == 0
        assert leave(holder_id=holder_of(client).pk, showtime_id=showtime.pk, visited_at=None) is False

    def test_only_the_hold_of_that_showtime_is_left(self, client: Client, showtime: Showtime) -> None:
        other = make_showtime()
        press(client, showtime, seat="A1")
        press(client, other, seat="A1")
        self.leave(client, showtime)
        self.ago_of(showtime, 20)
        let_go_of_left_holds()
        assert held(client, showtime) == []
        assert held(client, other) == ["A1"]

    def ago_of(self, showtime: Showtime, seconds: float) -> None:
        Hold.objects.filter(showtime=showtime).update(left_at=timezone.now() - dt.timedelta(seconds=seconds))

    def test_nobody_leaves_for_somebody_else(self, client: Client, showtime: Showtime) -> None:
        somebody_holds(showtime, "A1")
        self.leave(client, showtime)
        page(client, showtime)
        self.leave(client, showtime)
        assert Hold.objects.get().left_at is None

    @pytest.mark.parametrize("instant", ["", "x", "2026-13-45T00:00:00Z", "2026-11-20T00:00:00", "\x00"])
    def test_a_goodbye_without_a_good_time_counts(self, client: Client, showtime: Showtime, instant: str) -> None:
        press(client, showtime, seat="A1")
        self.leave(client, showtime, instant)
        assert Hold.objects.get().left_at is not None

    def test_while_nobody_leaves_it_costs_one_statement(
        self, showtime: Showtime, django_assert_num_queries: Any
    ) -> None:
        holder = somebody_holds(showtime, "A1")
        with django_assert_num_queries(1):
            let_go_of_left_holds(present={(holder.pk, showtime.pk)})

    def test_being_there_is_no_news_for_a_hold_that_nobody_left(self, showtime: Showtime) -> None:
        somebody_holds(showtime, "A1")
        hold = Hold.objects.get()
        still_there(hold_id=hold.pk)
        hold.refresh_from_db()
        assert hold.left_at is None
        assert hold.visited_at is None
