"""A stand-in for Stripe, and a house that works with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from bookings import payments
from bookings.payments.stripe import StripeProvider
from tests.support.sale_fixtures import ada, ben, events, provider, showtime
from tests.support.stripe_server import KEY, SECRET, StripeServer

__all__ = ["ada", "ben", "events", "provider", "showtime"]


@pytest.fixture
def server() -> Iterator[StripeServer]:
    """The stand-in; its notices wait in its outbox."""
    with StripeServer().running() as running:
        yield running


@pytest.fixture
def stripe(server: StripeServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> StripeProvider:
    """The provider, which the house offers first."""
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_API_BASE = settings.STRIPE_PAGES = server.address
    settings.PAYMENT_PROVIDERS = ["stripe", "demo"]
    provider = StripeProvider()
    monkeypatch.setitem(payments.PROVIDERS, "stripe", provider)
    return provider
