"""Showtimes in the admin: put on, moved, stopped, deleted, and their seats. Every refusal is told in words."""

from __future__ import annotations

import datetime as dt
import re
import threading
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from seating.admin import showtimes as admin_showtimes
from seating.admin.showtime_form import ShowtimeForm
from seating.live.presence import mark_of, presence
from seating.models import BlockReason, Hold, Movie, Showtime
from seating.services import block_seats, cancel_showtime, schedule_showtime, stop_sales
from tests import factories
from tests.support.asking import held_codes, hold, seat
from tests.support.ledger import assert_sound
from tests.support.passing_time import start_paying
from tests.support.rivals import DEADLINE, in_background, wait_for_waiters
from tests.support.staff import errors, messages, signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf")]

HOUR = dt.timedelta(hours=1)
ADD = "/admin/seating/showtime/add/"
LIST = "/admin/seating/showtime/"


def when(name: str, at: dt.datetime | None) -> dict[str, str]:
    local = timezone.localtime(at) if at else None
    return {
        f"{name}_0": f"{local:%Y-%m-%d}" if local else "",
        f"{name}_1": f"{local:%H:%M:%S}" if local else "",
    }


def form_of(showtime: Showtime, **changes: Any) -> dict[str, Any]:
    return {
        "movie": showtime.movie_id,
        **when("starts_at", showtime.starts_at),
        **when("sales_open_at", showtime.sales_open_at),
        **when("sales_close_at", showtime.sales_close_at),
        "hold_seconds": "",
        "price_standard": "12.00",
        "price_premium": "15.00",
        **changes,
    }


def new_form(**changes: Any) -> dict[str, Any]:
    start = timezone.now().replace(microsecond=0) + dt.timedelta(days=2)
    return {
        "movie": factories.MovieFactory().pk,
        "auditorium": factories.AuditoriumFactory().pk,
        **when("starts_at", start),
        **when("sales_open_at", None),
        **when("sales_close_at", None),
        "repeat_until": "",
        "hold_seconds": "",
        "price_standard": "9.50",
        "price_premium": "12",
        **changes,
    }


class TestAdd:
    def test_a_showtime_is_made_with_its_seats_prices_and_window(self, staff: Client) -> None:
        response = staff.post(ADD, new_form(hold_seconds="300"), follow=True)

        showtime = Showtime.objects.get()
        assert showtime.seats.count() == 18
        assert dict(showtime.prices.values_list("category_id", "amount")) == {"standard": 950, "premium": 1200}
        assert showtime.sales_close_at - showtime.starts_at == dt.timedelta(minutes=15)
        assert showtime.hold_seconds == 300
        assert "was added successfully" in messages(response)
        assert LogEntry.objects.get().object_id == str(showtime.pk)

    def test_every_category_of_the_room_needs_a_price(self, staff: Client) -> None:
        told = errors(staff.post(ADD, new_form(price_premium="")))
        assert "need a price" in told
        assert "decimal places" in errors(staff.post(ADD, new_form(price_premium="12.345")))
        assert "greater than or equal to 0" in errors(staff.post(ADD, new_form(price_premium="-1")))
        assert not Showtime.objects.exists()

    def test_a_room_that_is_taken_is_named(self, staff: Client) -> None:
        there = factories.make_showtime()
        form = new_form(auditorium=there.auditorium_id, **when("starts_at", there.ends_at - HOUR))
        assert f"{there.auditorium} shows {there.movie} from" in errors(staff.post(ADD, form))
        assert Showtime.objects.count() == 1

    def test_a_room_that_is_taken_at_the_last_moment_is_named_too(
        self, staff: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both forms have passed their checks when the other one is saved."""
        form = new_form()
        first = factories.MovieFactory(title="First")

        def too_late(**values: Any) -> Showtime:
            monkeypatch.setattr(admin_showtimes, "schedule_showtime", schedule_showtime)
            with in_background() as start:
                start(lambda: schedule_showtime(**{**values, "movie": first})).result(DEADLINE)
            return schedule_showtime(**values)

        monkeypatch.setattr(admin_showtimes, "schedule_showtime", too_late)
        assert "shows First from" in errors(staff.post(ADD, form))
        assert Showtime.objects.get().movie == first

    def test_who_waits_for_the_other_form_is_told_as_well(self, staff: Client) -> None:
        """The other one has been saved and not been committed: the database lets this one wait."""
        form = new_form()
        values = {
            "movie": Movie.objects.get(),
            "auditorium": factories.seating.Auditorium.objects.get(),
            "starts_at": timezone.localtime() + dt.timedelta(days=2),
            "prices": factories.PRICES,
        }
        saved, go_on = threading.Event(), threading.Event()

        def slowly() -> None:
            with transaction.atomic():
                schedule_showtime(**values)
                saved.set()
                assert go_on.wait(DEADLINE)

        with in_background() as start:
            slow = start(slowly)
            assert saved.wait(DEADLINE)
            response = start(lambda: staff.post(ADD, form))
            wait_for_waiters(1)
            go_on.set()
            slow.result(DEADLINE)
            assert "shows Film" in errors(response.result(DEADLINE))
        assert Showtime.objects.count() == 1

    def test_the_same_again_on_the_next_days_at_the_same_hour(self, staff: Client) -> None:
        start = timezone.localtime() + dt.timedelta(days=2)
        until = (start + dt.timedelta(days=2)).date()
        response = staff.post(ADD, new_form(**when("starts_at", start), repeat_until=until), follow=True)

        starts = [timezone.localtime(showtime.starts_at) for showtime in Showtime.objects.order_by("starts_at")]
        assert [found.date() for found in starts] == [(start + dt.timedelta(days=day)).date() for day in range(3)]
        assert {f"{found:%H:%M}" for found in starts} == {f"{start:%H:%M}"}
        assert "on 2 more days" in messages(response)

    def test_a_run_is_all_or_nothing(self, staff: Client) -> None:
        form = new_form()
        start = timezone.localtime() + dt.timedelta(days=2)
        factories.make_showtime(
            auditorium=factories.seating.Auditorium.objects.get(), starts_at=start + dt.timedelta(days=2)
        )
        form |= {"repeat_until": (start + dt.timedelta(days=3)).date()}
        assert "shows Film" in errors(staff.post(ADD, form))
        assert Showtime.objects.count() == 1
        form |= {"repeat_until": (start + dt.timedelta(days=40)).date()}
        assert "at most 31 days" in errors(staff.post(ADD, form))
        form |= {"repeat_until": (start - dt.timedelta(days=1)).date()}
        assert "begins with its first day" in errors(staff.post(ADD, form))

    def test_nonsense_is_told(self, staff: Client) -> None:
        assert "over already" in errors(staff.post(ADD, new_form(**when("starts_at", timezone.now() - HOUR))))
        late = when("sales_open_at", timezone.now() + dt.timedelta(days=9))
        assert "open before they close" in errors(staff.post(ADD, new_form(**late)))
        assert "Ensure" in errors(staff.post(ADD, new_form(hold_seconds="1")))
        assert "required" in errors(staff.post(ADD, {}))
        empty = factories.seating.Auditorium.objects.create(name="Bare", slug="bare")
        assert "no layout yet" in errors(staff.post(ADD, new_form(auditorium=empty.pk)))
        factories.seating.SeatCategory.objects.filter(code="premium").delete()
        assert "a category that is gone: premium" in errors(
            staff.post(ADD, {**new_form_without_categories(), "price_standard": "1"})
        )
        assert not Showtime.objects.exists()


def new_form_without_categories() -> dict[str, Any]:
    form = new_form()
    factories.seating.SeatCategory.objects.filter(code="premium").delete()
    return form


class TestChange:
    @pytest.fixture
    def showtime(self) -> Showtime:
        return factories.make_showtime(starts_at=timezone.now().replace(microsecond=0) + 3 * HOUR)

    @pytest.fixture
    def url(self, showtime: Showtime) -> str:
        return f"/admin/seating/showtime/{showtime.pk}/change/"

    def test_it_moves_and_its_sales_with_it(self, staff: Client, showtime: Showtime, url: str) -> None:
        hold(showtime, factories.HolderFactory(), "A1")
        form = form_of(showtime, **when("starts_at", showtime.starts_at + HOUR), price_standard="8")
        assert "changed successfully" in messages(staff.post(url, form, follow=True))

        moved = Showtime.objects.get()
        assert moved.starts_at == showtime.starts_at + HOUR
        assert moved.ends_at == showtime.ends_at + HOUR
        assert moved.sales_close_at == showtime.sales_close_at + HOUR
        assert moved.prices.get(category="standard").amount == 800

    def test_sales_that_were_given_another_end_keep_it(self, staff: Client, showtime: Showtime, url: str) -> None:
        closing = showtime.starts_at - HOUR
        form = form_of(showtime, **when("starts_at", showtime.starts_at + HOUR), **when("sales_close_at", closing))
        staff.post(url, form)
        assert Showtime.objects.get().sales_close_at == closing

    def test_room_layout_and_currency_are_not_in_the_form(self, staff: Client, showtime: Showtime, url: str) -> None:
        other = factories.make_showtime()
        form = form_of(
            showtime, auditorium=other.auditorium_id, layout=other.layout_id, currency="USD", cancelled_at=""
        )
        form |= {**when("cancelled_at", timezone.now()), "ends_at_0": "2020-01-01", "ends_at_1": "00:00"}
        staff.post(url, form)

        now = Showtime.objects.get(pk=showtime.pk)
        for field in ("auditorium_id", "layout_id", "currency", "cancelled_at", "ends_at"):
            assert getattr(now, field) == getattr(showtime, field), field

    def test_the_film_stays_once_a_seat_was_held(self, staff: Client, showtime: Showtime, url: str) -> None:
        other = factories.MovieFactory()
        hold(showtime, factories.HolderFactory(), "A1")
        assert "cannot show another one" in errors(staff.post(url, form_of(showtime, movie=other.pk)))

    def test_the_film_stays_even_if_the_first_hold_comes_at_the_last_moment(
        self, staff: Client, showtime: Showtime, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other, ada = factories.MovieFactory(), factories.HolderFactory()
        clean = ShowtimeForm.clean

        def and_then_hold(form: ShowtimeForm) -> Any:
            cleaned = clean(form)
            if not Hold.objects.exists():
                with in_background() as start:
                    start(lambda: hold(showtime, ada, "A1")).result(DEADLINE)
            return cleaned

        monkeypatch.setattr(ShowtimeForm, "clean", and_then_hold)
        assert "cannot show another one" in errors(staff.post(url, form_of(showtime, movie=other.pk)))
        assert Showtime.objects.get().movie == showtime.movie

    def test_a_price_cannot_be_taken_away(self, staff: Client, showtime: Showtime, url: str) -> None:
        assert "required" in errors(staff.post(url, form_of(showtime, price_premium="")))
        assert showtime.prices.count() == 2

    def test_a_room_that_is_taken_is_named(self, staff: Client, showtime: Showtime, url: str) -> None:
        later = factories.make_showtime(auditorium=showtime.auditorium, starts_at=showtime.ends_at)
        form = form_of(showtime, **when("starts_at", later.starts_at))
        assert f"shows {later.movie} from" in errors(staff.post(url, form))

    def test_a_cancelled_showtime_is_only_looked_at(self, staff: Client, showtime: Showtime, url: str) -> None:
        cancel_showtime(showtime_id=showtime.pk)

        assert "cancelled" in staff.get(url).content.decode()
        assert staff.post(url, form_of(showtime)).status_code == 403


class TestList:
    def test_it_counts_without_asking_for_each(
        self, staff: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        showtime = factories.make_showtime()
        block_seats(showtime_id=showtime.pk, codes=["B1"], reason=BlockReason.BROKEN)
        hold(showtime, factories.HolderFactory(), "A1", "A2")
        presence().ask(showtime.pk, mark_of(1))
        for _number in range(5):
            factories.make_showtime()
        # Session and user; two counts, the rows, their seats; the days of the hierarchy; two lists of filters.
        with django_assert_num_queries(10):
            html = staff.get(LIST).content.decode()
        counts = {"sold": r"0 \(0\xa0%\)", "held": "2", "free": "15", "blocked": "1", "viewers": "1"}
        for name, count in counts.items():
            assert re.search(rf'field-{name}">{count}<', html), name

    @pytest.mark.parametrize("state", ["on-sale", "not-yet", "stopped", "closed", "cancelled"])
    def test_states(self, staff: Client, state: str) -> None:
        now = timezone.now()
        made = {
            "on-sale": factories.make_showtime(),
            "not-yet": factories.make_showtime(sales_open_at=now + HOUR),
            "stopped": factories.make_showtime(),
            "closed": factories.make_showtime(sales_close_at=now - HOUR),
            "cancelled": factories.make_showtime(),
        }
        stop_sales(showtime_id=made["stopped"].pk)
        cancel_showtime(showtime_id=made["cancelled"].pk)
        response = staff.get(LIST, {"state": state})

        assert [found.pk for found in response.context["cl"].result_list] == [made[state].pk]
        assert f"state-{state}" in response.content.decode()

    def test_what_is_over_is_out_of_the_way(self, staff: Client) -> None:
        to_come = factories.make_showtime()
        over = factories.make_showtime(starts_at=timezone.now() - dt.timedelta(days=1))

        def shown(**query: Any) -> list[int]:
            return [found.pk for found in staff.get(LIST, query).context["cl"].result_list]

        assert shown() == [to_come.pk]
        assert shown(time="past") == [over.pk]
        assert shown(time="all") == [over.pk, to_come.pk]
        assert shown(state="nonsense") == [to_come.pk]
        assert shown(layout__id__exact=over.layout_id) == [over.pk]

    def test_sales_are_stopped_and_resumed_and_each_refusal_is_told(self, staff: Client) -> None:
        showtime, cancelled = factories.make_showtime(), factories.make_showtime()
        cancel_showtime(showtime_id=cancelled.pk)
        both = {"_selected_action": [showtime.pk, cancelled.pk]}

        staff.post(LIST, {"action": "stop_sales", **both})
        showtime.sales.refresh_from_db()
        assert not showtime.sales.sales_open
        response = staff.post(LIST, {"action": "resume_sales", **both}, follow=True)
        showtime.sales.refresh_from_db()
        assert showtime.sales.sales_open
        assert "stays as it is" in messages(response)
        assert "Resumed sales of 1 showtime" in messages(response)


class TestDelete:
    def test_what_nothing_has_happened_to(self, staff: Client) -> None:
        showtime = factories.make_showtime()
        url = f"/admin/seating/showtime/{showtime.pk}/delete/"
        assert str(showtime.movie) in staff.get(url).content.decode()
        staff.post(url, {"post": "yes"})
        assert not Showtime.objects.exists()

    def test_what_was_held_is_refused_in_words(self, staff: Client) -> None:
        showtime = factories.make_showtime()
        hold(showtime, factories.HolderFactory(), "A1")
        url = f"/admin/seating/showtime/{showtime.pk}/delete/"
        for response in (staff.get(url, follow=True), staff.post(url, {"post": "yes"}, follow=True)):
            assert "stays in the books" in messages(response)
        assert Showtime.objects.exists()

    def test_a_hold_at_the_last_moment_is_refused_in_words_too(
        self, staff: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        showtime = factories.make_showtime()
        hold(showtime, factories.HolderFactory(), "A1")
        monkeypatch.setattr(admin_showtimes, "nothing_ever_happened", lambda _showtime_id: True)
        url = f"/admin/seating/showtime/{showtime.pk}/delete/"
        assert "stays in the books" in messages(staff.post(url, {"post": "yes"}, follow=True))
        assert not LogEntry.objects.exists()

    def test_not_many_at_once(self, staff: Client) -> None:
        showtime = factories.make_showtime()
        staff.post(LIST, {"action": "delete_selected", "_selected_action": [showtime.pk], "post": "yes"})
        assert Showtime.objects.exists()


class TestSeats:
    @pytest.fixture
    def showtime(self) -> Showtime:
        return factories.make_showtime()

    @pytest.fixture
    def url(self, showtime: Showtime) -> str:
        return reverse("admin:seating_showtime_seats", args=[showtime.pk])

    def test_it_shows_who_has_what_with_few_statements(
        self, staff: Client, showtime: Showtime, url: str, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        person = factories.HolderFactory(guest_key=None, user=factories.UserFactory(username="grace"))
        held = hold(showtime, person, "A1").hold
        guest = factories.HolderFactory()
        hold(showtime, guest, "A2")
        block_seats(showtime_id=showtime.pk, codes=["B1"], reason=BlockReason.WHEELCHAIR_RESERVE)
        staff.get(url)
        # Session, user, showtime, seats.
        with django_assert_num_queries(4):
            html = staff.get(url).content.decode()

        assert "grace" in html
        assert f"guest {guest.pk}" in html
        assert f"/admin/seating/hold/{held.hold_id}/change/" in html
        assert "wheelchair reserve" in html
        assert 'id="seat-A1" data-status="RESERVED"' in html
        assert html.count('name="seats"') == 18

    def test_block_and_unblock(self, staff: Client, showtime: Showtime, url: str) -> None:
        chosen = {"seats": ["A1", "A2"]}
        response = staff.post(url, {"action": "block", "reason": "house_seat", **chosen}, follow=True)
        assert "Blocked A1, A2, house seat." in messages(response)
        assert seat(showtime, "A1").block_reason == "house_seat"
        assert LogEntry.objects.get().change_message == "Blocked A1, A2, house seat."

        assert "Nothing to do" in messages(
            staff.post(url, {"action": "block", "reason": "broken", **chosen}, follow=True)
        )
        assert "Unblocked A1, A2." in messages(staff.post(url, {"action": "unblock", **chosen}, follow=True))
        assert seat(showtime, "A1").status == "AVAILABLE"
        assert_sound(showtime.pk)

    def test_it_says_how_many_look_on(self, staff: Client, showtime: Showtime, url: str) -> None:
        for holder_id in (1, 2):
            presence().ask(showtime.pk, mark_of(holder_id))

        assert "<strong>2</strong> looking on" in staff.get(url).content.decode()

    def test_conflicts_are_told_seat_by_seat_and_the_choice_is_kept(
        self, staff: Client, showtime: Showtime, url: str
    ) -> None:
        hold(showtime, factories.HolderFactory(), "A1")
        response = staff.post(url, {"action": "block", "reason": "broken", "seats": ["A1", "A2"]})
        assert "Nothing was changed: A1 is held." in messages(response)
        assert re.search(r'value="A2"[^>]* checked', response.content.decode())
        assert seat(showtime, "A2").status == "AVAILABLE"

    def test_holds_are_taken_back_but_for_those_being_paid(self, staff: Client, showtime: Showtime, url: str) -> None:
        hold(showtime, factories.HolderFactory(), "A1", "A2")
        start_paying(hold(showtime, factories.HolderFactory(), "A3").hold.hold_id)
        response = staff.post(url, {"action": "withdraw", "seats": ["A1", "A3", "A4"]}, follow=True)

        assert "Took back 1 hold; free again: A1, A2. A3: It is being paid for" in messages(response)
        assert held_codes(showtime) == ["A3"]
        assert "A3: It is being paid for" in messages(staff.post(url, {"action": "withdraw", "seats": ["A3"]}))
        assert "None of these seats is held" in messages(staff.post(url, {"action": "withdraw", "seats": ["A4"]}))
        assert_sound(showtime.pk)

    def test_nonsense_is_told(self, staff: Client, url: str) -> None:
        assert "Choose a reason" in messages(staff.post(url, {"action": "block", "reason": "", "seats": ["A1"]}))
        assert "Choose at least one seat" in messages(staff.post(url, {"action": "unblock"}))
        assert "Z9 is no seat of this room" in messages(staff.post(url, {"action": "unblock", "seats": ["Z9"]}))
        assert staff.post(url, {"action": "sell", "seats": ["A1"]}).status_code == 403
        assert staff.get("/admin/seating/showtime/0/seats/").status_code == 404

    def test_seats_that_are_not_made_yet_are_made(self, staff: Client, showtime: Showtime, url: str) -> None:
        showtime.seats.all().delete()
        assert staff.get(url).content.decode().count('name="seats"') == 18

    def test_looking_is_not_acting(self, showtime: Showtime, url: str) -> None:
        held = hold(showtime, factories.HolderFactory(), "A1").hold
        viewer = signed_in("seating.view_showtime")
        html = viewer.get(url).content.decode()
        assert 'value="block"' not in html
        assert str(held.hold_id) not in html
        for action in ("block", "unblock", "withdraw"):
            assert viewer.post(url, {"action": action, "reason": "broken", "seats": ["A1"]}).status_code == 403
        blocker = signed_in("seating.view_showtime", "seating.change_seat")
        assert blocker.post(url, {"action": "withdraw", "seats": ["A1"]}).status_code == 403
        assert blocker.post(url, {"action": "block", "reason": "broken", "seats": ["A2"]}).status_code == 302
        assert signed_in().get(url).status_code == 403
        assert signed_in().get("/admin/seating/showtime/0/seats/").status_code == 403
        assert Client().get(url).status_code == 302


class TestPermissions:
    def test_a_viewer_sees_and_cannot_act(self) -> None:
        showtime = factories.make_showtime()
        viewer = signed_in("seating.view_showtime")
        change = f"/admin/seating/showtime/{showtime.pk}/change/"

        assert "€15.00" in viewer.get(change).content.decode()
        assert viewer.post(change, form_of(showtime, price_standard="1")).status_code == 403
        assert viewer.post(ADD, new_form()).status_code == 403
        assert viewer.post(f"/admin/seating/showtime/{showtime.pk}/delete/", {"post": "yes"}).status_code == 403
        for action in ("stop_sales", "cancel", "delete_selected"):
            viewer.post(LIST, {"action": action, "_selected_action": [showtime.pk]})
        showtime.refresh_from_db()
        assert showtime.sales.sales_open
        assert showtime.prices.get(category="standard").amount == 1200
        assert Showtime.objects.count() == 1
