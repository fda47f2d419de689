"""The rows of a purchase: locked before those of its seats, and changed together with them.

The one order of locks begins here: payment, booking, and then what the steps of `seating` lock.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from bookings.models import Booking, BookingStatus, Payment, PaymentStatus
from bookings.payments import Order, PaymentUnderWay, ProviderAway
from bookings.services.mailing import Mail, write_mail
from cinebook.core.errors import ErrorCode, Refusal
from seating.services import BookedHold, demand_transaction, run_sale

# How long a payment is left alone after its provider was asked, in seconds.
RETRY_SECONDS = 30
# The longest that a refund is left alone which the provider does not carry out, in seconds.
LONGEST_RETRY_SECONDS = 3600
# After how many seconds to ask again when the provider could not be reached, or is still at it.
RETRY_AFTER_PROVIDER = 5
UNDER_WAY = _("The payment is under way. Please look again in a moment.")


@dataclasses.dataclass(frozen=True, slots=True)
class LockedPurchase:
    """A booking and its payment, whose rows are locked, as they are at `now` by PostgreSQL's clock.

    `prices` has its seats by their codes, in minor units.
    """

    payment: Payment
    booking: Booking
    hold: BookedHold
    prices: dict[str, int]
    now: dt.datetime

    @property
    def is_pending(self) -> bool:
        """Whether it is being paid."""
        return self.booking.status == BookingStatus.PENDING


def lock_purchase(*, reference: str) -> LockedPurchase | None:
    """Lock a booking's payment and the booking; return None if there is none with this reference."""
    demand_transaction()
    payment = Payment.objects.select_for_update(no_key=True, of=("self",)).filter(booking__reference=reference).first()
    if payment is None:
        return None
    booking = (
        Booking.objects.select_for_update(no_key=True, of=("self",))
        .select_related("hold", "showtime")
        .get(pk=payment.booking_id)
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return LockedPurchase(
        payment=payment,
        booking=booking,
        hold=BookedHold(hold_id=booking.hold_id, holder_id=booking.hold.holder_id, showtime_id=booking.showtime_id),
        prices=dict(booking.tickets.values_list("seat__code", "price_amount")),
        now=now,
    )


def order_of(payment: Payment, *, token: str = "") -> Order:
    """Return what a payment's provider is asked about: the same order every time."""
    booking = payment.booking
    return Order(
        reference=booking.reference,
        amount=payment.amount,
        currency=booking.currency,
        pay_by=booking.pay_by,
        token=token,
        provider_reference=payment.provider_reference,
    )


@contextmanager
def away_is_refused() -> Iterator[None]:
    """Refuse, instead of failing, what a provider keeps from being done.

    Raises:
        Refusal: `hold_paying` while the money is under way; `unavailable` if the provider cannot be reached.
    """
    try:
        yield
    except PaymentUnderWay:
        raise Refusal(ErrorCode.HOLD_PAYING, UNDER_WAY, retry_after=RETRY_AFTER_PROVIDER) from None
    except ProviderAway:
        raise Refusal(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER_PROVIDER) from None


def claim_expiry(*, reference: str) -> bool:
    """Return whether a payment's window is over, and it is for the caller to ask the provider to cancel it now."""
    return _claim(reference, "booking.status = 'PENDING' AND booking.pay_by <= clock_timestamp()")


def claim_refund(*, reference: str) -> bool:
    """Return whether a payment is to be refunded, and it is for the caller to ask the provider for that now.

    Each time it takes twice as long until somebody may ask again, up to `LONGEST_RETRY_SECONDS`: what the provider has
    refused for an hour it will refuse for another minute.
    """
    return _claim(
        reference,
        "payment.status = 'REFUND_DUE'",
        pause="least(%(retry)s * power(2, least(refund_attempts, 10)), %(longest)s)",
        also=", refund_attempts = least(refund_attempts + 1, 1000)",
    )


def write_confirmed(purchase: LockedPurchase) -> None:
    """Write that the money has come and the seats are sold; the tickets are issued."""
    purchase.booking.tickets.update(issued_at=Now(), cancelled_at=None)
    _write_booking(purchase, status=BookingStatus.CONFIRMED, confirmed_at=Now(), ended_at=None)
    _write_payment(purchase, status=PaymentStatus.CAPTURED, captured_amount=F("amount"))
    write_mail(reference=purchase.booking.reference, mail=Mail.CONFIRMED)


def write_unpaid(purchase: LockedPurchase, *, booking: BookingStatus, payment: PaymentStatus) -> None:
    """Write how a purchase ended for which no money has come."""
    _cancel_tickets(purchase)
    _write_booking(purchase, status=booking, ended_at=Now())
    _write_payment(purchase, status=payment)
    if booking is BookingStatus.EXPIRED:
        write_mail(reference=purchase.booking.reference, mail=Mail.EXPIRED)


def write_refund_due(purchase: LockedPurchase, *, mail: Mail, at_once: bool = True) -> None:
    """Write that the money has come and is to be given back.

    Args:
        at_once: the caller asks the provider for it after the commit, and for a while nobody else does; otherwise it is
            left to whoever comes by.
        mail: says why. With `TOO_LATE` the seats are still wanted but gone: equal ones are offered.
    """
    _cancel_tickets(purchase)
    _write_booking(
        purchase,
        status=BookingStatus.REFUND_DUE,
        ended_at=Coalesce(F("ended_at"), Now()),
        paid_too_late=mail is Mail.TOO_LATE,
    )
    wait = dt.timedelta(seconds=RETRY_SECONDS if at_once else 0)
    _write_payment(
        purchase,
        status=PaymentStatus.REFUND_DUE,
        captured_amount=F("amount"),
        next_attempt_at=Now() + wait,
        refund_attempts=int(at_once),
    )
    write_mail(reference=purchase.booking.reference, mail=mail)


def write_refund_claimed(purchase: LockedPurchase, *, failed: bool = False) -> None:
    """Write that for a while nobody but the caller asks for a refund that is due.

    Args:
        purchase: whose refund is due, or was made.
        failed: the provider did not get rid of the money after all, so it is due again.
    """
    if failed:
        _write_booking(purchase, status=BookingStatus.REFUND_DUE)
    _write_payment(
        purchase,
        status=PaymentStatus.REFUND_DUE,
        refunded_amount=0,
        next_attempt_at=Now() + dt.timedelta(seconds=RETRY_SECONDS),
    )


def write_refunded(purchase: LockedPurchase) -> None:
    """Write that the money has been given back."""
    _write_booking(purchase, status=BookingStatus.REFUNDED)
    _write_payment(purchase, status=PaymentStatus.REFUNDED, refunded_amount=F("captured_amount"))
    write_mail(reference=purchase.booking.reference, mail=Mail.REFUNDED)


def write_provider_reference(purchase: LockedPurchase, *, reference: str, redirect_url: str) -> None:
    """Write what the provider calls a payment, and where the buyer goes on, once it has told."""
    _write_payment(
        purchase,
        provider_reference=reference,
        redirect_url=Value(redirect_url) if redirect_url else F("redirect_url"),
    )


def _cancel_tickets(purchase: LockedPurchase) -> None:
    purchase.booking.tickets.filter(cancelled_at=None).update(cancelled_at=Now())


def _write_booking(purchase: LockedPurchase, **columns: object) -> None:
    Booking.objects.filter(pk=purchase.booking.pk).update(**columns)


def _write_payment(purchase: LockedPurchase, **columns: object) -> None:
    Payment.objects.filter(pk=purchase.payment.pk).update(updated_at=Now(), **columns)


def _claim(reference: str, condition: str, *, pause: str = "%(retry)s", also: str = "") -> bool:
    """Return whether the caller is the one to ask the provider; for a while nobody else is.

    Args:
        reference: the booking's.
        condition: what must hold of it, in SQL.
        pause: for how long nobody else is, in seconds, in SQL.
        also: what else is written, in SQL.
    """
    try:
        return run_sale(functools.partial(_write_claim, reference, condition, pause, also))
    except Refusal:
        # Somebody has been busy with the purchase all the while; whoever comes by next sees what has become of it.
        return False


def _write_claim(reference: str, condition: str, pause: str, also: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE bookings_payment AS payment
            SET next_attempt_at = clock_timestamp() + make_interval(secs => {pause}){also}
            FROM bookings_booking AS booking
            WHERE booking.id = payment.booking_id AND booking.reference = %(reference)s
              AND payment.next_attempt_at <= clock_timestamp() AND {condition}
            """,  # noqa: S608 - our own words
            {"retry": RETRY_SECONDS, "longest": LONGEST_RETRY_SECONDS, "reference": reference},
        )
        return bool(cursor.rowcount)
