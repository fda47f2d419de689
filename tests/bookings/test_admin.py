"""Bookings in the admin: found, looked at, cancelled by the house; and showtimes that are called off with them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from bookings import services
from bookings.models import Booking, Payment
from bookings.payments import PROVIDERS, ProviderAway
from bookings.services import (
    Contact,
    Purchase,
    call_off_showtime,
    cancel_booking_for_house,
    settle_overdue_payments,
    start_booking,
)
from cinebook.core.errors import ErrorCode
from cinebook.core.outbox import deliver_effects
from seating.models import Hold, Showtime
from tests import factories
from tests.support.asking import hold, refused
from tests.support.buying import FlakyDemo, now
from tests.support.ledger import assert_sound
from tests.support.sale_fixtures import provider
from tests.support.staff import messages, signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("deaf")]

__all__ = ["provider"]

LIST = "/admin/bookings/booking/"


@pytest.fixture
def showtime() -> Showtime:
    return factories.make_showtime()


def bought(showtime: Showtime, *codes: str, token: str = "", name: str = "Ada Example") -> Booking:
    held = hold(showtime, factories.HolderFactory(), *codes).hold
    contact = Contact(name=name, email=f"{name.split(maxsplit=1)[0].lower()}@example.org")
    purchase = Purchase(provider="demo", token=token, contact=contact)
    return start_booking(holder_id=held.holder_id, user_id=None, hold_id=held.hold_id, purchase=purchase).booking


def free_seats(showtime: Showtime) -> int:
    return showtime.seats.filter(status="AVAILABLE").count()


def finish() -> None:
    """Do what a worker and the tickers do after a request."""
    deliver_effects()
    settle_overdue_payments()


class Away:
    """A provider that cannot be reached."""

    name = "demo"

    def __getattr__(self, name: str) -> Any:
        raise ProviderAway


class TestServices:
    def test_the_house_cancels_however_late_it_is(self, showtime: Showtime) -> None:
        booking = bought(showtime, "A1", "A2")
        Showtime.objects.update(starts_at=showtime.sales_open_at)

        assert cancel_booking_for_house(reference=booking.reference).status == "REFUNDED"
        assert free_seats(showtime) == 18
        assert cancel_booking_for_house(reference=booking.reference).status == "REFUNDED"
        assert Payment.objects.get().refunded_amount == 2400
        assert_sound(showtime.pk)

    def test_one_that_is_being_paid_loses_its_seats(self, showtime: Showtime) -> None:
        booking = bought(showtime, "A1", token="stall")

        assert cancel_booking_for_house(reference=booking.reference).status == "CANCELLED"
        assert Hold.objects.get().end_reason == "withdrawn"
        assert free_seats(showtime) == 18
        assert_sound(showtime.pk)

    def test_refusals(self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
        with refused(ErrorCode.NOT_FOUND):
            cancel_booking_for_house(reference="BK-0000000000")
        booking = bought(showtime, "A1", token="stall")
        monkeypatch.setitem(PROVIDERS, "demo", Away())
        with refused(ErrorCode.UNAVAILABLE):
            cancel_booking_for_house(reference=booking.reference)
        assert Booking.objects.get().status == "PENDING"

    def test_a_showtime_is_called_off_with_everything_on_it(self, showtime: Showtime) -> None:
        other = factories.make_showtime()
        bought(showtime, "A1")
        bought(showtime, "A2", token="stall")
        hold(showtime, factories.HolderFactory(), "A3")
        spared = bought(other, "A1")

        done = call_off_showtime(showtime_id=showtime.pk)
        assert (done.holds, done.bookings) == (1, 2)
        assert call_off_showtime(showtime_id=showtime.pk).holds == 0
        finish()
        assert sorted(showtime.bookings.values_list("status", flat=True)) == ["CANCELLED", "REFUNDED"]
        assert free_seats(showtime) == 18
        spared.refresh_from_db()
        assert spared.status == "CONFIRMED"
        assert (again := call_off_showtime(showtime_id=showtime.pk)).holds == again.bookings == 0
        assert_sound(showtime.pk)

    def test_what_a_provider_could_not_do_is_done_later(
        self, showtime: Showtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bought(showtime, "A1", token="stall")
        with monkeypatch.context() as away:
            away.setitem(PROVIDERS, "demo", Away())
            assert call_off_showtime(showtime_id=showtime.pk).bookings == 1
            finish()
        assert Booking.objects.get().status == "PENDING"
        assert services.cancel_bookings_of_cancelled_showtimes() == 1
        assert Booking.objects.get().status == "CANCELLED"


class TestBookings:
    def test_one_is_looked_at(self, staff: Client, showtime: Showtime) -> None:
        booking = bought(showtime, "A1", "C1")
        html = staff.get(reverse("admin:bookings_booking_change", args=[booking.pk])).content.decode()
        for told in (booking.reference, "Ada Example", "ada@example.org", "€27.00", "A1", "C1", "€15.00", "demo"):
            assert told in html
        # Whoever has a ticket's code can go in with it.
        assert booking.tickets.first().code not in html  # type: ignore[union-attr]
        payment = staff.get(reverse("admin:bookings_payment_change", args=[booking.payment.pk])).content.decode()
        assert booking.reference in payment

    def test_a_refund_that_waits_is_tried_at_once(self, staff: Client, showtime: Showtime, provider: FlakyDemo) -> None:
        booking = bought(showtime, "A1")
        provider.away = {"refund"}
        cancel_booking_for_house(reference=booking.reference)
        provider.away.clear()
        assert services.settle_overdue_payments() == 0
        payments = reverse("admin:bookings_payment_changelist")
        form = {"action": "refund_now", "_selected_action": [booking.payment.pk]}
        assert "1 refund is tried again." in staff.post(payments, form, follow=True).content.decode()
        assert services.settle_overdue_payments() == 1
        assert now(booking) == ("REFUNDED", "REFUNDED")
        assert "0 refunds are tried again." in staff.post(payments, form, follow=True).content.decode()
        viewer = signed_in("bookings.view_payment")
        viewer.post(payments, form)
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize("query", ["reference", "contact_name", "contact_email"])
    def test_it_is_found(self, staff: Client, showtime: Showtime, query: str) -> None:
        booking = bought(showtime, "A1", name="Grace Hopper")
        bought(showtime, "A2")
        response = staff.get(LIST, {"q": getattr(booking, query)})
        assert [found.pk for found in response.context["cl"].result_list] == [booking.pk]

    def test_those_of_one_showtime(self, staff: Client, showtime: Showtime) -> None:
        booking = bought(showtime, "A1")
        bought(factories.make_showtime(), "A1")
        page = staff.get(reverse("admin:seating_showtime_change", args=[showtime.pk])).content.decode()
        link = f"{LIST}?showtime__id__exact={showtime.pk}"
        assert link in page
        assert [found.pk for found in staff.get(link).context["cl"].result_list] == [booking.pk]

    def test_it_is_cancelled_after_asking(self, staff: Client, showtime: Showtime) -> None:
        booking = bought(showtime, "A1")
        url = reverse("admin:bookings_booking_cancel", args=[booking.pk])
        assert url in staff.get(reverse("admin:bookings_booking_change", args=[booking.pk])).content.decode()
        assert "€12.00 goes back" in staff.get(url).content.decode()
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"

        response = staff.post(url, follow=True)
        assert f"{booking.reference}: refunded." in messages(response)
        assert url not in response.content.decode()
        assert LogEntry.objects.get().change_message == "Cancelled by the house: refunded."
        assert "has ended already" in messages(staff.post(url, follow=True))
        assert "has ended already" in staff.get(url).content.decode()
        assert staff.get("/admin/bookings/booking/0/cancel/").status_code == 404
        assert_sound(showtime.pk)

    def test_several_from_the_list(self, staff: Client, showtime: Showtime, monkeypatch: pytest.MonkeyPatch) -> None:
        paid, stalled = bought(showtime, "A1"), bought(showtime, "A2", token="stall")
        form: dict[str, Any] = {"action": "cancel", "_selected_action": [paid.pk, stalled.pk]}
        page = staff.post(LIST, form).content.decode()
        assert "goes back" in page
        assert "its payment is stopped" in page
        carried = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)">', page)
        assert [value for name, value in carried if name == "_selected_action"] == [str(stalled.pk), str(paid.pk)]

        with monkeypatch.context() as away:
            away.setitem(PROVIDERS, "demo", Away())
            told = messages(staff.post(LIST, {**form, "confirmed": "yes"}, follow=True))
        assert f"{stalled.reference}: We cannot reach" in told
        assert f"{paid.reference}: refund due." in told
        staff.post(LIST, {**form, "confirmed": "yes"})
        stalled.refresh_from_db()
        assert stalled.status == "CANCELLED"

    def test_looking_is_not_acting(self, showtime: Showtime) -> None:
        booking = bought(showtime, "A1")
        viewer = signed_in("bookings.view_booking")
        url = reverse("admin:bookings_booking_cancel", args=[booking.pk])
        assert url not in viewer.get(reverse("admin:bookings_booking_change", args=[booking.pk])).content.decode()
        assert viewer.get(url).status_code == viewer.post(url).status_code == 403
        viewer.post(LIST, {"action": "cancel", "_selected_action": [booking.pk], "confirmed": "yes"})
        booking.refresh_from_db()
        assert booking.status == "CONFIRMED"


class TestCallingOff:
    @pytest.fixture
    def url(self, showtime: Showtime) -> str:
        return f"{reverse('admin:seating_showtime_cancel')}?showtime={showtime.pk}"

    def test_it_says_whom_it_hits_and_asks(self, staff: Client, showtime: Showtime, url: str) -> None:
        bought(showtime, "A1")
        bought(showtime, "A2", token="stall")
        hold(showtime, factories.HolderFactory(), "A3")
        page = staff.get(url).content.decode()
        assert "holds that end: 1; bookings that are paid and get their money back: 1;" in page
        assert "bookings that are being paid and are cancelled: 1." in page
        assert Showtime.objects.get().cancelled_at is None

        response = staff.post(url, follow=True)
        assert "holds taken back: 1, bookings to cancel: 2." in messages(response)
        assert "by themselves" in messages(response)
        assert Showtime.objects.get().cancelled_at is not None
        assert "bookings to cancel: 2" in LogEntry.objects.get().change_message
        change = reverse("admin:seating_showtime_change", args=[showtime.pk])
        for told in ("2 to cancel, 0 to pay back, 0 paid back", "0 to cancel, 1 to pay back, 0 paid back"):
            assert f"Bookings: {told}" in staff.get(change).content.decode()
            deliver_effects()
        settle_overdue_payments()
        assert "Bookings: 0 to cancel, 0 to pay back, 1 paid back" in staff.get(change).content.decode()
        assert free_seats(showtime) == 18
        assert "Cancel it" not in staff.get(change).content.decode()
        assert_sound(showtime.pk)

    def test_several_from_the_list(self, staff: Client, showtime: Showtime) -> None:
        other = factories.make_showtime()
        form = {"action": "cancel", "_selected_action": [showtime.pk, other.pk]}
        response = staff.post("/admin/seating/showtime/", form, follow=True)
        assert response.content.decode().count("holds that end: 0") == 2
        staff.post(response.request["PATH_INFO"] + "?" + response.request["QUERY_STRING"])
        assert not Showtime.objects.filter(cancelled_at=None).exists()

    def test_nonsense_is_not_found(self, staff: Client, url: str) -> None:
        for query in ("", "?showtime=0", "?showtime=x", "?showtime=²"):
            assert staff.post(reverse("admin:seating_showtime_cancel") + query).status_code == 404

    def test_it_takes_both_permissions(self, showtime: Showtime, url: str) -> None:
        for permissions in (["seating.change_showtime"], ["bookings.change_booking"], ["seating.view_showtime"]):
            person = signed_in(*permissions)
            assert person.get(url).status_code == person.post(url).status_code == 403
        assert Showtime.objects.get().cancelled_at is None
        both = signed_in("seating.change_showtime", "bookings.change_booking")
        assert both.post(url).status_code == 302
        assert Showtime.objects.get().cancelled_at is not None
