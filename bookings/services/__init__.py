"""Writes of what was bought, and what needs both apps; every door comes through here."""

from bookings.services.adopting import adopt_bookings
from bookings.services.asking import ask_about_payment, ask_about_pending_payments
from bookings.services.buying import Attendee, BookingAnswer, Contact, Purchase, confirm_seats, start_booking
from bookings.services.cancelling import (
    CalledOff,
    call_off_showtime,
    cancel_booking,
    cancel_booking_for_house,
    cancel_bookings_of_cancelled_showtimes,
    cancel_bookings_of_showtime,
)
from bookings.services.demo_payments import demo_decide, demo_payment, tell_demo_notices
from bookings.services.expiring import expire_payment, settle_overdue_payments
from bookings.services.giving_up import give_up_payment
from bookings.services.reconciling import reconcile
from bookings.services.refunding import carry_out_refund, hasten_refunds
from bookings.services.settling import receive_notice, settle_payment
from bookings.services.verifying import Finding, Report, repair_seats, verify_seats

__all__ = [
    "Attendee",
    "BookingAnswer",
    "CalledOff",
    "Contact",
    "Finding",
    "Purchase",
    "Report",
    "adopt_bookings",
    "ask_about_payment",
    "ask_about_pending_payments",
    "call_off_showtime",
    "cancel_booking",
    "cancel_booking_for_house",
    "cancel_bookings_of_cancelled_showtimes",
    "cancel_bookings_of_showtime",
    "carry_out_refund",
    "confirm_seats",
    "demo_decide",
    "demo_payment",
    "expire_payment",
    "give_up_payment",
    "hasten_refunds",
    "receive_notice",
    "reconcile",
    "repair_seats",
    "settle_overdue_payments",
    "settle_payment",
    "start_booking",
    "tell_demo_notices",
    "verify_seats",
]
