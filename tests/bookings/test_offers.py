"""Who paid too late, and so lost their seats, is offered equal ones: on the page, in the API, and for the mail."""

from __future__ import annotations

import datetime as dt
import html
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Booking
from bookings.selectors.mail_links import seal
from bookings.selectors.offers import seats_offered_instead
from bookings.services import cancel_booking, settle_overdue_payments
from cinebook.core.rate_limits import RateLimit
from seating.models import Showtime
from seating.selectors.best_seats import equal_seats
from seating.services import cancel_showtime, stop_sales
from tests.bookings.conftest import guest_of, hold_as_guest
from tests.factories import HolderFactory, make_showtime
from tests.support.asking import hold, somebody_holds
from tests.support.buying import FlakyDemo, buy, close_window, decide
from tests.support.sale_fixtures import provider

__all__ = ["provider"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def late(client: Client, showtime: Showtime, provider: FlakyDemo) -> Booking:
    """The browser paid for A1 and A2 when somebody else had A2."""
    held = hold_as_guest(client, showtime, "A1", "A2")
    booking = buy(hold(showtime, held.holder, "A1", "A2").hold, "stall").booking
    provider.away = {"cancel"}
    close_window(booking, grace=True)
    settle_overdue_payments()
    provider.away = set()
    somebody_holds(showtime, "A2")
    decide(booking)
    return Booking.objects.get(pk=booking.pk)


def page_of(client: Client, booking: Booking) -> str:
    return " ".join(html.unescape(client.get(booking.get_absolute_url()).content.decode()).split())


def told(client: Client, booking: Booking) -> Any:
    return client.get(f"/api/v1/bookings/{booking.reference}").json()


class TestOffer:
    def test_as_many_together_and_near(self, late: Booking) -> None:
        assert seats_offered_instead(late)[0] == ["A4", "A5"]
        assert all(len(group) == 2 for group in seats_offered_instead(late))

    def test_the_same_categories_come_first(self, showtime: Showtime) -> None:
        assert {code[0] for code in equal_seats(showtime_id=showtime.pk, codes=["C1", "C2"])[0]} == {"C"}
        somebody_holds(showtime, "C1", "C2", "C3", "C5")
        groups = equal_seats(showtime_id=showtime.pk, codes=["C1", "C2"])
        assert groups
        assert not any(code.startswith("C") for code in groups[0])

    def test_nothing_makes_up_for_a_place_for_a_wheelchair(self, showtime: Showtime) -> None:
        assert equal_seats(showtime_id=showtime.pk, codes=["B1", "B2"]) == []

    def test_nothing_when_nowhere_so_many_are_free(self, client: Client, provider: FlakyDemo, late: Booking) -> None:
        for codes in (["A1"], ["A5"], ["B4", "B5", "B6", "B3"], ["C1", "C2", "C3"], ["C4", "C5", "C6"]):
            somebody_holds(late.showtime, *codes)
        assert seats_offered_instead(late) == told(client, late)["alternatives"] == []
        assert "are still free" not in page_of(client, late)

    @pytest.mark.parametrize("end", [cancel_showtime, stop_sales])
    def test_nothing_when_nothing_is_sold(self, client: Client, late: Booking, end: Any) -> None:
        end(showtime_id=late.showtime_id)
        assert seats_offered_instead(Booking.objects.get(pk=late.pk)) == []
        assert "are still free" not in page_of(client, late)

    def test_nothing_once_the_film_has_begun(self, late: Booking) -> None:
        late.showtime.sales_close_at = timezone.now() - dt.timedelta(seconds=1)
        assert seats_offered_instead(late) == []

    def test_nothing_to_whoever_has_bought_other_seats_since(self, client: Client, late: Booking) -> None:
        buy(hold(late.showtime, guest_of(client), "B4", "B5").hold)
        assert seats_offered_instead(late) == []

    def test_it_reserves_nothing(self, late: Booking) -> None:
        group = seats_offered_instead(late)[0]
        assert hold(late.showtime, HolderFactory(), *group).taken == tuple(group)
        assert group not in seats_offered_instead(late)


class TestApi:
    def test_tells_it_of_such_a_booking_alone(self, client: Client, late: Booking) -> None:
        assert told(client, late)["alternatives"] == seats_offered_instead(late)
        other = buy(hold(make_showtime(), guest_of(client), "A1").hold).booking
        assert "alternatives" not in told(client, other)
        cancel_booking(holder_id=other.holder_id, reference=other.reference)
        assert told(client, other)["status"] == "REFUNDED"
        assert "alternatives" not in told(client, other)


class TestPage:
    def take(self, client: Client, booking: Booking, codes: str) -> Any:
        return client.post(f"{booking.get_absolute_url()}seats/", {"take": codes})

    def test_says_what_happened_and_offers_seats_as_buttons(self, client: Client, late: Booking) -> None:
        page = page_of(client, late)
        assert "could not be had any more. €24.00 were paid back." in page
        assert 'name="take" value="A4 A5"' in page
        assert "Take A4 and A5 instead" in page

    def test_a_button_holds_them_and_goes_on_to_the_checkout(self, client: Client, late: Booking) -> None:
        answer = self.take(client, late, "A4 A5")
        assert answer.status_code == 302
        assert answer.url.startswith("/checkout/")
        page = client.get(answer.url).content.decode()
        assert "A4" in page
        assert "A5" in page

    def test_a_button_works_in_another_browser_that_opened_the_link_of_the_mail(self, late: Booking) -> None:
        another = Client()
        another.get(f"{late.get_absolute_url()}opened/{seal(late.reference)}/")
        assert "Take A4 and A5 instead" in page_of(another, late)
        answer = self.take(another, late, "A4 A5")
        assert answer.status_code == 302
        assert another.get(answer.url).status_code == 200

    def test_who_is_too_slow_again_is_told_and_offered_others(self, client: Client, late: Booking) -> None:
        somebody_holds(late.showtime, "A5")
        answer = self.take(client, late, "A4 A5")
        assert answer.url == late.get_absolute_url()
        page = page_of(client, late)
        assert "A5: Held by somebody else." in page
        assert 'value="B4 B5"' in page

    @pytest.mark.parametrize("codes", ["", " ", "Z9", "A4 " * 12])
    def test_nonsense_takes_nothing(self, client: Client, late: Booking, codes: str) -> None:
        assert self.take(client, late, codes).status_code in (302, 400)
        assert client.get(f"/api/v1/showtimes/{late.showtime_id}/seats/status").json()["hold"] is None or "A4" in codes

    def test_it_is_for_its_buyer_and_such_a_booking_alone(self, client: Client, late: Booking) -> None:
        assert self.take(Client(), late, "A4 A5").status_code == 404
        other = buy(hold(make_showtime(), guest_of(client), "A1").hold).booking
        assert self.take(client, other, "A4 A5").status_code == 400
        assert client.get(f"{late.get_absolute_url()}seats/").status_code == 405

    def test_it_counts_against_the_limit(
        self, client: Client, late: Booking, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        settings.RATE_LIMITS = True
        monkeypatch.setattr("bookings.views.SEAT_OPERATIONS", RateLimit("one", burst=1, per_second=0.01))
        self.take(client, late, "A4 A5")
        assert self.take(client, late, "A4 A5").status_code == 429
