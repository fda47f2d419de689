"""What can happen to a payment, and how it ends: the lines of the table in docs/payments.md, and all orders.

Whatever comes, in whatever order, there is exactly one end: tickets; the money back, once, with or without an offer of
equal seats; or nothing paid and the seats free. `tests.support.endings` judges.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from bookings.models import Booking, BookingStatus, PaymentStatus
from bookings.payments.demo import DemoProvider, demo_notice
from bookings.selectors.offers import seats_offered_instead
from bookings.services import (
    BookingAnswer,
    call_off_showtime,
    cancel_booking,
    cancel_booking_for_house,
    cancel_bookings_of_showtime,
    receive_notice,
    settle_overdue_payments,
    start_booking,
)
from bookings.services.purchases import order_of
from bookings.services.settling import settle_answer
from cinebook.core.errors import ErrorCode, Refusal, SeatsRefused
from seating.api.named_requests import refusal_answer
from seating.models import BlockReason, Holder, IdempotencyRecord, Showtime
from seating.selectors.holds import HeldSeats
from seating.services import Answer, NamedRequest, answer_once, block_seats, keep_answer, stop_sales
from tests import factories
from tests.support.asking import hold, refused
from tests.support.buying import (
    FlakyDemo,
    books,
    buy,
    capture_silently,
    close_window,
    decide,
    let_try_again,
    now,
    purchase,
)
from tests.support.endings import End, come_to_rest, end_of
from tests.support.passing_time import run_out

# Nothing here is committed, and so nothing that follows a commit would tell Redis what was decided.
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("without_redis")]

Happening = Callable[[], Any]


def capture_and_tell(booking: Booking) -> None:
    """Let the provider have the money, whatever it has said before, and tell so; once more if it has given it back."""
    there = books(booking)
    if there.status != PaymentStatus.REFUNDED:
        capture_silently(booking)
    there.status = PaymentStatus.CAPTURED
    notice = demo_notice(there)
    assert notice is not None
    receive_notice(provider="demo", body=notice.body, headers=notice.headers)


def outcome_of(happening: Happening) -> Any:
    """Let it happen; a refusal is an outcome."""
    try:
        return happening()
    except Refusal as refusal:
        return refusal


def begin(held: HeldSeats, provider: FlakyDemo, token: str) -> tuple[Booking, Happening]:
    """Begin a purchase whose web process then hangs; return it, and what lets the provider's answer arrive."""
    provider.lost = {"create"}
    with refused(ErrorCode.UNAVAILABLE):
        buy(held, token)
    provider.lost = set()
    booking = Booking.objects.select_related("payment").get(hold=held.hold_id, status=BookingStatus.PENDING)
    order = order_of(booking.payment)
    state = DemoProvider().create(order)
    return booking, lambda: settle_answer(provider="demo", order=order, state=state)


class TestEveryOrder:
    """The answer to the request, a notice that comes twice, the buyer who gives up, and the clock; in every order."""

    MESSAGES = ("answer", "notice", "notice again", "cancel", "expiry")
    # A notice that comes twice comes first once.
    ORDERS = tuple(
        order for order in itertools.permutations(MESSAGES) if order.index("notice") < order.index("notice again")
    )
    # What the provider answers, whether it can be reached to cancel, whether somebody else wants one of the seats.
    CASES = tuple(itertools.product(("succeed", "stall", "decline"), (False, True), (False, True)))
    # Each order meets one of the cases, and each case five of the orders: all of both take minutes.
    SHARES = len(CASES)

    @pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
    def test_has_one_end(self, provider: FlakyDemo, ada: Holder, ben: Holder, number: int) -> None:
        token, away, rivalry = self.CASES[number]
        given = {"movie": factories.MovieFactory(), "auditorium": factories.AuditoriumFactory()}
        for day, order in enumerate(self.ORDERS[number % self.SHARES :: self.SHARES], start=1):
            showtime = factories.make_showtime(starts_at=timezone.now() + dt.timedelta(days=day), **given)
            booking, answer = begin(hold(showtime, ada, "A1", "A2").hold, provider, token)
            provider.away = {"cancel"} if away else set()
            expected = self.play(booking, order, answer, ben if rivalry else None)
            come_to_rest(booking, provider)
            assert end_of(booking) == expected, (order, now(booking))

    STANDING = (BookingStatus.PENDING, BookingStatus.CONFIRMED, BookingStatus.CANCELLED)

    def play(self, booking: Booking, order: tuple[str, ...], answer: Happening, rival: Holder | None) -> End:
        """Let it happen in this order; return how it must end: somebody pays in each of them."""
        happen: dict[str, Happening] = {
            "answer": answer,
            "notice": lambda: capture_and_tell(booking),
            "notice again": lambda: capture_and_tell(booking),
            "cancel": lambda: cancel_booking(holder_id=booking.holder_id, reference=booking.reference),
            "expiry": lambda: (close_window(booking, grace=True), settle_overdue_payments()),
        }
        given_up = lost = False
        for message in order:
            before = now(booking)
            outcome = outcome_of(happen[message])
            if isinstance(outcome, Refusal):
                assert (message, outcome.code, now(booking)) == ("cancel", ErrorCode.UNAVAILABLE, before)
            else:
                # What has expired, or is refunded, cannot be given up any more.
                given_up |= message == "cancel" and before[0] in self.STANDING
            if rival and not lost and not given_up:
                with contextlib.suppress(SeatsRefused):
                    lost = bool(hold(booking.showtime, rival, "A1").taken)
        return End.REFUND if given_up else End.OFFER if lost else End.TICKETS


class TestLateMoney:
    """When the money comes × what has happened to the seats × who tells it."""

    @pytest.fixture
    def held(self, showtime: Showtime, ada: Holder) -> HeldSeats:
        return hold(showtime, ada, "A1", "A2").hold

    @pytest.fixture
    def story(self, held: HeldSeats, provider: FlakyDemo) -> tuple[Booking, Happening]:
        return begin(held, provider, "stall")

    WHEN = ("in the hold's time", "after the hold's end", "in the grace", "after the grace")
    TOLD_BY = ("a notice", "the page", "the answer to cancelling")

    def wait(self, when: str, booking: Booking, provider: FlakyDemo) -> None:
        provider.away = {"cancel"}
        if when == "after the hold's end":
            # It is kept while it is paid, past its own end.
            run_out(booking.hold_id)
        if when in ("in the grace", "after the grace"):
            close_window(booking, grace=when == "after the grace")
        settle_overdue_payments()
        still = BookingStatus.EXPIRED if when == "after the grace" else BookingStatus.PENDING
        assert now(booking)[0] == still

    def pay(self, told_by: str, booking: Booking, provider: FlakyDemo) -> None:
        match told_by:
            case "a notice":
                capture_and_tell(booking)
            case "the page":
                decide(booking)
            case _:
                capture_silently(booking)
                provider.away = set()
                close_window(booking)
                settle_overdue_payments()

    @pytest.mark.parametrize("told_by", TOLD_BY)
    @pytest.mark.parametrize("when", WHEN)
    def test_nothing_has_happened_to_the_seats(
        self, story: tuple[Booking, Happening], provider: FlakyDemo, when: str, told_by: str
    ) -> None:
        booking, answer = story
        self.wait(when, booking, provider)
        self.pay(told_by, booking, provider)
        answer()
        come_to_rest(booking, provider)
        assert end_of(booking) == End.TICKETS

    # What has happened to one of the two seats since the grace was over, and how the purchase ends then.
    FATES: tuple[tuple[str, End], ...] = (
        ("held by somebody else", End.OFFER),
        ("held by somebody else whose time is over", End.TICKETS),
        ("being paid by somebody else", End.OFFER),
        ("bought by somebody else", End.OFFER),
        ("held anew by the buyer", End.TICKETS),
        ("held anew by the buyer, whose time is over", End.TICKETS),
        ("being paid anew by the buyer", End.OFFER),
        ("bought anew by the buyer", End.OFFER),
        ("blocked by the house", End.OFFER),
        ("sales stopped", End.OFFER),
        ("held anew by the buyer, and sales stopped", End.OFFER),
        ("showtime cancelled", End.REFUND),
    )

    def befall(self, fate: str, showtime: Showtime, ada: Holder, ben: Holder) -> None:
        if "by somebody else" in fate or "anew" in fate:
            held = hold(showtime, ada if "anew" in fate else ben, "A2", "A3").hold
            if "paid" in fate:
                buy(held, "stall")
            if "bought" in fate:
                buy(held)
            if "time is over" in fate:
                run_out(held.hold_id)
        if "blocked" in fate:
            block_seats(showtime_id=showtime.pk, codes=["A2"], reason=BlockReason.BROKEN)
        if "sales stopped" in fate:
            stop_sales(showtime_id=showtime.pk)
        if "cancelled" in fate:
            call_off_showtime(showtime_id=showtime.pk)

    @pytest.mark.parametrize("told_by", TOLD_BY[:2])
    @pytest.mark.parametrize(("fate", "end"), FATES)
    def test_something_has(
        self,
        *,
        showtime: Showtime,
        ada: Holder,
        ben: Holder,
        story: tuple[Booking, Happening],
        provider: FlakyDemo,
        fate: str,
        end: End,
        told_by: str,
    ) -> None:
        booking, answer = story
        self.wait("after the grace", booking, provider)
        self.befall(fate, showtime, ada, ben)
        self.pay(told_by, booking, provider)
        answer()
        capture_and_tell(booking)
        still_sells = end is End.OFFER and "sales stopped" not in fate and "anew by the buyer" not in fate
        assert bool(seats_offered_instead(Booking.objects.get(pk=booking.pk))) == still_sells
        come_to_rest(booking, provider)
        assert end_of(booking) == end
        assert provider.calls.count("refund") == (end is not End.TICKETS)
        for other in Booking.objects.exclude(pk=booking.pk):
            come_to_rest(other, provider)
            assert end_of(other) in (End.TICKETS, End.NOTHING)

    @pytest.mark.parametrize("when", WHEN[:3])
    @pytest.mark.parametrize(
        ("given_up_by", "end"), [("the buyer", End.REFUND), ("the house", End.REFUND), ("showtime", End.REFUND)]
    )
    def test_it_was_given_up_while_it_was_paid(
        self, story: tuple[Booking, Happening], provider: FlakyDemo, when: str, given_up_by: str, end: End
    ) -> None:
        """The provider says that it will not come any more, and it comes."""
        booking, answer = story
        self.wait(when, booking, provider)
        provider.away = set()
        match given_up_by:
            case "the buyer":
                cancel_booking(holder_id=booking.holder_id, reference=booking.reference)
            case "the house":
                cancel_booking_for_house(reference=booking.reference)
            case _:
                call_off_showtime(showtime_id=booking.showtime_id)
                cancel_bookings_of_showtime(showtime_id=booking.showtime_id)
        assert now(booking) == (BookingStatus.CANCELLED, PaymentStatus.CANCELLED)
        capture_and_tell(booking)
        answer()
        come_to_rest(booking, provider)
        assert end_of(booking) == end
        assert provider.calls.count("refund") == 1

    def test_the_showtime_was_cancelled_and_the_provider_could_not_be_told(
        self, story: tuple[Booking, Happening], provider: FlakyDemo
    ) -> None:
        """Nobody gets tickets for what will not be shown, not even for a moment."""
        booking, _answer = story
        provider.away = {"cancel", "refund"}
        call_off_showtime(showtime_id=booking.showtime_id)
        assert now(booking)[0] == BookingStatus.PENDING
        capture_and_tell(booking)
        assert now(booking) == (BookingStatus.REFUND_DUE, PaymentStatus.REFUND_DUE)
        come_to_rest(booking, provider)
        assert end_of(booking) == End.REFUND

    @pytest.mark.parametrize("stopped", [False, True])
    def test_held_seats_are_sold_also_when_sales_have_stopped(
        self, showtime: Showtime, story: tuple[Booking, Happening], provider: FlakyDemo, *, stopped: bool
    ) -> None:
        """It was declined, so the hold is as before; and what is held may be paid."""
        booking, _answer = story
        decide(booking, PaymentStatus.DECLINED)
        if stopped:
            stop_sales(showtime_id=showtime.pk)
        capture_and_tell(booking)
        come_to_rest(booking, provider)
        assert end_of(booking) == End.TICKETS

    def test_nobody_pays(self, story: tuple[Booking, Happening], provider: FlakyDemo) -> None:
        """The browser was closed, and nobody comes back."""
        booking, _answer = story
        come_to_rest(booking, provider)
        assert end_of(booking) == End.NOTHING


class TestDeclineThenRetryThenTheFirstSucceeds:
    """A second attempt for the same hold; then the money of the first comes after all."""

    # What has become of the second, and how both end.
    SECOND: tuple[tuple[str, End, End], ...] = (
        ("none", End.TICKETS, End.TICKETS),
        ("pending", End.OFFER, End.NOTHING),
        ("paid", End.OFFER, End.TICKETS),
        ("declined", End.TICKETS, End.NOTHING),
        ("expired", End.TICKETS, End.NOTHING),
        ("cancelled", End.TICKETS, End.NOTHING),
        ("cancelled once it was paid", End.TICKETS, End.REFUND),
        ("expired, and paid late", End.OFFER, End.TICKETS),
    )

    @pytest.mark.parametrize(("fate", "first_end", "second_end"), SECOND)
    def test_each_has_one_end(
        self, *, showtime: Showtime, ada: Holder, provider: FlakyDemo, fate: str, first_end: End, second_end: End
    ) -> None:
        held = hold(showtime, ada, "A1", "A2").hold
        with refused(ErrorCode.PAYMENT_DECLINED):
            buy(held, "decline")
        first = Booking.objects.get()
        second = first
        if fate != "none":
            second = buy(held, "stall").booking
        if "paid" in fate and "late" not in fate:
            decide(second)
        if fate == "declined":
            decide(second, PaymentStatus.DECLINED)
        if "expired" in fate:
            close_window(second)
            settle_overdue_payments()
        if "cancelled" in fate:
            cancel_booking(holder_id=ada.pk, reference=second.reference)
        if "late" in fate:
            capture_and_tell(second)
        capture_and_tell(first)
        for booking in (first, second):
            come_to_rest(booking, provider)
        assert (end_of(first), end_of(second)) == (first_end, second_end)


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


def let_be_repeated() -> None:
    """Let the attempt of a process that died be long ago."""
    IdempotencyRecord.objects.update(attempted_at=timezone.now() - dt.timedelta(seconds=6))


def test_the_judge_can_say_no(showtime: Showtime, ada: Holder, provider: FlakyDemo) -> None:
    """A purchase that is under way has not ended, and one whose seats went to nobody has not ended well."""
    booking, answer = begin(hold(showtime, ada, "A1").hold, provider, "succeed")
    with pytest.raises(AssertionError, match="is no end"):
        end_of(booking)
    answer()
    assert end_of(booking) == End.TICKETS
    booking.tickets.update(cancelled_at=timezone.now())
    with pytest.raises(AssertionError):
        end_of(booking)
