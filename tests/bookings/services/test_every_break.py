"""Purchases that break off: the process dies, or the provider cannot be reached. They end all the same, in one way.

What can happen to a payment otherwise, and in which order, is in `test_every_timing`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from bookings.models import Booking, BookingStatus, PaymentStatus
from bookings.services import BookingAnswer, cancel_booking, settle_overdue_payments, start_booking
from cinebook.core.errors import ErrorCode, Refusal
from seating.api.named_requests import refusal_answer
from seating.models import Holder, IdempotencyRecord, Showtime
from seating.selectors.holds import HeldSeats
from seating.services import Answer, NamedRequest, answer_once, keep_answer
from tests.support.asking import hold, refused
from tests.support.buying import (
    FlakyDemo,
    begin,
    buy,
    capture_and_tell,
    close_window,
    let_try_again,
    now,
    purchase,
)
from tests.support.endings import End, come_to_rest, end_of

# Nothing here is committed, and so nothing that follows a commit would tell Redis what was decided.
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("without_redis")]


def let_be_repeated() -> None:
    """Let the attempt of a process that died be long ago."""
    IdempotencyRecord.objects.update(attempted_at=timezone.now() - dt.timedelta(seconds=6))


class Killed(BaseException):
    """The process dies here."""


class TestAProcessThatDies:
    """Wherever it dies, something finds the purchase: the ticker, the same request again, or the provider's notice."""

    # Where it dies, by the function that is never begun, or never comes back.
    POINTS: tuple[tuple[str, str], ...] = (
        ("before the provider is asked", "bookings.services.buying._ask_provider"),
        ("before the answer is settled", "bookings.services.buying.settle_answer"),
        ("before the request is answered", "bookings.services.buying._paid"),
    )

    def kill_at(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        def die(*_args: Any, **_named: Any) -> None:
            raise Killed

        monkeypatch.setattr(name, die)

    def buy(self, held: HeldSeats, token: str, named: NamedRequest) -> BookingAnswer:
        return start_booking(
            holder_id=held.holder_id, user_id=None, hold_id=held.hold_id, purchase=purchase(token), named=named
        )

    @pytest.mark.parametrize("found_by", ["the ticker", "the same key", "the same hold", "a notice"])
    @pytest.mark.parametrize("token", ["succeed", "decline"])
    @pytest.mark.parametrize(("_point", "name"), POINTS, ids=[point for point, _name in POINTS])
    def test_while_buying(
        self,
        *,
        showtime: Showtime,
        ada: Holder,
        provider: FlakyDemo,
        monkeypatch: pytest.MonkeyPatch,
        _point: str,
        name: str,
        token: str,
        found_by: str,
    ) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        named = NamedRequest(holder_id=ada.pk, key="k", request_hash="h")

        def ask() -> Answer:
            return answer_once(
                named=named,
                work=lambda: keep_answer(
                    named=named, answer=Answer(201, self.buy(held, token, named).booking.reference)
                ),
                refuse=refusal_answer,
            )

        with monkeypatch.context() as patch:
            self.kill_at(patch, name)
            with pytest.raises(Killed):
                ask()
        booking = Booking.objects.get()
        asked = "create" in provider.calls
        match found_by:
            case "the same key":
                let_be_repeated()
                told = ask()
                assert told == ask() == Answer(201, booking.reference) if token == "succeed" else told.status == 402
            case "the same hold":
                with contextlib.suppress(Refusal):
                    buy(held, token)
            case "a notice" if asked and token == "succeed":
                capture_and_tell(booking)
        come_to_rest(booking, provider)
        paid = token == "succeed" and (asked or found_by.startswith("the same"))
        assert end_of(booking) == (End.TICKETS if paid else End.NOTHING)
        # After a decline that was not told the same hold is bought anew; by its key it is known to have been declined.
        if found_by != "the same hold":
            assert Booking.objects.count() == 1

    @pytest.mark.parametrize("lost", [False, True], ids=["before the refund", "after the refund"])
    def test_while_the_money_goes_back(
        self,
        showtime: Showtime,
        ada: Holder,
        ben: Holder,
        provider: FlakyDemo,
        monkeypatch: pytest.MonkeyPatch,
        *,
        lost: bool,
    ) -> None:
        booking, _answer = begin(hold(showtime, ada, "A1", "A2").hold, provider, "stall")
        provider.away = {"cancel"}
        close_window(booking, grace=True)
        settle_overdue_payments()
        hold(showtime, ben, "A1")
        point = "refunding._write" if lost else "refunding.provider_of"
        with monkeypatch.context() as patch:
            self.kill_at(patch, f"bookings.services.{point}")
            with pytest.raises(Killed):
                capture_and_tell(booking)
        assert now(booking) == (BookingStatus.REFUND_DUE, PaymentStatus.REFUND_DUE)
        # Its notice again changes nothing, and the ticker finds it.
        capture_and_tell(booking)
        come_to_rest(booking, provider)
        assert end_of(booking) == End.OFFER


class TestAProviderThatCannotBeReached:
    """For any of its calls, whether it hears them or not."""

    @pytest.mark.parametrize("paid", [False, True], ids=["nobody pays", "somebody pays"])
    @pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
    @pytest.mark.parametrize("call", ["create", "cancel", "refund"])
    @pytest.mark.parametrize("ended_by", ["the clock", "the buyer"])
    def test_it_ends_all_the_same(
        self, showtime: Showtime, ada: Holder, provider: FlakyDemo, ended_by: str, call: str, *, heard: bool, paid: bool
    ) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        (provider.lost if heard else provider.away).add(call)
        if call == "create":
            with refused(ErrorCode.UNAVAILABLE) as data:
                buy(held, "stall")
            assert data["retry_after"]
        else:
            buy(held, "stall")
        booking = Booking.objects.get()
        there = call != "create" or heard
        if paid and there:
            capture_and_tell(booking)
        if ended_by == "the buyer":
            with contextlib.suppress(Refusal):
                cancel_booking(holder_id=ada.pk, reference=booking.reference)
        else:
            close_window(booking, grace=True)
            settle_overdue_payments()
        given_up = now(booking)[0] not in (BookingStatus.EXPIRED, BookingStatus.CONFIRMED)
        let_try_again(booking)
        come_to_rest(booking, provider)
        if not (paid and there):
            assert end_of(booking) == End.NOTHING
        else:
            assert end_of(booking) == (End.REFUND if given_up and ended_by == "the buyer" else End.TICKETS)
