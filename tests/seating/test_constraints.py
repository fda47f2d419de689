"""What must never happen, the database refuses by name, whoever asks: here a plain UPDATE does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from bookings.models import BookingStatus
from seating.models import BlockReason, Holder, Seat, SeatEvent, SeatHold, SeatStatus, Showtime, ShowtimeSales
from tests import factories

pytestmark = pytest.mark.django_db


@contextmanager
def refused_by(constraint: str) -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            # What waits for the end of the transaction shall speak now.
            connection.check_constraints()
    except IntegrityError as error:
        assert constraint in str(error)  # noqa: PT017 - the other way has no place for check_constraints
    else:
        pytest.fail(f"{constraint} let it pass")


@pytest.fixture
def showtime() -> Showtime:
    return factories.make_showtime()


@pytest.fixture
def seat(showtime: Showtime) -> Seat:
    return showtime.seats.get(code="A1")


def update(row: Any, **columns: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(**columns)


def reserved(showtime: Showtime) -> dict[str, Any]:
    now = timezone.now()
    return {
        "status": SeatStatus.RESERVED,
        "hold": factories.HoldFactory(showtime=showtime),
        "reserved_at": now,
        "reserved_until": now + dt.timedelta(minutes=15),
    }


def sold(showtime: Showtime) -> dict[str, Any]:
    return {
        "status": SeatStatus.SOLD,
        "hold": factories.HoldFactory(showtime=showtime),
        "sold_at": timezone.now(),
    }


class TestSeat:
    def test_every_legal_state_is_accepted(self, showtime: Showtime) -> None:
        a1, a2, a3, a4 = showtime.seats.all()[:4]
        update(a1, **reserved(showtime))
        update(a2, **reserved(showtime), paying=True)
        update(a3, **sold(showtime))
        update(a4, status=SeatStatus.BLOCKED, block_reason=BlockReason.BROKEN)

        assert showtime.seats.filter(status=SeatStatus.AVAILABLE).count() == 14

    @pytest.mark.parametrize(
        "leftover", [{"reserved_until": timezone.now()}, {"sold_at": timezone.now()}, {"paying": True}]
    )
    def test_an_available_seat_keeps_nothing_of_its_past(self, seat: Seat, leftover: dict[str, Any]) -> None:
        with refused_by("seat_available_belongs_to_nobody"):
            update(seat, **leftover)

    @pytest.mark.parametrize("missing", ["hold", "reserved_at", "reserved_until"])
    def test_a_reservation_has_a_hold_and_an_end(self, seat: Seat, showtime: Showtime, missing: str) -> None:
        with refused_by("seat_reserved_has_a_hold_and_an_end"):
            update(seat, **{**reserved(showtime), missing: None})

    @pytest.mark.parametrize("missing", ["hold", "sold_at"])
    def test_a_sale_has_a_hold_and_a_time(self, seat: Seat, showtime: Showtime, missing: str) -> None:
        with refused_by("seat_sold_has_a_hold"):
            update(seat, **{**sold(showtime), missing: None})

    def test_a_blocked_seat_has_a_reason(self, seat: Seat) -> None:
        with refused_by("seat_blocked_has_a_reason"):
            update(seat, status=SeatStatus.BLOCKED)

    def test_a_sold_seat_is_not_blocked_in_passing(self, seat: Seat, showtime: Showtime) -> None:
        update(seat, **sold(showtime))
        with refused_by("seat_blocked_has_a_reason"):
            update(seat, status=SeatStatus.BLOCKED, block_reason=BlockReason.BROKEN)

    def test_a_seat_is_never_in_a_hold_at_another_showtime(self, seat: Seat) -> None:
        with refused_by("seat_has_a_hold_at_its_showtime"):
            update(seat, **reserved(factories.make_showtime()))

    def test_there_is_no_fifth_status(self, seat: Seat) -> None:
        with refused_by("seat_status_is_known"):
            update(seat, status="LOST")

    def test_a_seat_is_one_row(self, seat: Seat) -> None:
        with refused_by("seat_code_is_unique_in_its_showtime"):
            Seat.objects.create(showtime=seat.showtime, code=seat.code, position=99)


class TestHold:
    def test_a_seat_is_in_one_live_hold(self, seat: Seat, showtime: Showtime) -> None:
        first, second = factories.HoldFactory(showtime=showtime), factories.HoldFactory(showtime=showtime)
        audit = SeatHold.objects.create(hold=first, seat=seat, price_amount=1200)
        with refused_by("seat_is_in_one_live_hold"):
            SeatHold.objects.create(hold=second, seat=seat, price_amount=1200)

        update(audit, ended_at=timezone.now(), end_reason="released")
        SeatHold.objects.create(hold=second, seat=seat, price_amount=1200)

    def test_a_holder_has_one_live_hold_per_showtime(self, showtime: Showtime) -> None:
        hold = factories.HoldFactory(showtime=showtime)
        with refused_by("holder_has_one_live_hold_per_showtime"):
            factories.HoldFactory(showtime=showtime, holder=hold.holder)

        update(hold, ended_at=timezone.now(), end_reason="expired")
        factories.HoldFactory(showtime=showtime, holder=hold.holder)

    @pytest.mark.parametrize("half", [{"ended_at": timezone.now()}, {"end_reason": "expired"}])
    def test_what_ended_says_how(self, showtime: Showtime, seat: Seat, half: dict[str, Any]) -> None:
        hold = factories.HoldFactory(showtime=showtime)
        audit = SeatHold.objects.create(hold=hold, seat=seat, price_amount=1200)
        with refused_by("hold_that_ended_says_how"):
            update(hold, **half)
        with refused_by("seat_hold_that_ended_says_how"):
            update(audit, **half)

    def test_a_hold_that_ended_is_not_being_paid(self, showtime: Showtime) -> None:
        hold = factories.HoldFactory(showtime=showtime, paying=True)
        with refused_by("hold_that_ended_says_how"):
            update(hold, ended_at=timezone.now(), end_reason="expired")

    def test_a_holder_is_either_a_user_or_a_guest(self) -> None:
        guest = factories.HolderFactory()
        with refused_by("holder_is_either_a_user_or_a_guest"):
            update(guest, user=factories.UserFactory())
        with refused_by("holder_is_either_a_user_or_a_guest"):
            Holder.objects.create()

    def test_the_audit_table_has_its_public_name(self) -> None:
        assert SeatHold._meta.db_table == "seat_holds"


class TestLedger:
    def test_a_seat_changes_once_per_version(self, seat: Seat, showtime: Showtime) -> None:
        line = {"showtime": showtime, "seat": seat, "from_status": "AVAILABLE", "to_status": "RESERVED"}
        SeatEvent.objects.create(seq=1, cause="held", **line)
        with refused_by("seat_changes_once_per_version"):
            SeatEvent.objects.create(seq=1, cause="held", **line)

    def test_the_ledger_is_only_appended_to(self, seat: Seat, showtime: Showtime) -> None:
        line = {"showtime": showtime, "seat": seat, "from_status": "AVAILABLE", "to_status": "RESERVED"}
        event = SeatEvent.objects.create(seq=1, cause="held", **line)
        with refused_by("ledger_is_only_appended_to"):
            update(event, seq=2)
        with refused_by("ledger_is_only_appended_to"):
            event.delete()
        with refused_by("seat_event_is_in_known_words"):
            SeatEvent.objects.create(seq=2, cause="magic", **line)

    def test_the_audit_is_never_deleted(self, seat: Seat, showtime: Showtime) -> None:
        audit = SeatHold.objects.create(hold=factories.HoldFactory(showtime=showtime), seat=seat, price_amount=1)
        with refused_by("audit_is_never_deleted"):
            audit.delete()

    def test_saving_a_showtime_leaves_its_version_alone(self, showtime: Showtime) -> None:
        ShowtimeSales.objects.filter(showtime=showtime).update(seq=7, sales_open=False)
        showtime.save()

        sales = ShowtimeSales.objects.get(showtime=showtime)
        assert (sales.seq, sales.sales_open) == (7, False)


class TestShowtime:
    def test_an_auditorium_shows_one_film_at_a_time(self, showtime: Showtime) -> None:
        with refused_by("auditorium_shows_one_film_at_a_time"):
            factories.make_showtime(
                auditorium=showtime.auditorium, starts_at=showtime.ends_at - dt.timedelta(minutes=1)
            )

    def test_another_room_or_the_minute_it_ends_is_free(self, showtime: Showtime) -> None:
        factories.make_showtime(starts_at=showtime.starts_at)
        factories.make_showtime(auditorium=showtime.auditorium, starts_at=showtime.ends_at)

    def test_a_cancelled_showtime_gives_its_room_back(self, showtime: Showtime) -> None:
        update(showtime, cancelled_at=timezone.now())
        factories.make_showtime(auditorium=showtime.auditorium, starts_at=showtime.starts_at)

    def test_times_stand_in_order(self, showtime: Showtime) -> None:
        with refused_by("showtime_ends_after_it_starts"):
            update(showtime, ends_at=showtime.starts_at)
        with refused_by("showtime_sales_close_after_they_open"):
            update(showtime, sales_close_at=showtime.sales_open_at)
        with refused_by("showtime_hold_lasts_at_least_2_seconds"):
            update(showtime, hold_seconds=1)

    def test_a_layout_never_changes(self, showtime: Showtime) -> None:
        with pytest.raises(ValidationError, match="never changes"):
            showtime.layout.save()
        with refused_by("layout_never_changes"):
            update(showtime.layout, geometry={})

    def test_a_layout_is_one_of_the_showtimes_own_room(self, showtime: Showtime) -> None:
        with refused_by("showtime_has_a_layout_of_its_auditorium"):
            update(showtime, layout=factories.AuditoriumFactory().current_layout())

    def test_what_was_cancelled_stays_cancelled_even_if_a_stale_form_is_saved(self, showtime: Showtime) -> None:
        stale = Showtime.objects.get(pk=showtime.pk)
        update(showtime, cancelled_at=timezone.now())
        with refused_by("showtime_stays_cancelled"):
            stale.save()

    def test_a_currency_is_a_code(self, showtime: Showtime) -> None:
        with refused_by("showtime_currency_is_a_code"):
            update(showtime, currency="eur")


class TestBooking:
    def test_a_seat_has_one_ticket(self, showtime: Showtime) -> None:
        ticket = factories.TicketFactory(booking__hold__showtime=showtime)
        with refused_by("seat_has_one_ticket"):
            factories.TicketFactory(booking__hold__showtime=showtime)

        update(ticket, cancelled_at=timezone.now())
        factories.TicketFactory(booking__hold__showtime=showtime)

    def test_a_hold_may_be_paid_again_after_a_decline_and_only_then(self, showtime: Showtime) -> None:
        declined = factories.BookingFactory(hold__showtime=showtime)
        with refused_by("hold_has_one_live_booking"):
            factories.BookingFactory(hold=declined.hold)

        update(declined, status=BookingStatus.CANCELLED, ended_at=timezone.now())
        again = factories.BookingFactory(hold=declined.hold)
        update(again, status=BookingStatus.CONFIRMED, confirmed_at=timezone.now())
        # The first payment arrives all the same: its money goes back.
        update(declined, status=BookingStatus.REFUND_DUE)

    def test_a_booking_is_of_a_hold_at_its_showtime(self, showtime: Showtime) -> None:
        booking = factories.BookingFactory(hold__showtime=showtime)
        with refused_by("booking_has_a_hold_at_its_showtime"):
            update(booking, showtime=factories.make_showtime())

    def test_a_confirmed_booking_says_when(self, showtime: Showtime) -> None:
        booking = factories.BookingFactory(hold__showtime=showtime)
        with refused_by("booking_confirmed_has_a_time"):
            update(booking, status=BookingStatus.CONFIRMED)
        with refused_by("booking_pending_was_never_confirmed"):
            update(booking, confirmed_at=timezone.now())

    @pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED", "REFUND_DUE", "REFUNDED"])
    def test_a_booking_that_ended_says_when(self, showtime: Showtime, status: str) -> None:
        booking = factories.BookingFactory(hold__showtime=showtime)
        with refused_by("booking_that_ended_has_a_time"):
            update(booking, status=status)

    def test_money_does_not_come_from_nowhere(self, showtime: Showtime) -> None:
        payment = factories.PaymentFactory(booking__hold__showtime=showtime)
        with refused_by("payment_captures_at_most_its_amount"):
            update(payment, captured_amount=payment.amount + 1)
        with refused_by("payment_refunds_at_most_what_it_captured"):
            update(payment, refunded_amount=1)
        with refused_by("payment_status_matches_its_amounts"):
            update(payment, status="CAPTURED")
        with refused_by("payment_status_matches_its_amounts"):
            update(payment, status="DECLINED", captured_amount=payment.amount)
        with refused_by("payment_status_matches_its_amounts"):
            update(payment, status="REFUNDED", captured_amount=payment.amount, refunded_amount=1)
        update(payment, status="REFUNDED", captured_amount=payment.amount, refunded_amount=payment.amount)

    def test_a_reference_can_be_read_out_and_not_guessed(self, showtime: Showtime) -> None:
        booking = factories.BookingFactory(hold__showtime=showtime)
        booking.full_clean()

        assert len(booking.reference) == 13
        booking.reference = "BK-ILOU000000"
        with pytest.raises(ValidationError):
            booking.full_clean()
