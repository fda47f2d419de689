"""Stripe keeps the promises that CineBook needs of a provider, whatever happens on the wire."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe as library
from django.utils import timezone
from pytest_django import Settings

from bookings.models import PaymentStatus
from bookings.payments import BadNotice, Order, PaymentState, ProviderAway
from bookings.payments import stripe as door
from bookings.payments.stripe import SIGNATURE_HEADER, StripeProvider, our_amount, stripe_amount
from bookings.payments.turns import REST_SECONDS
from cinebook.core.errors import ErrorCode
from tests.support.asking import refused
from tests.support.clock import Clock
from tests.support.stripe_server import SECRET, StripeServer

NEW_SECRET = "whsec_new"


def order(state: PaymentState | None = None, **given: Any) -> Order:
    """Return an order, as the house knows it once Stripe has answered this."""
    known = {"provider_reference": state.reference} if state else {}
    pay_by = timezone.now().replace(microsecond=0) + dt.timedelta(minutes=10)
    return Order(**{"reference": "BK-1", "amount": 2400, "currency": "EUR", "pay_by": pay_by, **known, **given})


@pytest.fixture
def begun(stripe: StripeProvider) -> PaymentState:
    return stripe.create(order())


class TestASession:
    def test_is_begun_with_all_that_the_house_wants(
        self, stripe: StripeProvider, server: StripeServer, settings: Settings
    ) -> None:
        settings.SITE_URL = "https://tickets.example"
        wanted = order()
        state = stripe.create(wanted)
        session = server.sessions[state.reference]
        assert (state.status, state.redirect_url) == (PaymentStatus.PENDING, f"{server.address}/pay/{state.reference}")
        assert (session["amount_total"], session["currency"]) == (2400, "eur")
        assert session["client_reference_id"] == session["metadata"]["booking"] == "BK-1"
        assert session["_intent_metadata"] == {"booking": "BK-1"}
        assert session["success_url"] == "https://tickets.example/payments/BK-1/made/"
        assert session["cancel_url"] == "https://tickets.example/payments/BK-1/given-up/"
        assert session["expires_at"] == wanted.pay_by.timestamp() + 31 * 60

    def test_may_be_begun_until_the_window_closes_and_no_longer(
        self, stripe: StripeProvider, server: StripeServer
    ) -> None:
        assert stripe.create(order(pay_by=timezone.now())).status is PaymentStatus.PENDING
        late = order(reference="BK-2", pay_by=timezone.now() - dt.timedelta(minutes=2))
        assert stripe.create(late).status is PaymentStatus.DECLINED
        assert stripe.cancel(late) == PaymentState(reference="", status=PaymentStatus.CANCELLED)
        assert server.books()["orders"].keys() == {"BK-1"}

    def test_is_begun_once(self, stripe: StripeProvider, server: StripeServer) -> None:
        same = order()
        assert stripe.create(same) == stripe.create(same) == stripe.ask(same)
        assert len(server.sessions) == 1

    def test_takes_no_token(self, stripe: StripeProvider) -> None:
        stripe.check_token("")
        with refused(ErrorCode.INVALID_DATA):
            stripe.check_token("succeed")

    def test_that_stripe_will_not_sell_is_declined(self, stripe: StripeProvider, server: StripeServer) -> None:
        assert stripe.create(order(amount=10)).status is PaymentStatus.DECLINED
        server.key = "another"
        assert stripe.create(order()).status is PaymentStatus.DECLINED
        with pytest.raises(ProviderAway):
            stripe.ask(order(provider_reference="cs_1"))
        with pytest.raises(ProviderAway):
            stripe.cancel(order(provider_reference="cs_1"))
        with pytest.raises(ProviderAway):
            stripe.refund(order(provider_reference="cs_1"))

    @pytest.mark.parametrize(
        ("doings", "status"),
        [
            ([], PaymentStatus.PENDING),
            (["pay"], PaymentStatus.CAPTURED),
            (["process"], PaymentStatus.PENDING),
            (["process", "succeed"], PaymentStatus.CAPTURED),
            (["process", "fail"], PaymentStatus.DECLINED),
        ],
    )
    def test_tells_how_it_stands(
        self,
        stripe: StripeProvider,
        server: StripeServer,
        begun: PaymentState,
        doings: list[str],
        status: PaymentStatus,
    ) -> None:
        for doing in doings:
            server.do(begun.reference, doing)
        state = stripe.ask(order(begun))
        assert (state.reference, state.status) == (begun.reference, status)
        assert state.redirect_url == ("" if doings else begun.redirect_url)

    @pytest.mark.parametrize(
        ("doings", "status"),
        [
            ([], PaymentStatus.CANCELLED),
            (["pay"], PaymentStatus.CAPTURED),
            (["process"], PaymentStatus.PENDING),
            (["process", "fail"], PaymentStatus.DECLINED),
        ],
    )
    def test_is_cancelled_unless_it_is_complete(
        self,
        stripe: StripeProvider,
        server: StripeServer,
        begun: PaymentState,
        doings: list[str],
        status: PaymentStatus,
    ) -> None:
        for doing in doings:
            server.do(begun.reference, doing)
        assert stripe.cancel(order(begun)).status is status
        assert stripe.cancel(order(begun)).status is status
        if status is PaymentStatus.CANCELLED:
            server.do(begun.reference, "pay")
            assert server.books()["orders"]["BK-1"]["captured"] == 0

    def test_whose_answer_was_lost_can_be_cancelled_too(self, stripe: StripeProvider, server: StripeServer) -> None:
        server.behaviour.next_faults = ["die"]
        same = order()
        with pytest.raises(ProviderAway):
            stripe.create(same)
        stripe._turns.breaker.answered()
        assert stripe.cancel(same).status is PaymentStatus.CANCELLED
        assert [session["status"] for session in server.sessions.values()] == ["expired"]

    def test_that_was_paid_otherwise_than_it_should_is_nobody_s(
        self, stripe: StripeProvider, server: StripeServer, begun: PaymentState
    ) -> None:
        server.do(begun.reference, "pay")
        with pytest.raises(ProviderAway):
            stripe.ask(order(begun, amount=2500))
        with pytest.raises(ProviderAway):
            stripe.ask(order(begun, currency="USD"))


class TestARefund:
    @pytest.fixture
    def paid(self, server: StripeServer, begun: PaymentState) -> Order:
        server.do(begun.reference, "pay")
        return order(begun)

    def refunded(self, server: StripeServer) -> int:
        refunded: int = server.books()["orders"]["BK-1"]["refunded"]
        return refunded

    def test_is_made_once(self, stripe: StripeProvider, server: StripeServer, paid: Order) -> None:
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        assert self.refunded(server) == 2400

    def test_is_made_once_though_its_answer_was_lost(
        self, stripe: StripeProvider, server: StripeServer, paid: Order
    ) -> None:
        server.behaviour.next_faults = ["none", "none", "die"]
        with pytest.raises(ProviderAway):
            stripe.refund(paid)
        stripe._turns.breaker.answered()
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        assert len(server.refunds) == 1

    def test_is_made_once_by_two_at_a_time(self, stripe: StripeProvider, server: StripeServer, paid: Order) -> None:
        with ThreadPoolExecutor(2) as threads:
            states = [threads.submit(_or_away, lambda: stripe.refund(paid)) for _ in range(2)]
        assert {state.result() for state in states} <= {PaymentStatus.REFUNDED, None}
        assert self.refunded(server) == 2400

    def test_may_take_its_time(self, stripe: StripeProvider, server: StripeServer, paid: Order) -> None:
        server.behaviour.refunds = "pending"
        assert stripe.refund(paid).status is PaymentStatus.CAPTURED
        assert stripe.refund(paid).status is PaymentStatus.CAPTURED
        (refund,) = server.refunds.values()
        refund["status"] = "succeeded"
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED

    def test_that_has_failed_is_made_again(self, stripe: StripeProvider, server: StripeServer, paid: Order) -> None:
        server.behaviour.refunds = "failed"
        assert stripe.refund(paid).status is PaymentStatus.CAPTURED
        server.behaviour.refunds = "succeeded"
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        assert self.refunded(server) == 2400

    def test_that_fails_after_it_had_succeeded_is_made_again(
        self, stripe: StripeProvider, server: StripeServer, paid: Order
    ) -> None:
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        (refund,) = server.refunds
        server.end_refund(refund, "failed")
        told = [stripe.read_notice(*notice) for notice in server.outbox[-2:]]
        assert told[0] == told[1]
        assert told[0] is not None
        assert (told[0].state.status, told[0].order, told[0].amount) == (PaymentStatus.REFUND_DUE, "BK-1", 2400)
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        assert len(server.refunds) == 2

    def test_that_comes_to_its_end_is_told(self, stripe: StripeProvider, server: StripeServer, paid: Order) -> None:
        server.behaviour.refunds = "pending"
        stripe.refund(paid)
        (refund,) = server.refunds
        server.end_refund(refund, "pending")
        assert stripe.read_notice(*server.outbox[-1]) is None
        server.end_refund(refund, "succeeded")
        told = stripe.read_notice(*server.outbox[-1])
        assert told is not None
        assert told.state.status is PaymentStatus.REFUNDED

    def test_made_by_hand_is_nobody_s_notice(self, stripe: StripeProvider, server: StripeServer, paid: Order) -> None:
        (intent,) = server.intents
        refund = server.answer("POST", "/v1/refunds", {"payment_intent": intent, "amount": "900"})
        server.end_refund(refund["id"], "failed")
        assert stripe.read_notice(*server.outbox[-1]) is None

    def test_gives_back_what_is_left_of_one_made_by_hand(
        self, stripe: StripeProvider, server: StripeServer, paid: Order
    ) -> None:
        (intent,) = server.intents
        server.answer("POST", "/v1/refunds", {"payment_intent": intent, "amount": "900"})
        assert stripe.refund(paid).status is PaymentStatus.REFUNDED
        assert self.refunded(server) == 2400

    def test_of_nothing_is_none(self, stripe: StripeProvider, server: StripeServer) -> None:
        free = stripe.create(order(amount=0))
        assert free.status is PaymentStatus.CAPTURED
        assert stripe.refund(order(free, amount=0)).status is PaymentStatus.REFUNDED
        assert not server.refunds


class TestMoney:
    @pytest.mark.parametrize(
        ("ours", "currency", "stripes"),
        [(2400, "EUR", 2400), (2400, "JPY", 2400), (2400, "ISK", 240_000), (2400, "UGX", 240_000), (2400, "MGA", 24),
         (2400, "KWD", 2400)],
    )  # fmt: skip
    def test_is_counted_as_stripe_counts_it(self, ours: int, currency: str, stripes: int) -> None:
        assert stripe_amount(ours, currency) == stripes
        assert our_amount(stripes, currency) == ours

    def test_that_stripe_cannot_count_is_declined(self, stripe: StripeProvider, server: StripeServer) -> None:
        assert stripe.create(order(amount=2450, currency="MGA")).status is PaymentStatus.DECLINED
        with pytest.raises(ValueError, match="exactly"):
            our_amount(150, "ISK")
        assert not server.sessions

    def test_in_yen_comes_back_as_it_went(self, stripe: StripeProvider, server: StripeServer) -> None:
        yen = stripe.create(order(amount=1800, currency="JPY"))
        server.do(yen.reference, "pay")
        notice = stripe.read_notice(*server.outbox[-1])
        assert notice is not None
        assert (notice.amount, notice.currency, server.sessions[yen.reference]["amount_total"]) == (1800, "JPY", 1800)


class TestTrouble:
    CALLS: tuple[Callable[[StripeProvider, Order], PaymentState], ...] = (
        StripeProvider.create,
        StripeProvider.ask,
        StripeProvider.cancel,
        StripeProvider.refund,
    )

    @pytest.mark.parametrize("fault", ["500", "429", "drop", "die"])
    @pytest.mark.parametrize("call", CALLS)
    def test_means_that_nobody_knows(
        self,
        stripe: StripeProvider,
        server: StripeServer,
        begun: PaymentState,
        call: Callable[[StripeProvider, Order], PaymentState],
        fault: str,
    ) -> None:
        server.do(begun.reference, "pay")
        server.behaviour.next_faults = [fault]
        requests = len(server.requests)
        with pytest.raises(ProviderAway):
            call(stripe, order(begun))
        # The library itself tries nothing again.
        assert len(server.requests) - requests <= 1

    def test_is_over_quickly_when_stripe_stalls(
        self, stripe: StripeProvider, server: StripeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(door, "ANSWER_SECONDS", 0.2)
        door._client.cache_clear()
        server.behaviour.next_faults = ["stall"]
        began = time.monotonic()
        with pytest.raises(ProviderAway):
            stripe.create(order())
        assert time.monotonic() - began < 2
        door._client.cache_clear()

    def test_leaves_stripe_alone_for_a_while(self, stripe: StripeProvider, server: StripeServer, clock: Clock) -> None:
        same = order()
        server.behaviour.next_faults = ["drop"]
        for _ in range(3):
            with pytest.raises(ProviderAway):
                stripe.create(same)
        assert not server.requests
        clock.now += REST_SECONDS
        assert stripe.create(same).status is PaymentStatus.PENDING
        assert stripe.ask(same).status is PaymentStatus.PENDING

    def test_that_is_an_answer_keeps_nobody_away(self, stripe: StripeProvider, server: StripeServer) -> None:
        server.behaviour.next_faults = ["500"]
        same = order()
        with pytest.raises(ProviderAway):
            stripe.create(same)
        assert stripe.create(same).status is PaymentStatus.PENDING


class TestNotices:
    def last(self, stripe: StripeProvider, server: StripeServer) -> tuple[Any, Any]:
        notice = stripe.read_notice(*server.outbox[-1])
        assert notice is not None
        assert (notice.order, notice.amount, notice.currency) == ("BK-1", 2400, "EUR")
        return notice.state.reference, notice.state.status

    def test_say_what_became_of_a_session(
        self, stripe: StripeProvider, server: StripeServer, begun: PaymentState
    ) -> None:
        server.do(begun.reference, "process")
        assert self.last(stripe, server) == (begun.reference, PaymentStatus.PENDING)
        server.do(begun.reference, "succeed")
        assert self.last(stripe, server) == (begun.reference, PaymentStatus.CAPTURED)

    @pytest.mark.parametrize(
        ("doings", "status"), [(["pay"], PaymentStatus.CAPTURED), (["process", "fail"], PaymentStatus.DECLINED)]
    )
    def test_say_that_it_was_paid_or_not(
        self,
        stripe: StripeProvider,
        server: StripeServer,
        begun: PaymentState,
        doings: list[str],
        status: PaymentStatus,
    ) -> None:
        for doing in doings:
            server.do(begun.reference, doing)
        assert self.last(stripe, server) == (begun.reference, status)

    def test_say_that_it_expired(self, stripe: StripeProvider, server: StripeServer, begun: PaymentState) -> None:
        stripe.cancel(order(begun))
        assert self.last(stripe, server) == (begun.reference, PaymentStatus.CANCELLED)

    def test_of_other_kinds_and_of_others_do_not_concern_us(
        self, stripe: StripeProvider, server: StripeServer, begun: PaymentState
    ) -> None:
        server.do(begun.reference, "pay")
        stripe.refund(order(begun))
        assert json.loads(server.outbox[-1][0])["type"] == "refund.created"
        assert stripe.read_notice(*server.outbox[-1]) is None
        foreign = server.event("checkout.session.completed", {"id": "cs_other", "metadata": {}})
        assert stripe.read_notice(*server.signed(foreign)) is None

    def test_are_good_by_every_secret_while_it_is_being_changed(
        self, stripe: StripeProvider, server: StripeServer, settings: Settings
    ) -> None:
        body = server.event("payout.paid", {})
        settings.STRIPE_WEBHOOK_SECRETS = [NEW_SECRET, SECRET]
        for secrets in ([SECRET], [NEW_SECRET], [NEW_SECRET, SECRET]):
            assert stripe.read_notice(*server.signed(body, *secrets)) is None
        settings.STRIPE_WEBHOOK_SECRETS = [NEW_SECRET]
        with pytest.raises(BadNotice):
            stripe.read_notice(*server.signed(body, SECRET))

    def test_are_signed_as_the_library_signs(self, stripe: StripeProvider, server: StripeServer) -> None:
        body = server.event("payout.paid", {})
        header = library.WebhookSignature.generate_signature_header(body.decode(), SECRET)
        assert stripe.read_notice(body, {SIGNATURE_HEADER: header}) is None
        _body, headers = server.signed(body)
        assert library.WebhookSignature.verify_header(body, headers[SIGNATURE_HEADER], SECRET, 300)

    def test_that_are_forged_old_or_unreadable_are_none(
        self, stripe: StripeProvider, server: StripeServer, settings: Settings
    ) -> None:
        body = server.event("payout.paid", {})
        for notice in (
            server.signed(body, "whsec_guessed"),
            server.signed(body, age=301),
            server.signed(body, age=-302),
            (body, {}),
            (body + b" ", server.signed(body)[1]),
            *(server.signed(nonsense) for nonsense in (b"", b"[]", b"{}", b'{"type": []}', b"\xff")),
            server.signed(server.event("checkout.session.completed", {"metadata": {"booking": "BK-1"}})),
        ):
            with pytest.raises(BadNotice):
                stripe.read_notice(*notice)
        settings.STRIPE_WEBHOOK_SECRETS = []
        with pytest.raises(BadNotice):
            stripe.read_notice(*server.signed(body, ""))


def _or_away(call: Callable[[], PaymentState]) -> PaymentStatus | None:
    try:
        return call().status
    except ProviderAway:
        return None
