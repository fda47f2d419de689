"""Who takes the money: the one door to every payment provider.

A provider may take seconds to answer, so it is never asked while a row is locked: the door refuses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from bookings.models import Payment
from bookings.payments.provider import (
    BadNotice,
    Notice,
    Order,
    PaymentProvider,
    PaymentState,
    PaymentUnderWay,
    ProviderAway,
)

__all__ = [
    "BadNotice",
    "Notice",
    "Order",
    "PaymentProvider",
    "PaymentState",
    "PaymentUnderWay",
    "ProviderAway",
    "offered_provider",
    "provider_named",
    "provider_of",
]

# Those that payments may be at. A provider that is not offered any more still has notices to send and money to return;
# Stripe's library costs each process 24 MB, so it is only there where it is used.
PROVIDERS: dict[str, PaymentProvider] = {"demo": import_string("bookings.payments.demo.DemoProvider")()}
if settings.STRIPE_SECRET_KEY:
    PROVIDERS["stripe"] = import_string("bookings.payments.stripe.StripeProvider")()


def provider_named(name: str) -> PaymentProvider | None:
    """Return a provider by its name; None if there is none."""
    provider = PROVIDERS.get(name)
    return _OutsideTransactions(provider.name, provider) if provider else None


def offered_provider(name: str) -> PaymentProvider | None:
    """Return a provider by its name, if it may be chosen for a new payment; else None."""
    return provider_named(name) if name in settings.PAYMENT_PROVIDERS else None


def provider_of(payment: Payment) -> PaymentProvider:
    """Return the provider of a payment.

    Raises:
        ProviderAway: the house does not work with it any more, so it cannot be asked.
    """
    provider = provider_named(payment.provider)
    if provider is None:
        raise ProviderAway
    return provider


@dataclasses.dataclass(slots=True)
class _OutsideTransactions:
    """A provider that nobody calls from within a transaction."""

    name: str
    _provider: PaymentProvider

    def check_token(self, token: str) -> None:
        self._provider.check_token(token)

    def create(self, order: Order) -> PaymentState:
        _demand_no_transaction()
        return self._provider.create(order)

    def cancel(self, order: Order) -> PaymentState:
        _demand_no_transaction()
        return self._provider.cancel(order)

    def ask(self, order: Order) -> PaymentState:
        _demand_no_transaction()
        return self._provider.ask(order)

    def refund(self, order: Order) -> PaymentState:
        _demand_no_transaction()
        return self._provider.refund(order)

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        return self._provider.read_notice(body, headers)


def _demand_no_transaction() -> None:
    # The transaction around a test that rolls everything back is none of ours; Django's `durable` lets it pass as well.
    ours = [block for block in connection.atomic_blocks if not getattr(block, "_from_testcase", False)]
    if ours:
        raise transaction.TransactionManagementError("A provider is never called within a transaction.")
