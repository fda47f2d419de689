"""What CineBook wants of whoever takes the money, in words of its own; one class per provider speaks them.

Every call may be repeated: a provider knows a payment by its order, and does each thing once. No call is made while a
row is locked.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Protocol

from bookings.models import PaymentStatus


class ProviderAway(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The provider did not answer, so nobody knows whether it did what it was asked: ask again, it does it once."""


class PaymentUnderWay(ProviderAway):
    """The money is on its way, at a slow bank perhaps: the payment can be neither ended nor counted on."""


class BadNotice(Exception):  # noqa: N818 - it may be somebody's attempt, not a mistake
    """A notice that the provider has not signed, or that cannot be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What is to be paid. `reference` is the booking's, and the key by which a repeated call is recognised.

    `amount` is in minor units of `currency`; `pay_by` is when the window of the payment closes; `token` is what the
    buyer's side was given by the provider; `provider_reference` is the provider's own name of it, once that is known.
    """

    reference: str
    amount: int
    currency: str
    pay_by: dt.datetime
    token: str = ""
    provider_reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class PaymentState:
    """How a payment stands at its provider.

    `reference` is the provider's own; `redirect_url` is where the buyer goes on, if they have to.
    """

    reference: str
    status: PaymentStatus
    redirect_url: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """What a provider tells by itself: one event with an id of its own, about the payment of an order.

    `REFUNDED` and `REFUND_DUE` tell of one refund, which may be of a part: it has been made, or it has failed after
    all. Then `state.reference` may be empty.
    """

    event_id: str
    order: str
    state: PaymentState
    amount: int
    currency: str


class PaymentProvider(Protocol):
    """A provider. `PENDING`, `CAPTURED`, `DECLINED`, `CANCELLED` and `REFUNDED` are the states that it knows."""

    name: str

    def check_token(self, token: str) -> None:
        """Refuse a token that cannot be one of this provider's, before anything is begun.

        Raises:
            Refusal: `invalid_data`.
        """

    def create(self, order: Order) -> PaymentState:
        """Begin the payment of an order, and capture it where that needs nobody else.

        Raises:
            ProviderAway: nobody knows.
        """

    def cancel(self, order: Order) -> PaymentState:
        """Make sure that an order will not be paid any more, even if its payment is only on its way to be begun.

        Returns:
            `CANCELLED`, or what it was already: the caller has come too late for `CAPTURED`.

        Raises:
            ProviderAway: nobody knows.
        """

    def ask(self, order: Order) -> PaymentState:
        """Tell how the payment of an order stands, for notices get lost.

        One that was never begun, because the provider could not be reached, is begun where that needs nothing but the
        order.

        Raises:
            ProviderAway: nobody knows.
        """

    def refund(self, order: Order) -> PaymentState:
        """Give the whole amount of a captured payment back, once.

        Returns:
            `REFUNDED`, or `CAPTURED` while it takes its time.

        Raises:
            ProviderAway: nobody knows.
        """

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice | None:
        """Return what a notice says, once its signature has been checked; None if it does not concern us.

        Args:
            body: as it came, to the byte.
            headers: of the request.

        Raises:
            BadNotice: it is forged, too old, or unreadable.
        """
