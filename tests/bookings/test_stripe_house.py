"""A house that works with Stripe, from its doors: the checkout, the way back, the webhook, the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings
from structlog.testing import capture_logs

from bookings.models import Booking, BookingStatus, Payment, PaymentEvent, PaymentStatus
from bookings.services import cancel_booking, give_up_payment, settle_overdue_payments
from cinebook.core.errors import ErrorCode
from seating.models import Hold, Showtime
from tests.bookings.conftest import buying, checkout_of, hold_as_guest
from tests.bookings.payments.conftest import server, stripe
from tests.support.asking import refused
from tests.support.buying import CONFIRMED, GIVEN_UP, PENDING, assert_bought_right, close_window, let_try_again, now
from tests.support.stripe_server import StripeServer

__all__ = ["server", "stripe"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("stripe")]

WEBHOOK = "/api/v1/payments/stripe/webhook"


@pytest.fixture
def hold(client: Client, showtime: Showtime) -> Hold:
    return hold_as_guest(client, showtime, "A1", "A2")


@pytest.fixture
def booking(client: Client, hold: Hold) -> Booking:
    """A booking whose buyer has been sent to Stripe."""
    client.post(checkout_of(hold), buying(payment="stripe"))
    return Booking.objects.get()


def session(booking: Booking) -> str:
    return Payment.objects.get(booking=booking).provider_reference


def send(client: Client, notice: tuple[bytes, dict[str, str]]) -> Any:
    body, headers = notice
    return client.post(WEBHOOK, body, content_type="application/json", headers=headers)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def captured(server: StripeServer, booking: Booking) -> tuple[int, int]:
    order = server.books()["orders"][booking.reference]
    return order["captured"], order["refunded"]


class TestARefundThatFails:
    REFUND_DUE = (BookingStatus.REFUND_DUE, PaymentStatus.REFUND_DUE)
    REFUNDED = (BookingStatus.REFUNDED, PaymentStatus.REFUNDED)

    @pytest.fixture
    def refunded(self, client: Client, server: StripeServer, booking: Booking) -> Booking:
        server.do(session(booking), "pay")
        send(client, server.outbox[-1])
        cancel_booking(holder_id=booking.holder_id, reference=booking.reference)
        assert now(booking) == self.REFUNDED
        return booking

    def fail(self, client: Client, server: StripeServer) -> None:
        """Let the last refund fail, and everything be told that Stripe tells of it."""
        before = len(server.outbox)
        server.end_refund(list(server.refunds)[-1], "failed")
        for notice in server.outbox[before:]:
            assert send(client, notice).status_code == 200

    def test_is_due_again_and_made_once_more(self, client: Client, server: StripeServer, refunded: Booking) -> None:
        self.fail(client, server)
        assert now(refunded) == self.REFUND_DUE
        assert settle_overdue_payments() == 0, "not at once: it would fail again"
        let_try_again(refunded)
        assert settle_overdue_payments() == 1
        assert now(refunded) == self.REFUNDED
        assert captured(server, refunded) == (2400, 2400)
        assert len(server.refunds) == 2
        assert_bought_right(refunded.showtime)

    def test_told_late_does_not_bring_the_money_back_twice(
        self, client: Client, server: StripeServer, refunded: Booking
    ) -> None:
        """We have learned of it by asking, and have made another one, before its notice comes."""
        server.end_refund(next(iter(server.refunds)), "failed")
        late = server.outbox[-1]
        Payment.objects.update(status="REFUND_DUE", refunded_amount=0)
        Booking.objects.update(status="REFUND_DUE")
        let_try_again(refunded)
        assert settle_overdue_payments() == 1
        assert send(client, late).status_code == 200
        assert now(refunded) == self.REFUND_DUE
        let_try_again(refunded)
        assert settle_overdue_payments() == 1
        assert captured(server, refunded) == (2400, 2400)

    def test_one_that_took_its_time_is_written_when_it_is_told(
        self, client: Client, server: StripeServer, booking: Booking
    ) -> None:
        server.do(session(booking), "pay")
        send(client, server.outbox[-1])
        server.behaviour.refunds = "pending"
        cancel_booking(holder_id=booking.holder_id, reference=booking.reference)
        assert now(booking) == self.REFUND_DUE
        server.end_refund(next(iter(server.refunds)), "succeeded")
        assert send(client, server.outbox[-1]).status_code == 200
        assert now(booking) == self.REFUNDED

    def test_over_and_over_is_tried_with_more_and_more_patience_and_people_are_told(
        self, client: Client, server: StripeServer, booking: Booking
    ) -> None:
        server.do(session(booking), "pay")
        send(client, server.outbox[-1])
        server.behaviour.refunds = "failed"
        pauses, said = [], []
        with capture_logs() as logs:
            cancel_booking(holder_id=booking.holder_id, reference=booking.reference)
            for _attempt in range(8):
                payment = Payment.objects.get()
                pauses.append(round((payment.next_attempt_at - timezone.now()).total_seconds() / 30))
                said.append(any(line["event"] == "refund.stuck" for line in logs))
                let_try_again(booking)
                settle_overdue_payments()
        assert pauses == [1, 2, 4, 8, 16, 32, 64, 120]
        assert (said[6], said[7]) == (False, True)
        assert Payment.objects.get().status == "REFUND_DUE"


class TestTheCheckout:
    def test_offers_what_the_house_has(self, client: Client, hold: Hold) -> None:
        html = text(client.get(checkout_of(hold)))
        assert "on the page of Stripe" in html
        assert html.count("Demonstration: ") == 3
        assert "no money moves" not in html

    def test_shows_no_choice_where_there_is_one_way(self, client: Client, hold: Hold, settings: Settings) -> None:
        settings.PAYMENT_PROVIDERS = ["stripe"]
        html = text(client.get(checkout_of(hold)))
        assert 'type="radio"' not in html
        assert "at Stripe" in html
        given = buying()
        del given["payment"]
        assert client.post(checkout_of(hold), given).status_code == 302
        assert Payment.objects.get().provider == "stripe"

    def test_sells_nothing_where_there_is_none(self, client: Client, hold: Hold, settings: Settings) -> None:
        settings.PAYMENT_PROVIDERS = []
        html = text(client.get(checkout_of(hold)))
        assert "takes no payments at the moment" in html
        assert 'type="submit"' not in html.partition("data-checkout")[2]
        assert client.post(checkout_of(hold), buying()).status_code == 200
        assert not Booking.objects.exists()

    def test_sends_the_buyer_to_stripe(self, client: Client, hold: Hold, server: StripeServer) -> None:
        answer = client.post(checkout_of(hold), buying(payment="stripe"))
        assert answer.status_code == 302
        assert answer["Location"].startswith(f"{server.address}/pay/cs_test_")
        assert now(Booking.objects.get()) == PENDING

    def test_sends_nobody_to_a_stranger(self, client: Client, hold: Hold, settings: Settings) -> None:
        settings.STRIPE_PAGES = "https://checkout.stripe.com"
        answer = client.post(checkout_of(hold), buying(payment="stripe"))
        booking = Booking.objects.get()
        assert answer["Location"] == booking.get_absolute_url()
        assert f'href="{booking.payment.redirect_url}"' in text(client.get(booking.get_absolute_url()))

    def test_when_stripe_is_away_waits_with_the_buyer(self, client: Client, hold: Hold, server: StripeServer) -> None:
        server.behaviour.next_faults = ["500", "500"]
        answer = client.post(checkout_of(hold), buying(payment="stripe"), follow=True)
        booking = Booking.objects.get()
        assert answer.redirect_chain[-1][0] == booking.get_absolute_url()
        assert "does not answer at the moment" in text(answer)
        Payment.objects.update(asked_at=None)
        html = text(client.get(booking.get_absolute_url()))
        assert "does not answer" not in html
        assert f'href="{server.address}/pay/{session(booking)}"' in html


class TestComingBack:
    def test_paid_leads_to_the_tickets_though_the_notice_is_lost(
        self, client: Client, showtime: Showtime, booking: Booking, server: StripeServer
    ) -> None:
        server.do(session(booking), "pay")
        answer = client.get(f"/payments/{booking.reference}/made/", follow=True)
        assert answer.redirect_chain[-1][0] == booking.get_absolute_url()
        assert "Your tickets" in text(answer)
        assert now(booking) == CONFIRMED
        assert captured(server, booking) == (2400, 0)
        for notice in server.outbox:
            assert send(client, notice).status_code == 200
        assert now(booking) == CONFIRMED
        assert_bought_right(showtime)

    def test_paid_on_a_phone_says_where_the_tickets_are(
        self, client: Client, booking: Booking, server: StripeServer
    ) -> None:
        server.do(session(booking), "pay")
        answer = Client().get(f"/payments/{booking.reference}/made/")
        assert (answer.status_code, "where you bought them" in text(answer)) == (200, True)
        assert now(booking) == CONFIRMED
        assert Client().get("/payments/BK-0000000000/made/").status_code == 200

    def test_unpaid_leads_to_the_checkout_with_the_same_seats(
        self, client: Client, showtime: Showtime, hold: Hold, booking: Booking, server: StripeServer
    ) -> None:
        answer = client.get(f"/payments/{booking.reference}/given-up/", follow=True)
        assert answer.redirect_chain[-1][0] == checkout_of(hold)
        assert "Your seats are still held" in text(answer)
        assert now(booking) == GIVEN_UP
        server.do(session(booking), "pay")
        assert captured(server, booking) == (0, 0)
        client.post(checkout_of(hold), buying())
        assert now(Booking.objects.get(status="CONFIRMED")) == CONFIRMED
        assert_bought_right(showtime)

    def test_unpaid_may_go_to_stripe_again(self, client: Client, hold: Hold, booking: Booking) -> None:
        client.get(f"/payments/{booking.reference}/given-up/")
        client.post(checkout_of(hold), buying(payment="stripe"))
        again = Booking.objects.get(status="PENDING")
        assert session(again) != session(booking)

    @pytest.mark.parametrize("told", [True, False])
    def test_by_the_wrong_link_undoes_nothing_that_was_paid(
        self, client: Client, booking: Booking, server: StripeServer, *, told: bool
    ) -> None:
        server.do(session(booking), "pay")
        if told:
            send(client, server.outbox[-1])
        answer = client.get(f"/payments/{booking.reference}/given-up/")
        assert answer["Location"] == booking.get_absolute_url()
        assert now(booking) == CONFIRMED
        assert captured(server, booking) == (2400, 0)

    def test_unpaid_while_stripe_is_away_says_so(self, client: Client, booking: Booking, server: StripeServer) -> None:
        server.behaviour.next_faults = ["500"]
        answer = client.get(f"/payments/{booking.reference}/given-up/")
        assert answer["Location"] == booking.get_absolute_url()
        assert now(booking) == PENDING

    def test_while_a_slow_bank_is_at_it_nothing_can_be_undone(
        self, client: Client, booking: Booking, server: StripeServer
    ) -> None:
        server.do(session(booking), "process")
        for undo in (give_up_payment, cancel_booking):
            with refused(ErrorCode.HOLD_PAYING) as told:
                undo(holder_id=booking.holder_id, reference=booking.reference)
            assert told == {"retry_after": 5}
        assert now(booking) == PENDING
        url = reverse("payment_given_up", args=[booking.reference])
        assert "payment is under way" in text(client.get(url, follow=True))

    def test_unpaid_is_for_the_buyer_alone(self, booking: Booking) -> None:
        answer = Client().get(f"/payments/{booking.reference}/given-up/")
        assert "You have not paid" in text(answer)
        assert now(booking) == PENDING


class TestTheWebhook:
    def test_confirms_and_again_is_harmless(
        self, client: Client, showtime: Showtime, booking: Booking, server: StripeServer
    ) -> None:
        server.do(session(booking), "pay")
        for _ in range(2):
            assert send(client, server.outbox[-1]).status_code == 200
        assert now(booking) == CONFIRMED
        assert PaymentEvent.objects.filter(event_id__startswith="evt_").count() == 1
        assert_bought_right(showtime)

    @pytest.mark.parametrize("reversed_order", [False, True])
    def test_hears_of_a_slow_bank_in_any_order(
        self, client: Client, showtime: Showtime, booking: Booking, server: StripeServer, *, reversed_order: bool
    ) -> None:
        server.do(session(booking), "process")
        server.do(session(booking), "succeed")
        for notice in server.outbox[::-1] if reversed_order else server.outbox:
            assert send(client, notice).status_code == 200
        assert now(booking) == CONFIRMED
        assert_bought_right(showtime)

    def test_hears_that_a_slow_bank_has_said_no(self, client: Client, booking: Booking, server: StripeServer) -> None:
        for doing in ("process", "fail"):
            server.do(session(booking), doing)
            send(client, server.outbox[-1])
        assert now(booking) == (BookingStatus.CANCELLED, PaymentStatus.DECLINED)

    def test_believes_nothing_forged_and_minds_nothing_unknown(
        self, client: Client, booking: Booking, server: StripeServer
    ) -> None:
        server.do(session(booking), "pay")
        body = server.outbox[-1][0]
        assert send(client, server.signed(body, "whsec_guessed")).status_code == 400
        assert send(client, server.signed(body.replace(b"2400", b"1200"))).status_code == 200
        assert send(client, server.signed(body.replace(b'"eur"', b'"usd"'))).status_code == 200
        assert send(client, server.signed(server.event("charge.dispute.created", {}))).status_code == 200
        assert now(booking) == PENDING

    def test_money_after_the_end_goes_back_once(
        self, client: Client, showtime: Showtime, booking: Booking, server: StripeServer
    ) -> None:
        server.do(session(booking), "pay")
        # As if the session had been ended, and Stripe had been paid all the same.
        Payment.objects.update(status=PaymentStatus.CANCELLED)
        Booking.objects.update(status=BookingStatus.CANCELLED, ended_at=booking.created_at)
        for _ in range(2):
            assert send(client, server.outbox[-1]).status_code == 200
        assert now(booking) == (BookingStatus.REFUNDED, PaymentStatus.REFUNDED)
        assert captured(server, booking) == (2400, 2400)


class TestTheClock:
    def test_ends_the_session_before_the_seats_are_free(
        self, client: Client, booking: Booking, server: StripeServer
    ) -> None:
        close_window(booking)
        settle_overdue_payments()
        assert now(booking) == (BookingStatus.EXPIRED, PaymentStatus.CANCELLED)
        server.do(session(booking), "pay")
        assert captured(server, booking) == (0, 0)


class TestTheApi:
    def test_answers_where_to_pay(self, showtime: Showtime, server: StripeServer) -> None:
        client = Client()
        token = client.post("/api/v1/auth/guest").json()["access"]
        bearer = {"Authorization": f"Bearer {token}"}
        asked = {"showtime_id": showtime.pk, "seats": ["A1"]}
        held = client.post("/api/v1/holds", asked, content_type="application/json", headers=bearer).json()
        bought = client.post(
            "/api/v1/bookings",
            {
                "hold_id": held["hold_id"],
                "contact": {"name": "Ada", "email": "ada@example.org"},
                "payment": {"provider": "stripe"},
            },
            content_type="application/json",
            headers=bearer,
        )
        assert (bought.status_code, bought.json()["status"]) == (201, "PENDING")
        payment = bought.json()["payment"]
        assert payment["redirect_url"] == f"{server.address}/pay/{next(iter(server.sessions))}"

    @pytest.mark.parametrize("provider", ["demo", "stripe", "nobody"])
    def test_knows_only_what_is_offered(self, client: Client, hold: Hold, settings: Settings, provider: str) -> None:
        settings.PAYMENT_PROVIDERS = []
        contact = {"name": "Ada", "email": "ada@example.org"}
        asked = {"hold_id": str(hold.pk), "contact": contact, "payment": {"provider": provider}}
        answer = client.post("/api/v1/bookings", asked, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_data")

    def test_gives_money_back_by_a_provider_that_is_not_offered_any_more(
        self, client: Client, booking: Booking, server: StripeServer, settings: Settings
    ) -> None:
        server.do(session(booking), "pay")
        settings.PAYMENT_PROVIDERS = []
        send(client, server.outbox[-1])
        assert cancel_booking(holder_id=booking.holder_id, reference=booking.reference).status == BookingStatus.REFUNDED
        assert captured(server, booking) == (2400, 2400)
