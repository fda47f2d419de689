"""The pages of buying: the checkout, the tickets, what one has bought, and the page of the provider `demo`."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from bookings.forms import CheckoutForm
from bookings.identity import visitor
from bookings.models import LIVE, Booking, BookingStatus, PaymentStatus
from bookings.selectors.mail_links import is_sealed
from bookings.selectors.offers import seats_offered_instead
from bookings.selectors.purchases import bookings, cancellable_until, own_booking, own_bookings, purchase_of_hold
from bookings.services import (
    Attendee,
    Contact,
    Purchase,
    ask_about_payment,
    cancel_booking,
    demo_decide,
    demo_payment,
    give_up_payment,
    start_booking,
)
from cinebook.core.error_responses import ERRORS, error_body
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rate_limits import SEAT_OPERATIONS, count_request
from seating.identity import Claimant, welcome
from seating.selectors import programme
from seating.selectors.holds import HeldSeats, live_hold, own_hold
from seating.selectors.layouts import parsed_layout
from seating.serializers import HoldSerializer
from seating.services import hold_seats, stay

# How many bookings of the past a page shows.
EARLIER = 20
# Where a session keeps which bookings its visitor has opened by the links of their mails, and how many at the most.
OPENED = "opened_bookings"
MOST_OPENED = 20
# What the buttons of the demo provider's page decide; the third decides nothing.
OUTCOMES = {"succeed": PaymentStatus.CAPTURED, "decline": PaymentStatus.DECLINED}


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def checkout(request: HttpRequest, hold_id: uuid.UUID) -> HttpResponse:
    """Buy a hold. Sent twice, it is bought once."""
    claimant = _somebody(request)
    try:
        hold = _payable(claimant, hold_id)
        stay(holder_id=claimant.holder_id, showtime_id=hold.showtime_id)
        if request.method == "POST":
            return _buy(request, claimant, hold)
    except Refusal as refusal:
        return _no_hold(request, claimant, hold_id, refusal)
    return _checkout_page(request, hold, CheckoutForm(seats=hold.seats, initial=_known_contact(request)))


@require_safe
@never_cache
def booking(request: HttpRequest, reference: str) -> HttpResponse:
    """A booking of the visitor: how it stands, and its tickets. While it waits to be paid, its provider is asked."""
    claimant, found = _own_booking(request, reference)
    provider_answers = True
    if found.status == BookingStatus.PENDING:
        provider_answers = ask_about_payment(reference=reference)
        claimant, found = _own_booking(request, reference)
    places = parsed_layout(found.showtime.layout_id).by_code
    until = cancellable_until(found)
    return render(
        request,
        "bookings/booking.html",
        {
            "booking": found,
            "provider_answers": provider_answers,
            "showtime": found.showtime,
            "tickets": [(ticket, places[ticket.seat.code]) for ticket in found.tickets.all()],
            "cancellable_until": until,
            "cancellable": found.status == BookingStatus.PENDING or timezone.now() <= until,
            "hold": _still_held(claimant, found),
            "sells": programme.sales_state(found.showtime, timezone.now()) is None,
            "offered": seats_offered_instead(found),
        },
    )


@require_POST
@never_cache
def take_instead(request: HttpRequest, reference: str) -> HttpResponse:
    """Hold seats that a booking's page offers in place of lost ones, and go on to the checkout."""
    _claimant, found = _own_booking(request, reference)
    # Whoever came by the link of a mail may be nobody yet in this browser.
    claimant = welcome(request.session, request.user)
    codes = list(dict.fromkeys(request.POST.get("take", "").split()))
    if not codes or not found.paid_too_late:
        raise Refusal(ErrorCode.INVALID_DATA)
    count_request(SEAT_OPERATIONS, str(claimant.holder_id))
    try:
        held = hold_seats(
            holder_id=claimant.holder_id, user_id=claimant.user_id, showtime_id=found.showtime_id, codes=codes
        )
    except Refusal as refusal:
        # Somebody was quicker; the booking's page has other seats.
        messages.error(request, error_body(refusal)["detail"])
        return redirect(found)
    return redirect("checkout", held.hold.hold_id)


@require_safe
@never_cache
def opened_booking(request: HttpRequest, reference: str, given: str) -> HttpResponse:
    """The link of a mail: whoever has it may see the booking and cancel it, in whichever browser."""
    if not is_sealed(reference=reference, given=given):
        raise Refusal(ErrorCode.NOT_FOUND)
    known = [known for known in request.session.get(OPENED, []) if known != reference]
    request.session[OPENED] = [*known, reference][-MOST_OPENED:]
    # Away from the address that holds the key.
    return redirect("booking", reference)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def cancel(request: HttpRequest, reference: str) -> HttpResponse:
    """Ask whether a booking shall really be cancelled, and do it."""
    _claimant, found = _own_booking(request, reference)
    if request.method == "POST":
        count_request(SEAT_OPERATIONS, str(found.holder_id))
        try:
            cancel_booking(holder_id=found.holder_id, reference=reference)
        except Refusal as refusal:
            messages.error(request, error_body(refusal)["detail"])
        return redirect(found)
    too_late = found.status == BookingStatus.CONFIRMED and timezone.now() > cancellable_until(found)
    if too_late or found.status not in LIVE:
        return redirect(found)
    return render(request, "bookings/cancel_booking.html", {"booking": found, "showtime": found.showtime})


@require_safe
@never_cache
def my_bookings(request: HttpRequest) -> HttpResponse:
    """What the visitor has bought: what is still to come first, then the rest, newest first."""
    claimant = visitor(request.session, request.user)
    if claimant is None:
        return render(request, "bookings/my_bookings.html")
    own = own_bookings(holder_id=claimant.holder_id)
    to_come = {"status__in": LIVE, "showtime__ends_at__gt": timezone.now()}
    return render(
        request,
        "bookings/my_bookings.html",
        {
            "upcoming": own.filter(**to_come).order_by("showtime__starts_at", "pk"),
            "earlier": Paginator(own.exclude(**to_come), EARLIER).get_page(request.GET.get("page")),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def demo_page(request: HttpRequest, reference: str) -> HttpResponse:
    """The page of the provider `demo`, to which its own buyers alone have the address: decide a payment that waits."""
    payment = demo_payment(reference)
    if request.method == "POST":
        outcome = OUTCOMES.get(request.POST.get("outcome", ""))
        if outcome:
            payment = demo_decide(reference=reference, outcome=outcome)
        if _own(request, payment.order):
            return redirect("booking", payment.order)
        # Who bought it elsewhere, at a kiosk say, goes on there.
        return redirect(request.path)
    return render(
        request,
        "bookings/demo_payment.html",
        {"payment": payment, "open": payment.status == PaymentStatus.PENDING},
    )


@require_GET
@never_cache
def payment_made(request: HttpRequest, reference: str) -> HttpResponse:
    """Where a provider sends a buyer who has paid, on whatever device; the provider's own word is what counts."""
    if _own(request, reference):
        # That page asks.
        return redirect("booking", reference)
    ask_about_payment(reference=reference)
    return render(request, "bookings/paid_elsewhere.html")


@require_GET
@never_cache
def payment_given_up(request: HttpRequest, reference: str) -> HttpResponse:
    """Where a provider sends a buyer who wants to pay otherwise: back to the checkout, with the hold as it was.

    A provider can only send them by a link, so this acts on a GET; whoever knows the reference may do no more by it.
    """
    claimant = visitor(request.session, request.user)
    if claimant is None or not _own(request, reference):
        return render(request, "bookings/paid_elsewhere.html", {"given_up": True})
    count_request(SEAT_OPERATIONS, str(claimant.holder_id))
    try:
        found = give_up_payment(holder_id=claimant.holder_id, reference=reference)
    except Refusal as refusal:
        messages.error(request, error_body(refusal)["detail"])
        return redirect("booking", reference)
    hold = _still_held(claimant, found)
    if hold is None:
        return redirect(found)
    messages.info(request, _("Nothing was charged. Your seats are still held for you."))
    return redirect("checkout", hold.hold_id)


def _own(request: HttpRequest, reference: str) -> bool:
    """Return whether a booking is the visitor's."""
    claimant = visitor(request.session, request.user)
    return claimant is not None and own_bookings(holder_id=claimant.holder_id).filter(reference=reference).exists()


def _somebody(request: HttpRequest) -> Claimant:
    """Return the visitor; nobody's hold or booking is a stranger's."""
    claimant = visitor(request.session, request.user)
    if claimant is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    return claimant


def _own_booking(request: HttpRequest, reference: str) -> tuple[Claimant | None, Booking]:
    """Return the visitor and a booking: their own, or one that they have opened by the link of its mail.

    Raises:
        Refusal: `not_found`.
    """
    claimant = visitor(request.session, request.user)
    if reference in request.session.get(OPENED, []):
        return claimant, bookings().get(reference=reference)
    if claimant is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    return claimant, own_booking(reference=reference, holder_id=claimant.holder_id)


def _payable(claimant: Claimant, hold_id: uuid.UUID) -> HeldSeats:
    """Return a live hold of the visitor that nobody has begun to pay.

    Raises:
        Refusal: `not_found`, `hold_expired`, `hold_paying`.
    """
    hold = own_hold(holder_id=claimant.holder_id, hold_id=hold_id)
    if hold.paying:
        raise Refusal(ErrorCode.HOLD_PAYING)
    return hold


def _buy(request: HttpRequest, claimant: Claimant, hold: HeldSeats) -> HttpResponse:
    """Buy a hold as the form says, or say on the form why not.

    Raises:
        Refusal: the hold is not there any more, or is another tab's booking by now; `rate_limited`.
    """
    count_request(SEAT_OPERATIONS, str(claimant.holder_id))
    form = CheckoutForm(request.POST, seats=hold.seats)
    if not form.is_valid():
        return _checkout_page(request, hold, form)
    try:
        bought = start_booking(
            holder_id=claimant.holder_id, user_id=claimant.user_id, hold_id=hold.hold_id, purchase=_purchase(form)
        )
    except Refusal as refusal:
        return _checkout_page(request, _payable(claimant, hold.hold_id), form, refusal)
    return _go_on(request, bought.booking)


def _known_contact(request: HttpRequest) -> dict[str, str]:
    if not request.user.is_authenticated:
        return {}
    return {"name": request.user.get_full_name(), "email": request.user.email}


def _purchase(form: CheckoutForm) -> Purchase:
    provider, token = form.provider_and_token
    return Purchase(
        provider=provider,
        token=token,
        contact=Contact(name=form.cleaned_data["name"], email=form.cleaned_data["email"]),
        attendees=tuple(Attendee(**names) for names in form.attendees),
    )


def _go_on(request: HttpRequest, found: Booking) -> HttpResponse:
    """Send the buyer on: to the provider's page, or to the tickets."""
    url = found.payment.redirect_url if found.status == BookingStatus.PENDING else ""
    # A form of ours may lead to no other site, so the policy of our pages wants it; from the booking a link does.
    ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    if ours or (url.startswith(f"{settings.STRIPE_PAGES}/") and "stripe" in settings.PAYMENT_PROVIDERS):
        return HttpResponseRedirect(url)
    return redirect(found)


def _no_hold(request: HttpRequest, claimant: Claimant, hold_id: uuid.UUID, refusal: Refusal) -> HttpResponse:
    """Answer for a hold that cannot be bought: by the booking that was made of it, if there is one."""
    found = purchase_of_hold(holder_id=claimant.holder_id, hold_id=hold_id)
    if found:
        return redirect(found)
    if refusal.code is not ErrorCode.HOLD_EXPIRED:
        raise refusal
    showtime = programme.showtime_of_hold(hold_id)
    return render(
        request, "bookings/hold_gone.html", {"showtime": showtime}, status=ERRORS[ErrorCode.HOLD_EXPIRED].status
    )


def _checkout_page(
    request: HttpRequest, hold: HeldSeats, form: CheckoutForm, refusal: Refusal | None = None
) -> HttpResponse:
    showtime = programme.showtime_to_show(hold.showtime_id)
    names = {price.category_id: price.category.name for price in programme.price_list(showtime)}
    places = parsed_layout(showtime.layout_id).by_code
    told: dict[str, Any] = {
        "showtime": showtime,
        "hold": hold,
        "hold_json": json.dumps(HoldSerializer(hold).data),
        "hold_seconds": showtime.hold_seconds or settings.SEAT_HOLD_SECONDS,
        "seats": [
            {"code": code, "category": names.get(places[code].category, ""), "amount": amount}
            for code, amount in zip(hold.seats, hold.amounts, strict=True)
        ],
        "form": form,
        "error": error_body(refusal) if refusal else None,
    }
    response = render(request, "bookings/checkout.html", told, status=ERRORS[refusal.code].status if refusal else 200)
    if refusal and "retry_after" in refusal.data:
        response["Retry-After"] = str(refusal.data["retry_after"])
    return response


def _still_held(claimant: Claimant | None, found: Booking) -> HeldSeats | None:
    """Return the hold of a booking that was not paid, if it can still be paid in another way."""
    if claimant is None or found.status != BookingStatus.CANCELLED:
        return None
    hold = live_hold(holder_id=claimant.holder_id, showtime_id=found.showtime_id)
    return hold if hold and hold.hold_id == found.hold_id and not hold.paying else None
