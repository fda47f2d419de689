"""The pages of what was bought, and the page of the provider `demo`."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bookings.models import Booking, BookingStatus, Ticket
from bookings.templatetags.tickets import in_fours, qr_code
from cinebook.core.models import User
from seating.models import Showtime
from seating.services import cancel_showtime
from tests.bookings.conftest import buying, checkout_of, guest_of, hold_as_guest
from tests.factories import BookingFactory, HoldFactory, PaymentFactory, make_showtime

pytestmark = pytest.mark.django_db(transaction=True)


def text(response: Any) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


def buy(client: Client, showtime: Showtime, *codes: str, **given: str) -> Booking:
    hold = hold_as_guest(client, showtime, *codes)
    client.post(checkout_of(hold), buying(**given))
    return Booking.objects.filter(hold=hold).latest("id")


class TestTickets:
    def test_one_for_each_seat(self, client: Client, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1", "C6", **{"first-C6": "Grace"})
        page = text(client.get(booking.get_absolute_url()))
        for ticket in booking.tickets.all():
            assert in_fours(ticket.code) in page
            assert f'aria-label="Code {ticket.code} for the door"' in page
        assert page.count('class="ticket"') == 2
        assert 'aria-label="Ticket for seat C6"' in page
        assert "Grace" in page
        assert showtime.movie.title in page
        assert showtime.auditorium.name in page
        assert booking.reference in page
        assert f"{timezone.localtime(showtime.starts_at):%H:%M}" in page

    def test_the_code_is_a_picture_in_the_page_itself(self) -> None:
        picture = qr_code("ABCDEFGHJKMNPQRS")
        assert picture.startswith("<svg")
        assert "style=" not in picture
        assert "href" not in picture
        assert 'role="img"' in picture

    def test_nobody_else_sees_them(self, client: Client, ada: User, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1")
        url = booking.get_absolute_url()
        stranger, guest, user = Client(), Client(), Client()
        hold_as_guest(guest, showtime, "B3")
        user.force_login(ada)
        for other in (stranger, guest, user):
            assert other.get(url).status_code == 404
            assert other.get(f"{url}cancel/").status_code == 404
            assert other.post(f"{url}cancel/").status_code == 404
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"

    @pytest.mark.parametrize("reference", ["BK-0000000000", "nothing", "BK-0000000000'--", "%00"])
    def test_what_never_was_is_not_found(self, client: Client, showtime: Showtime, reference: str) -> None:
        hold_as_guest(client, showtime, "A1")
        assert client.get(f"/bookings/{reference}/").status_code == 404

    def test_are_kept_by_no_cache_and_have_nothing_inline(self, client: Client, showtime: Showtime) -> None:
        response = client.get(buy(client, showtime, "A1").get_absolute_url())
        assert "no-store" in response["Cache-Control"]
        assert not re.search(
            r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", response.content.decode()
        )

    def test_cost_few_statements_however_many(
        self, client: Client, showtime: Showtime, django_assert_max_num_queries: Any
    ) -> None:
        booking = buy(client, showtime, "A1", "A2", "A3", "A4", "A5", "A6")
        client.get(booking.get_absolute_url())
        # Session, holder, booking, tickets, whether the showtime sells.
        with django_assert_max_num_queries(5):
            client.get(booking.get_absolute_url())


class TestEveryStatus:
    @pytest.mark.parametrize(
        ("status", "payment", "words"),
        [
            ("PENDING", "PENDING", "waiting for the payment"),
            ("CONFIRMED", "CAPTURED", "Show these tickets at the door"),
            ("CANCELLED", "CANCELLED", "Cancelled. Nothing was charged."),
            ("CANCELLED", "DECLINED", "The payment was declined. Nothing was charged."),
            ("EXPIRED", "CANCELLED", "The time to pay ran out"),
            ("REFUND_DUE", "REFUND_DUE", "€24.00 are on the way back to you"),
            ("REFUNDED", "REFUNDED", "€24.00 were paid back"),
        ],
    )
    def test_is_said_in_words(self, client: Client, showtime: Showtime, status: str, payment: str, words: str) -> None:
        client.get(showtime.get_absolute_url())
        over = {"ended_at": timezone.now(), "end_reason": "released"}
        live = status in ("PENDING", "CONFIRMED")
        booking = BookingFactory(
            hold=HoldFactory(holder=guest_of(client), showtime=showtime, **over),
            status=status,
            confirmed_at=timezone.now() if status == "CONFIRMED" else None,
            ended_at=None if live else timezone.now(),
        )
        captured = 2400 if payment in ("CAPTURED", "REFUND_DUE", "REFUNDED") else 0
        PaymentFactory(
            booking=booking,
            status=payment,
            captured_amount=captured,
            refunded_amount=captured if payment == "REFUNDED" else 0,
        )
        page = text(client.get(booking.get_absolute_url()))
        assert words in page
        assert ("<svg viewBox" in page and 'class="ticket"' in page) is False
        assert ("booking.js" in page) is (status == "PENDING")
        assert booking.reference in text(client.get(reverse("my_bookings")))

    def test_the_house_says_that_it_was_the_house_that_cancelled(self, client: Client, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1")
        assert "The house has cancelled" not in text(client.get(booking.get_absolute_url()))
        cancel_showtime(showtime_id=showtime.pk)
        assert "The house has cancelled this showtime." in text(client.get(booking.get_absolute_url()))

    def test_a_declined_payment_can_be_made_in_another_way(self, client: Client, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1", payment="stall")
        assert 'href="/payments/demo/demo_' in text(client.get(booking.get_absolute_url()))
        client.post(booking.payment.redirect_url, {"outcome": "decline"})
        page = text(client.get(booking.get_absolute_url()))
        assert "Your seats are still held until" in page
        assert f'href="/checkout/{booking.hold_id}/">Pay another way' in page


class TestCancelling:
    def test_asks_first_and_says_what_comes_back(self, client: Client, showtime: Showtime) -> None:
        showtime = make_showtime(starts_at=timezone.now() + dt.timedelta(hours=5))
        booking = buy(client, showtime, "A1", "A2")
        url = f"{booking.get_absolute_url()}cancel/"
        assert f'href="{url}"' in text(client.get(booking.get_absolute_url()))
        assert "you get €24.00 back" in text(client.get(url))
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"
        assert "€24.00 were paid back" in text(client.post(url, follow=True))
        assert showtime.seats.get(code="A1").status == "AVAILABLE"
        # Once more is harmless.
        assert client.get(url).status_code == 302
        assert client.post(url).status_code == 302

    def test_says_until_when(self, client: Client, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1")
        until = timezone.localtime(showtime.starts_at - dt.timedelta(hours=1))
        assert f"It can be cancelled until {until:%A} {until.day} {until:%B, %H:%M}." in text(
            client.get(booking.get_absolute_url())
        )

    def test_too_late_says_so(self, client: Client, settings: Any, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1")
        settings.CANCELLATION_CUTOFF_MINUTES = 300
        url = f"{booking.get_absolute_url()}cancel/"
        page = text(client.get(booking.get_absolute_url()))
        assert "It could be cancelled until" in page
        assert url not in page
        assert client.get(url)["Location"] == booking.get_absolute_url()
        assert "can no longer be cancelled" in text(client.post(url, follow=True))
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"

    def test_of_what_is_being_paid_gives_the_seats_back_to_the_buyer(self, client: Client, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1", payment="stall")
        url = f"{booking.get_absolute_url()}cancel/"
        assert "The payment is called off." in text(client.get(url))
        assert "Pay another way" in text(client.post(url, follow=True))


class TestMyBookings:
    def test_a_stranger_has_none_and_does_not_become_anybody(self, client: Client) -> None:
        page = text(client.get(reverse("my_bookings")))
        assert "No tickets yet." in page
        assert 'href="/accounts/login/?next=/my/bookings/"' in page
        assert "sessionid" not in client.cookies

    def test_what_comes_next_stands_first(self, client: Client) -> None:
        later = make_showtime(starts_at=timezone.now() + dt.timedelta(hours=9))
        sooner = make_showtime(starts_at=timezone.now() + dt.timedelta(hours=4))
        cancelled = make_showtime(starts_at=timezone.now() + dt.timedelta(hours=3))
        for showtime in (later, sooner, cancelled):
            buy(client, showtime, "A1")
        client.post(f"{Booking.objects.get(showtime=cancelled).get_absolute_url()}cancel/")
        page = text(client.get(reverse("my_bookings")))
        places = [page.index(showtime.movie.title) for showtime in (sooner, later, cancelled)]
        assert places == sorted(places)
        assert page.index("Coming up") < places[0] < places[1] < page.index("Earlier") < places[2]

    def test_a_guest_is_invited_to_sign_in(self, client: Client, ada: User, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1")
        assert "This browser knows only" in text(client.get(reverse("my_bookings")))
        client.force_login(ada)
        page = text(client.get(reverse("my_bookings")))
        assert "This browser knows only" not in page
        assert booking.reference in page

    def test_the_earlier_ones_come_in_pages(self, client: Client, showtime: Showtime) -> None:
        client.get(showtime.get_absolute_url())
        over = {"ended_at": timezone.now(), "end_reason": "released"}
        for _number in range(21):
            booking = BookingFactory(
                hold=HoldFactory(holder=guest_of(client), showtime=showtime, **over),
                status=BookingStatus.EXPIRED,
                ended_at=timezone.now(),
            )
            PaymentFactory(booking=booking, status="CANCELLED")
        first, second = (text(client.get(f"/my/bookings/?page={page}")) for page in (1, 2))
        assert first.count('class="stub booking-stub"') == 20
        assert second.count('class="stub booking-stub"') == 1
        assert 'rel="next"' in first
        assert 'rel="prev"' in second
        assert client.get("/my/bookings/?page=x").status_code == 200

    def test_costs_few_statements_however_many(self, client: Client, django_assert_max_num_queries: Any) -> None:
        for _number in range(4):
            buy(client, make_showtime(), "A1", "A2")
        # Session, holder; what comes, with its tickets; how much there was.
        with django_assert_max_num_queries(6):
            client.get(reverse("my_bookings"))


class TestTheDemoProvidersPage:
    def test_decides(self, client: Client, showtime: Showtime) -> None:
        booking = buy(client, showtime, "A1", payment="stall")
        url = booking.payment.redirect_url
        page = text(client.get(url))
        assert "This is a demonstration." in page
        assert "€12.00" in page
        assert client.post(url, {"outcome": "stall"})["Location"] == booking.get_absolute_url()
        booking.refresh_from_db()
        assert booking.status == "PENDING"
        assert client.post(url, {"outcome": "succeed"})["Location"] == booking.get_absolute_url()
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"
        assert "decided already" in text(client.get(url))
        # Once decided it stays so.
        client.post(url, {"outcome": "decline"})
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"
        assert Ticket.objects.get().issued_at

    def test_works_for_who_bought_elsewhere(self, client: Client, showtime: Showtime) -> None:
        url = buy(client, showtime, "A1", payment="stall").payment.redirect_url
        telephone = Client()
        assert "decided already" in text(telephone.post(url, {"outcome": "succeed"}, follow=True))
        assert Booking.objects.get().status == "CONFIRMED"

    def test_is_there_for_no_other_payment(self, client: Client) -> None:
        assert client.get("/payments/demo/nothing/").status_code == 404
        assert client.post("/payments/demo/nothing/", {"outcome": "succeed"}).status_code == 404
