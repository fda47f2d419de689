"""Asking a provider how a payment stands: its notice may have been lost, and so may the answer that began it."""

from __future__ import annotations

import functools

import structlog
from django.db import connection

from bookings.models import Payment, PaymentStatus
from bookings.payments import ProviderAway, provider_of
from bookings.selectors.asking import ASK_EVERY_SECONDS, payments_to_ask_about
from bookings.services.purchases import order_of
from bookings.services.settling import settle_answer
from cinebook.core.errors import Refusal
from seating.services import run_sale

log = structlog.get_logger(__name__)

# How long a provider is not asked about a payment again while a person waits for the answer, in seconds.
PERSON_WAITS_SECONDS = 3


def ask_about_payment(*, reference: str, not_within: float = PERSON_WAITS_SECONDS) -> bool:
    """Ask the provider how a payment stands whose window is open, and settle what it answers.

    Args:
        reference: the booking's.
        not_within: for how many seconds nobody must have asked about it.

    Returns:
        Whether the provider has answered; also if it was not asked.
    """
    if not _claim(reference, not_within):
        return True
    payment = Payment.objects.select_related("booking").get(booking__reference=reference)
    order = order_of(payment)
    try:
        state = provider_of(payment).ask(order)
    except ProviderAway:
        log.warning("payment.provider_away", reference=reference, provider=payment.provider)
        return False
    if state.status is PaymentStatus.PENDING and payment.provider_reference:
        return True
    try:
        settle_answer(provider=payment.provider, order=order, state=state)
    except Refusal:
        # The purchase is busy, with the notice perhaps; who looks again will see.
        log.info("payment.busy", reference=reference)
    return True


def ask_about_pending_payments() -> None:
    """Ask about the payments that have been waiting for a while; one that fails does not keep the others waiting."""
    for reference in payments_to_ask_about():
        try:
            ask_about_payment(reference=reference, not_within=ASK_EVERY_SECONDS)
        except Exception:
            log.exception("payment.not_asked", reference=reference)


def _claim(reference: str, not_within: float) -> bool:
    """Return whether the caller is the one to ask the provider now."""
    try:
        return run_sale(functools.partial(_write_claim, reference, not_within))
    except Refusal:
        # The purchase has been busy all the while, with the notice perhaps; who looks again will see.
        return False


def _write_claim(reference: str, not_within: float) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE bookings_payment AS payment SET asked_at = clock_timestamp()
            FROM bookings_booking AS booking
            WHERE booking.id = payment.booking_id AND booking.reference = %s
              AND booking.status = 'PENDING' AND booking.pay_by > clock_timestamp()
              AND (payment.asked_at IS NULL OR payment.asked_at <= clock_timestamp() - make_interval(secs => %s))
            """,
            [reference, not_within],
        )
        return bool(cursor.rowcount)
