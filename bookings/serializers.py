"""The shapes in which bookings are asked for and told of, one set for REST and sockets."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.validators import EmailValidator, RegexValidator
from rest_framework import serializers

from bookings.models import Booking, BookingStatus, PaymentStatus, Ticket
from bookings.selectors.offers import seats_offered_instead
from bookings.services import Attendee, Contact, Purchase
from cinebook.core.fields import MoneySerializer, TextField, UtcDateTimeField, WholeNumberField, money
from seating.models import Showtime
from seating.serializers import LONGEST_CODE, AuditoriumSerializer, MovieReferenceSerializer, SeatCodesField

# More than any hold may have: see MAX_SEATS_PER_HOLD.
MOST_ATTENDEES = 100
ONE_LINE = RegexValidator(r"\A[^\x00-\x1f\x7f]*\Z", "This must be a single line of text.")


class LineField(TextField):
    """One line of text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(ONE_LINE)


class UuidField(serializers.UUIDField):
    """A UUID as text: DRF's own takes numbers for it too."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        """Return it.

        Raises:
            ValidationError: it is something else.
        """
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        value: uuid.UUID = super().to_internal_value(data)
        return value


# --- What is asked ---------------------------------------------------------------------------------------------------


class ContactRequest(serializers.Serializer[Any]):
    """Whom to write to."""

    name = LineField(max_length=200)
    email = TextField(max_length=254, validators=[EmailValidator()])


class AttendeeRequest(serializers.Serializer[Any]):
    """Who sits where."""

    seat = TextField(max_length=LONGEST_CODE)
    first_name = LineField(max_length=100)
    last_name = LineField(max_length=100)
    id_type = LineField(max_length=40, required=False, allow_blank=True)
    id_number = LineField(max_length=60, required=False, allow_blank=True)


class PaymentRequest(serializers.Serializer[Any]):
    """Who takes the money, and what they have given to the buyer's side."""

    provider = TextField(max_length=30)
    token = TextField(max_length=500, required=False, allow_blank=True)


class PurchaseRequest(serializers.Serializer[Any]):
    """What is said of every purchase beside its seats."""

    contact = ContactRequest(required=False, help_text="A signed-in user may leave it out: then it is their own.")
    attendees = serializers.ListField(child=AttendeeRequest(), max_length=MOST_ATTENDEES, required=False)
    payment = PaymentRequest()

    def validate_attendees(self, attendees: list[dict[str, str]]) -> list[dict[str, str]]:
        """Return the attendees.

        Raises:
            ValidationError: two of them have one seat.
        """
        if len({attendee["seat"] for attendee in attendees}) < len(attendees):
            raise serializers.ValidationError("A seat is named twice.")
        return attendees


def purchase_of(said: dict[str, Any]) -> Purchase:
    """Return what a `PurchaseRequest` has found valid, as the services take it."""
    return Purchase(
        provider=said["payment"]["provider"],
        token=said["payment"].get("token", ""),
        contact=Contact(**said["contact"]) if "contact" in said else None,
        attendees=tuple(Attendee(**attendee) for attendee in said.get("attendees", ())),
    )


class BookingRequest(PurchaseRequest):
    """Buy a hold."""

    hold_id = UuidField()


class ConfirmRequest(PurchaseRequest):
    """Buy seats that one holds; the others of that hold are released."""

    showtime_id = WholeNumberField(min_value=1, max_value=2**63 - 1)
    seats = SeatCodesField()


# --- What is told ----------------------------------------------------------------------------------------------------


class BookedShowtimeSerializer(serializers.ModelSerializer[Showtime]):
    """What the booking is for."""

    movie = MovieReferenceSerializer()
    auditorium = AuditoriumSerializer()
    starts_at = UtcDateTimeField()
    ends_at = UtcDateTimeField(help_text="When the room is free again.")

    class Meta:
        model = Showtime
        fields = ("id", "movie", "auditorium", "starts_at", "ends_at")


class TicketSerializer(serializers.Serializer[Ticket]):
    """One admission. `code` is what the door reads."""

    seat = serializers.CharField(source="seat.code")
    code = serializers.CharField()
    price = MoneySerializer()
    first_name = serializers.CharField()
    last_name = serializers.CharField()

    def to_representation(self, instance: Ticket) -> dict[str, Any]:
        """Return the ticket; the number of somebody's papers is for the door, and told to nobody else."""
        return {
            "seat": instance.seat.code,
            "code": instance.code,
            "price": money(instance.price_amount, instance.booking.currency),
            "first_name": instance.first_name,
            "last_name": instance.last_name,
        }


class ContactSerializer(serializers.Serializer[Any]):
    """Whom the house writes to."""

    name = serializers.CharField()
    email = serializers.CharField()


class BookingPaymentSerializer(serializers.Serializer[Any]):
    """How the payment stands; `redirect_url` is there while the buyer has to go on at the provider."""

    provider = serializers.CharField()
    status = serializers.ChoiceField(PaymentStatus.values)
    redirect_url = serializers.CharField(required=False)


class BookingSerializer(serializers.Serializer[Booking]):
    """A booking with its tickets, which are there while they are good.

    The context may have `absolute`, which makes an address of ours complete for whoever asks.
    """

    reference = serializers.CharField()
    status = serializers.ChoiceField(BookingStatus.values)
    showtime = BookedShowtimeSerializer()
    seats = serializers.ListField(child=serializers.CharField())
    tickets = TicketSerializer(many=True)
    total = MoneySerializer()
    contact = ContactSerializer()
    created_at = UtcDateTimeField()
    payment = BookingPaymentSerializer()
    alternatives = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text=(
            "Only if the money came when the seats could not be had any more, and goes back: free seats equal to "
            "those, group by group. Nothing is reserved."
        ),
    )

    def to_representation(self, instance: Booking) -> dict[str, Any]:
        """Return the booking, which `bookings.selectors` has read."""
        tickets = list(instance.tickets.all())
        good = [ticket for ticket in tickets if ticket.issued_at and not ticket.cancelled_at]
        return {
            "reference": instance.reference,
            "status": instance.status,
            "showtime": BookedShowtimeSerializer(instance.showtime).data,
            "seats": [ticket.seat.code for ticket in tickets],
            "tickets": [TicketSerializer(ticket).data for ticket in good],
            "total": money(instance.total_amount, instance.currency),
            "contact": {"name": instance.contact_name, "email": instance.contact_email},
            "created_at": UtcDateTimeField().to_representation(instance.created_at),
            "payment": self._payment(instance),
            **({"alternatives": seats_offered_instead(instance)} if instance.paid_too_late else {}),
        }

    def _payment(self, booking: Booking) -> dict[str, str]:
        payment = booking.payment
        told = {"provider": payment.provider, "status": payment.status}
        if booking.status == BookingStatus.PENDING and payment.redirect_url:
            absolute = self.context.get("absolute", str)
            told["redirect_url"] = absolute(payment.redirect_url)
        return told


class NoticeTakenSerializer(serializers.Serializer[Any]):
    """The provider need not send this notice again."""

    received = serializers.BooleanField()
