"""Who takes the money: the one door to every payment provider."""

from __future__ import annotations

from bookings.models import Payment
from bookings.payments.demo import DemoProvider
from bookings.payments.provider import (
    BadNotice,
    Notice,
    Order,
    PaymentProvider,
    PaymentState,
    ProviderAway,
)

__all__ = [
    "BadNotice",
    "Notice",
    "Order",
    "PaymentProvider",
    "PaymentState",
    "ProviderAway",
    "provider_named",
    "provider_of",
]

PROVIDERS: dict[str, PaymentProvider] = {provider.name: provider for provider in (DemoProvider(),)}


def provider_named(name: str) -> PaymentProvider | None:
    """Return a provider by its name; None if there is none."""
    return PROVIDERS.get(name)


def provider_of(payment: Payment) -> PaymentProvider:
    """Return the provider of a payment.

    Raises:
        ProviderAway: the house does not work with it any more, so it cannot be asked.
    """
    provider = provider_named(payment.provider)
    if provider is None:
        raise ProviderAway
    return provider
