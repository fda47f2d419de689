"""Stripe, on whose own page the buyer pays: the one door to its library.

A payment is a Checkout Session there, begun under the booking's reference as its idempotency key: whoever repeats the
call is told of the same session. Only by the answer to that call does anybody learn the address of its page; so a
session of which no answer was heard cannot be paid.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import stripe
import structlog
from django.conf import settings
from django.urls import reverse

from bookings.models import PaymentStatus
from bookings.payments.provider import BadNotice, Notice, Order, PaymentState, ProviderAway
from bookings.payments.signatures import is_signed
from bookings.payments.turns import NoAnswer, Turns
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.money import exponent

if TYPE_CHECKING:
    from stripe.checkout import Session

log = structlog.get_logger(__name__)

# The request header of a notice that signs it.
SIGNATURE_HEADER = "Stripe-Signature"
# What a call may take, in seconds; the library itself would wait for 80, and try three times.
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
# A session lives for half an hour from its making at the least, and it may be made until the window closes. A minute
# is for clocks that differ. What is left of a session then is ended by us.
SESSION_OUTLIVES_WINDOW = dt.timedelta(minutes=31)
# Where the minor units that Stripe counts in differ from ISO 4217's.
_EXPONENTS = {"ISK": 2, "UGX": 2, "MGA": 0}
PAID = ("paid", "no_payment_required")
# What a payment is whose session is complete, and whose bank has said no days later.
NOT_COMING = ("requires_payment_method", "canceled")
# What the notices that concern us make of a payment; a session that is complete may still have to be paid.
EVENTS = {
    "checkout.session.completed": None,
    "checkout.session.async_payment_succeeded": None,
    "checkout.session.async_payment_failed": PaymentStatus.DECLINED,
    "checkout.session.expired": PaymentStatus.CANCELLED,
}
# What the notices of a refund make of it. Versions of Stripe's interface differ in how they call them.
REFUND_EVENTS = ("refund.updated", "refund.failed", "charge.refund.updated")
REFUNDS = {
    "succeeded": PaymentStatus.REFUNDED,
    "failed": PaymentStatus.REFUND_DUE,
    "canceled": PaymentStatus.REFUND_DUE,
}

Answer = TypeVar("Answer")


class StripeProvider:
    """The house's end of it."""

    name = "stripe"

    def __init__(self) -> None:
        # One thread is left for everybody else, however long Stripe keeps the others waiting.
        self._turns = Turns(at_once=max(1, settings.WEB_THREADS - 1))

    def check_token(self, token: str) -> None:
        """Refuse any token: the buyer says to Stripe how they pay.

        Raises:
            Refusal: `invalid_data`.
        """
        if token:
            raise Refusal(ErrorCode.INVALID_DATA, errors={"payment": {"token": ["Stripe takes none."]}})

    def create(self, order: Order) -> PaymentState:
        """Begin a session, whose page is where the buyer goes on. What Stripe will not sell is declined.

        Raises:
            ProviderAway: nobody knows.
        """
        try:
            return _state(order, self._begin(order))
        except (stripe.StripeError, ValueError) as refused:
            _complain(order, refused)
            return PaymentState(reference="", status=PaymentStatus.DECLINED)

    def cancel(self, order: Order) -> PaymentState:
        """Let a session expire, unless it is complete. One that nobody knows of is begun first, under its own key.

        Raises:
            ProviderAway: nobody knows, or the money is under way.
        """
        reference = order.provider_reference
        if not reference:
            try:
                reference = self._begin(order).id
            except (stripe.StripeError, ValueError):
                # Stripe wants none of it, or it is too late to begin it. If it was begun, nobody was told of its page.
                return PaymentState(reference="", status=PaymentStatus.CANCELLED)
        try:
            session = self._call(lambda client: client.v1.checkout.sessions.expire(reference))
        except stripe.InvalidRequestError:
            session = self._session(order, reference)
        except stripe.StripeError as refused:
            _complain(order, refused)
            raise ProviderAway from refused
        return _state(order, session)

    def ask(self, order: Order) -> PaymentState:
        """Tell how a session stands. Stripe finds it by its own name of it, or by the call that began it.

        Raises:
            ProviderAway: nobody knows.
        """
        if not order.provider_reference:
            return self.create(order)
        return _state(order, self._session(order, order.provider_reference))

    def refund(self, order: Order) -> PaymentState:
        """Give back what has not been given back yet; once, for what was given back is looked up first.

        Raises:
            ProviderAway: nobody knows.
        """
        session = self._session(order, order.provider_reference)
        intent = session.payment_intent
        if intent is None:
            # There was nothing to pay.
            return PaymentState(reference=session.id, status=PaymentStatus.REFUNDED)
        intent_id = intent if isinstance(intent, str) else intent.id
        try:
            refunds = self._refunds(order, intent_id, of=session.amount_total or 0)
        except stripe.StripeError as refused:
            _complain(order, refused)
            raise ProviderAway from refused
        back = sum(refund.amount for refund in refunds if refund.status == "succeeded")
        status = PaymentStatus.REFUNDED if back >= (session.amount_total or 0) else PaymentStatus.CAPTURED
        return PaymentState(reference=session.id, status=status)

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        """Return what a notice says; None if it is of a kind, or about a session, that does not concern us.

        Raises:
            BadNotice: it is forged, too old, or unreadable.
        """
        header, now = headers.get(SIGNATURE_HEADER, ""), time.time()
        # While the secret is being changed, Stripe signs by the old and the new one, and so do we read.
        if not any(is_signed(header, secret=one, body=body, now=now) for one in settings.STRIPE_WEBHOOK_SECRETS):
            raise BadNotice
        try:
            event = json.loads(body)
            if event["type"] in REFUND_EVENTS:
                return _refund_notice(event["data"]["object"])
            return _notice(event) if event["type"] in EVENTS else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadNotice from error

    def _begin(self, order: Order) -> Session:
        """Make the session of an order, or be told of the one that was made before.

        Raises:
            ProviderAway: nobody knows.
            StripeError, ValueError: Stripe does not want to.
        """
        about = {"booking": order.reference}
        # Everything here must be the same whenever the call is repeated, or Stripe refuses the repetition.
        return self._call(
            lambda client: client.v1.checkout.sessions.create(
                {
                    "mode": "payment",
                    "client_reference_id": order.reference,
                    "metadata": about,
                    "payment_intent_data": {"metadata": about},
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": order.currency.lower(),
                                "unit_amount": stripe_amount(order.amount, order.currency),
                                "product_data": {"name": f"Cinema tickets, booking {order.reference}"},
                            },
                        }
                    ],
                    # Else Stripe may take another currency than the booking's, by a rate of its own.
                    "adaptive_pricing": {"enabled": False},
                    "expires_at": int((order.pay_by + SESSION_OUTLIVES_WINDOW).timestamp()),
                    "success_url": settings.SITE_URL + reverse("payment_made", args=[order.reference]),
                    "cancel_url": settings.SITE_URL + reverse("payment_given_up", args=[order.reference]),
                },
                {"idempotency_key": order.reference},
            )
        )

    def _session(self, order: Order, reference: str) -> Session:
        """Return a session, with what became of its money.

        Raises:
            ProviderAway: nobody knows.
        """
        try:
            return self._call(
                lambda client: client.v1.checkout.sessions.retrieve(reference, {"expand": ["payment_intent"]})
            )
        except stripe.StripeError as refused:
            _complain(order, refused)
            raise ProviderAway from refused

    def _refunds(self, order: Order, intent: str, *, of: int) -> list[stripe.Refund]:
        """Return the refunds of a payment, after having asked for what is missing of it."""
        refunds = self._call(lambda client: client.v1.refunds.list({"payment_intent": intent, "limit": 100})).data
        if (
            sum(refund.amount for refund in refunds if refund.status in ("succeeded", "pending", "requires_action"))
            >= of
        ):
            return refunds
        refund = self._call(
            lambda client: client.v1.refunds.create(
                {"payment_intent": intent, "metadata": {"booking": order.reference}},
                # One that has failed is followed by another; two that ask at a time ask for the same one.
                {"idempotency_key": f"{order.reference}:refund:{len(refunds)}"},
            )
        )
        return [*refunds, refund]

    def _call(self, call: Callable[[stripe.StripeClient], Answer]) -> Answer:
        """Return what Stripe answers to a call.

        Raises:
            ProviderAway: nobody knows, or it is not the moment.
            StripeError: Stripe does not want to.
        """
        with self._turns.turn():
            try:
                return call(_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE))
            except stripe.APIConnectionError as error:
                log.warning("stripe.no_answer", error=str(error.__cause__ or error))
                raise NoAnswer from error
            except (stripe.RateLimitError, stripe.APIError, stripe.IdempotencyError) as error:
                # The last one: somebody else makes this very call; or it was made in other words, by the version before
                # ours or under another SITE_URL. So it has been done, and we are not told what came of it.
                log.warning("stripe.trouble", status=error.http_status, error=str(error))
                raise ProviderAway from error


@functools.cache
def _client(key: str, base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, ANSWER_SECONDS)),
    )


def stripe_amount(amount: int, currency: str) -> int:
    """Return an amount as Stripe counts it.

    Args:
        amount: in the currency's minor units by ISO 4217.
        currency: its code.

    Raises:
        ValueError: Stripe does not know so small a part of this currency.
    """
    return _shifted(amount, _exponent(currency) - exponent(currency))


def our_amount(amount: int, currency: str) -> int:
    """Return an amount that Stripe has counted, in the currency's minor units by ISO 4217.

    Raises:
        ValueError: no whole number of them is that much.
    """
    return _shifted(amount, exponent(currency) - _exponent(currency))


def _exponent(currency: str) -> int:
    return _EXPONENTS.get(currency, exponent(currency))


def _shifted(amount: int, places: int) -> int:
    if places >= 0:
        return amount * int(10**places)
    whole, rest = divmod(amount, 10**-places)
    if rest:
        raise ValueError(f"{amount} cannot be told exactly with {-places} places less.")
    return int(whole)


def _state(order: Order, session: Session) -> PaymentState:
    """Return how a session stands.

    Raises:
        ProviderAway: it was paid, but not what was to be paid.
    """
    status = _status(session)
    wanted = (stripe_amount(order.amount, order.currency), order.currency)
    if status is PaymentStatus.CAPTURED and (session.amount_total, (session.currency or "").upper()) != wanted:
        log.error("stripe.other_amount", reference=order.reference, session=session.id)
        raise ProviderAway
    url = session.url if status is PaymentStatus.PENDING else ""
    return PaymentState(reference=session.id, status=status, redirect_url=url or "")


def _status(session: Session) -> PaymentStatus:
    if session.payment_status in PAID:
        return PaymentStatus.CAPTURED
    if session.status == "expired":
        return PaymentStatus.CANCELLED
    intent = session.payment_intent
    if session.status == "complete" and isinstance(intent, stripe.PaymentIntent) and intent.status in NOT_COMING:
        return PaymentStatus.DECLINED
    return PaymentStatus.PENDING


def _notice(event: dict[str, Any]) -> Notice | None:
    session = event["data"]["object"]
    order = (session.get("metadata") or {}).get("booking")
    if not order:
        # Somebody else's, on the same account.
        return None
    paid = PaymentStatus.CAPTURED if session["payment_status"] in PAID else PaymentStatus.PENDING
    currency = str(session["currency"]).upper()
    return Notice(
        event_id=str(event["id"]),
        order=str(order),
        state=PaymentState(reference=str(session["id"]), status=EVENTS[event["type"]] or paid),
        amount=our_amount(int(session["amount_total"]), currency),
        currency=currency,
    )


def _refund_notice(refund: dict[str, Any]) -> Notice | None:
    order = (refund.get("metadata") or {}).get("booking")
    status = REFUNDS.get(refund["status"])
    if not order or not status:
        # Somebody else's, or one that was made in the dashboard; or there is nothing new.
        return None
    currency = str(refund["currency"]).upper()
    return Notice(
        # Stripe tells the same by several events: each refund comes to an end once.
        event_id=f"{refund['id']}:{refund['status']}",
        order=str(order),
        state=PaymentState(reference="", status=status),
        amount=our_amount(int(refund["amount"]), currency),
        currency=currency,
    )


def _complain(order: Order, refused: Exception) -> None:
    """Tell the house that Stripe does not do what it was asked: its key, its account or a price is wrong."""
    status = refused.http_status if isinstance(refused, stripe.StripeError) else None
    log.error("stripe.refused", reference=order.reference, status=status, error=str(refused))
