"""Buying what one holds.

First one transaction makes the booking and keeps its seats for as long as a payment may take. Then the provider is
asked, while nothing is locked. What it answers is settled in another transaction, as its notices are.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable, Collection, Sequence

import structlog
from django.db import transaction
from django.db.models import Q

from bookings.models import LIVE, Booking, BookingStatus, Payment, PaymentStatus, Ticket
from bookings.payments import ProviderAway, offered_provider, provider_of
from bookings.selectors.purchases import bookings
from bookings.services.purchases import away_is_refused, order_of
from bookings.services.settling import settle_answer
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.models import User
from seating.models import Hold
from seating.services import Begun, HoldInPayment, NamedRequest, Once, begin_payment, run_sale

log = structlog.get_logger(__name__)

# The bookings that a repeated request for the same seats means: those that stand, or have cost money.
BOUGHT = (BookingStatus.PENDING, BookingStatus.CONFIRMED, BookingStatus.REFUND_DUE, BookingStatus.REFUNDED)


@dataclasses.dataclass(frozen=True, slots=True)
class Contact:
    """Whom to write to."""

    name: str
    email: str


@dataclasses.dataclass(frozen=True, slots=True)
class Attendee:
    """Who sits on a seat of the booking, as far as the buyer tells."""

    seat: str
    first_name: str
    last_name: str
    id_type: str = ""
    id_number: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Purchase:
    """What a buyer says beside the seats. Without a contact it is the buyer's own, who must have one.

    `provider` takes the money; `token` is what it has given to the buyer's side.
    """

    provider: str
    token: str = ""
    contact: Contact | None = None
    attendees: tuple[Attendee, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class BookingAnswer:
    """A booking, and whether this request has made it."""

    booking: Booking
    is_new: bool


def start_booking(
    *,
    holder_id: int,
    user_id: int | None,
    hold_id: uuid.UUID,
    purchase: Purchase,
    named: NamedRequest | None = None,
) -> BookingAnswer:
    """Buy a hold. The same hold again gives the same booking; after a decline, a new one.

    Args:
        holder_id: whose hold it is.
        user_id: whose contact is taken if none is given; None for a guest, and for whoever only has the hold's token.
        hold_id: which hold.
        purchase: for whom, and who takes the money.
        named: the request, if it has named itself: a repetition goes on with the booking that it has begun.

    Returns:
        The booking: confirmed, or pending until the buyer has been on the provider's page.

    Raises:
        Refusal: `not_found` for somebody else's hold, `hold_expired`, `not_on_sale`, `payment_declined`: the hold is as
            before; `invalid_data`; `unavailable` if the provider cannot be reached: ask again; `seat_locked`.
    """
    known = Booking.objects.filter(Q(holder=holder_id) | Q(hold__holder=holder_id), hold=hold_id)
    showtime_id = Hold.objects.filter(pk=hold_id, holder=holder_id).values_list("showtime_id", flat=True).first()
    if showtime_id is None:
        # It was a guest's, who has signed in since and taken along the booking, while the hold is still being paid.
        if not known.exists():
            raise Refusal(ErrorCode.NOT_FOUND)
        showtime_id = known[0].showtime_id
    begin = functools.partial(begin_payment, holder_id=holder_id, showtime_id=showtime_id, hold_id=hold_id)
    return _buy(begin, lambda: known.filter(status__in=BOUGHT).first(), user_id=user_id, purchase=purchase, named=named)


def confirm_seats(
    *,
    holder_id: int,
    user_id: int | None,
    showtime_id: int,
    codes: Sequence[str],
    purchase: Purchase,
    hold_id: uuid.UUID | None = None,
    named: NamedRequest | None = None,
) -> BookingAnswer:
    """Buy seats that one holds; the others of that hold are released. The same seats again give the same booking.

    Args:
        holder_id: who holds them.
        user_id: whose contact is taken if none is given; None for a guest, and for whoever only has the hold's token.
        showtime_id: where and when.
        codes: the seats, each once.
        purchase: for whom, and who takes the money.
        hold_id: the one hold that is meant; None for whichever lives.
        named: the request, if it has named itself: a repetition goes on with the booking that it has begun.

    Returns:
        The booking: confirmed, or pending until the buyer has been on the provider's page.

    Raises:
        SeatsRefused: somebody else has one of the seats.
        Refusal: `hold_expired` if the seats are not held; or what `start_booking` raises.
    """
    begin = functools.partial(begin_payment, holder_id=holder_id, showtime_id=showtime_id, hold_id=hold_id, codes=codes)
    known = functools.partial(_bought_seats, holder_id=holder_id, showtime_id=showtime_id, codes=codes, hold_id=hold_id)
    return _buy(begin, known, user_id=user_id, purchase=purchase, named=named)


def _buy(
    begin: Callable[[], HoldInPayment],
    known: Callable[[], Booking | None],
    *,
    user_id: int | None,
    purchase: Purchase,
    named: NamedRequest | None,
) -> BookingAnswer:
    provider = offered_provider(purchase.provider)
    if provider is None:
        raise Refusal(ErrorCode.INVALID_DATA, errors={"payment": {"provider": ["There is no such provider."]}})
    provider.check_token(purchase.token)
    contact = purchase.contact or _own_contact(user_id)
    booking, is_new = run_sale(
        functools.partial(_begin, begin, known, contact=contact, purchase=purchase),
        once=Once(named, tell=lambda begun: Begun(begun[0].reference), resume=_begun_before) if named else None,
    )
    if is_new:
        log.info("booking.begun", reference=booking.reference, showtime_id=booking.showtime_id)
    _ask_provider(booking, purchase)
    return BookingAnswer(booking=_paid(booking), is_new=is_new)


def _begin(
    begin: Callable[[], HoldInPayment],
    known: Callable[[], Booking | None],
    *,
    contact: Contact,
    purchase: Purchase,
) -> tuple[Booking, bool]:
    """Make the booking, its tickets and its payment; or return the one that there is for these seats."""
    try:
        # What was refused halfway must leave nothing behind, for the transaction goes on.
        with transaction.atomic():
            held = begin()
    except Refusal:
        booking = known()
        if booking is None:
            raise
        return booking, False
    attendees = {attendee.seat: attendee for attendee in purchase.attendees}
    if not attendees.keys() <= {seat.code for seat in held.seats}:
        raise Refusal(ErrorCode.INVALID_DATA, errors={"attendees": ["An attendee's seat is not among those bought."]})
    booking = Booking.objects.create(
        showtime_id=held.hold.showtime_id,
        hold_id=held.hold.hold_id,
        holder_id=held.hold.holder_id,
        contact_name=contact.name,
        contact_email=contact.email,
        total_amount=sum(seat.amount for seat in held.seats),
        currency=held.hold.currency,
        pay_by=held.hold.expires_at,
        hold_expires_at=held.resumes_until,
    )
    Ticket.objects.bulk_create(
        Ticket(booking=booking, seat_id=seat.seat_id, price_amount=seat.amount, **_names(attendees.get(seat.code)))
        for seat in held.seats
    )
    Payment.objects.create(booking=booking, provider=purchase.provider, amount=booking.total_amount)
    return booking, True


def _begun_before(reference: str) -> tuple[Booking, bool]:
    """Return the booking that an earlier attempt of the same request has made, whatever has become of it since.

    Without it a repetition after a decline that was not told would pay the hold once more.
    """
    return Booking.objects.get(reference=reference), True


def _ask_provider(booking: Booking, purchase: Purchase) -> None:
    """Have the provider begin the payment, unless it has; repeated calls begin it once.

    Whoever buys a hold again in another way goes on with the payment that was begun.
    """
    payment = Payment.objects.select_related("booking").get(booking=booking)
    if payment.status != PaymentStatus.PENDING or payment.provider_reference:
        return
    order = order_of(payment, token=purchase.token if purchase.provider == payment.provider else "")
    with away_is_refused():
        try:
            state = provider_of(payment).create(order)
        except ProviderAway:
            log.warning("payment.provider_away", reference=booking.reference, provider=payment.provider)
            raise
    settle_answer(provider=payment.provider, order=order, state=state)


def _paid(booking: Booking) -> Booking:
    """Return the booking as it is now, unless its payment has failed."""
    booking = bookings().get(pk=booking.pk)
    if booking.status == BookingStatus.EXPIRED:
        raise Refusal(ErrorCode.HOLD_EXPIRED)
    if booking.payment.status == PaymentStatus.DECLINED:
        raise Refusal(ErrorCode.PAYMENT_DECLINED)
    return booking


def _bought_seats(
    *, holder_id: int, showtime_id: int, codes: Collection[str], hold_id: uuid.UUID | None
) -> Booking | None:
    """Return the holder's live booking of exactly these seats, and of this hold if one is meant; None if there is none.

    Whoever shows the token of a hold is told nothing of another one, though its holder bought the same seats with that.
    """
    live = Booking.objects.filter(holder=holder_id, showtime=showtime_id, status__in=LIVE)
    if hold_id:
        live = live.filter(hold=hold_id)
    for booking in live:
        if set(booking.tickets.values_list("seat__code", flat=True)) == set(codes):
            return booking
    return None


def _own_contact(user_id: int | None) -> Contact:
    user = User.objects.filter(pk=user_id).first() if user_id else None
    if user is None or not user.email:
        raise Refusal(ErrorCode.INVALID_DATA, errors={"contact": ["Please give a name and an e-mail address."]})
    return Contact(name=user.get_full_name() or user.username, email=user.email)


def _names(attendee: Attendee | None) -> dict[str, str]:
    if attendee is None:
        return {}
    return {
        "first_name": attendee.first_name,
        "last_name": attendee.last_name,
        "id_type": attendee.id_type,
        "id_number": attendee.id_number,
    }
