"""The mails that tell a buyer what has become of a booking: written into the outbox with the change, sent after it."""

from __future__ import annotations

import enum
import urllib.parse
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bookings.models import Booking, BookingStatus, PaymentStatus
from bookings.selectors.mail_links import seal
from bookings.selectors.offers import seats_offered_instead
from bookings.selectors.purchases import bookings
from cinebook.core.outbox import effect, write_effect

MAIL = "bookings.mail"


class Mail(enum.StrEnum):
    """What a buyer is told; each has a template of its name.

    A payment that was declined, or that the buyer gave up, is told on the page alone: they are looking at it.
    """

    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    TOO_LATE = "too_late"
    CANCELLED = "cancelled"
    CANCELLED_BY_HOUSE = "cancelled_by_house"
    SHOWTIME_CANCELLED = "showtime_cancelled"
    REFUNDED = "refunded"


SUBJECTS = {
    Mail.CONFIRMED: _("Your tickets: %(movie)s, %(when)s"),
    Mail.EXPIRED: _("Not paid in time: %(movie)s, %(when)s"),
    Mail.TOO_LATE: _("Your payment came too late: %(movie)s, %(when)s"),
    Mail.CANCELLED: _("Cancelled: %(movie)s, %(when)s"),
    Mail.CANCELLED_BY_HOUSE: _("We had to cancel your booking: %(movie)s, %(when)s"),
    Mail.SHOWTIME_CANCELLED: _("This showtime is cancelled: %(movie)s, %(when)s"),
    Mail.REFUNDED: _("Your money is back: %(movie)s, %(when)s"),
}


def write_mail(*, reference: str, mail: Mail) -> None:
    """Write a mail to a booking's buyer into the outbox, in the transaction that changes the booking.

    The booking's row is locked, so its mails go out in the order in which it was changed.

    Args:
        reference: the booking's.
        mail: which one.
    """
    write_effect(subject=f"booking {reference}", name=MAIL, arguments={"reference": reference, "mail": mail.value})


@effect(MAIL)
def send_mail(*, reference: str, mail: str, key: str) -> None:
    """Send a mail to a booking's buyer: showtime and seats as they are now, in the house's language and time.

    Tickets that are good for nothing any more are not sent: the next mail says why.

    Args:
        reference: the booking's.
        mail: a value of `Mail`.
        key: becomes the mail's Message-ID, so that mail systems can tell one that was sent twice.

    Raises:
        OSError: the mail server is away, or refuses it.
    """
    booking = bookings().get(reference=reference)
    if mail == Mail.CONFIRMED and booking.status != BookingStatus.CONFIRMED:
        return
    with translation.override(settings.LANGUAGE_CODE), timezone.override(timezone.get_default_timezone()):
        message = _message(booking, Mail(mail))
    message.extra_headers = {
        "Message-ID": f"<{key}@{urllib.parse.urlsplit(settings.SITE_URL).hostname}>",
        # Nobody's holiday answers it.
        "Auto-Submitted": "auto-generated",
    }
    message.send()


def _message(booking: Booking, mail: Mail) -> EmailMultiAlternatives:
    showtime = booking.showtime
    tickets = list(booking.tickets.all())
    told: dict[str, Any] = {
        "booking": booking,
        "showtime": showtime,
        "tickets": tickets if mail is Mail.CONFIRMED else [],
        "seats": [ticket.seat.code for ticket in tickets],
        "was_paid": booking.payment.status in (PaymentStatus.REFUND_DUE, PaymentStatus.REFUNDED),
        "offered": next(iter(seats_offered_instead(booking)), []) if mail is Mail.TOO_LATE else [],
        "cinema_name": settings.CINEMA_NAME,
        "language": settings.LANGUAGE_CODE,
        "booking_url": settings.SITE_URL + reverse("opened_booking", args=[booking.reference, seal(booking.reference)]),
        "showtime_url": settings.SITE_URL + showtime.get_absolute_url(),
    }
    told["words"] = render_to_string(f"bookings/mail/{mail}.txt", told).strip()
    subject = SUBJECTS[mail] % {
        "movie": showtime.movie.title,
        "when": date_format(timezone.localtime(showtime.starts_at), gettext("l j F, H:i")),
    }
    message = EmailMultiAlternatives(subject, render_to_string("bookings/mail/_mail.txt", told).strip() + "\n")
    message.to = [booking.contact_email]
    message.attach_alternative(render_to_string("bookings/mail/_mail.html", told), "text/html")
    return message
