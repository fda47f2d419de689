"""Everything that changes seats, holds or money, and where it may meet the others: what `matrix` is about.

The cast: Ada is a guest, who holds A1 and A2 of a room with three seats; A3 is across the aisle. Ben is a user
and wants A1; Cid wants the best two, which are A1 and A2. Dora is the user who Ada turns out to be when she signs in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable, Collection
from typing import Any

from django.db import connection, transaction

from bookings.models import Booking, PaymentStatus
from bookings.services import (
    CalledOff,
    adopt_bookings,
    ask_about_payment,
    call_off_showtime,
    cancel_booking,
    cancel_booking_for_house,
    carry_out_refund,
    give_up_payment,
    reconcile,
    settle_overdue_payments,
)
from bookings.services.cancelling import StillToDo, finish_calling_off
from cinebook.core.errors import Refusal
from cinebook.core.models import User
from seating.models import BlockReason, Hold, Holder, Seat, SeatStatus, Showtime
from seating.selectors.holds import HeldSeats
from seating.services import (
    ReleaseAnswer,
    adopt_holds,
    block_seats,
    change_showtime,
    expire_holds,
    hold_best_seats,
    leave,
    let_go_of_left_holds,
    make_missing_seats,
    remove_showtime,
    resume_sales,
    stay,
    still_there,
    stop_sales,
    unblock_seats,
    withdraw_hold,
)
from tests import factories
from tests.support.asking import extend, hold, release
from tests.support.buying import FlakyDemo, buy, capture_silently, close_window, confirm, decide, let_try_again
from tests.support.passing_time import run_out

ROOM = "A ss.s"
PRICES = {"standard": 1200, "premium": 1500}
LEFT_AGO = dt.timedelta(seconds=12)

# The stages, from the emptiest to the furthest gone.
STAGES = {
    "bare": "The seats have not been made.",
    "free": "Nobody holds anything.",
    "held": "Ada holds A1 and A2.",
    "lapsed": "Ada's time for A1 and A2 has run out, and nobody has noticed.",
    "paying": "Ada is on the provider's page, to pay for A1 and A2.",
    "over": "She is there still, but the time for it is over.",
    "expired": "She is there still, though her booking has expired, for its provider could not be reached.",
    "confirmed": "Ada has bought A1 and A2.",
    "due": "Ada has cancelled, and waits for her money.",
}


@dataclasses.dataclass(slots=True)
class Scene:
    """A stage with its cast. `held` is what Ada holds or held, `booking` what came of it."""

    showtime: Showtime
    ada: Holder
    ben: Holder
    cid: Holder
    dora: Holder
    provider: FlakyDemo
    held: HeldSeats | None = None
    booking: Booking | None = None


def scene(stage: str, provider: FlakyDemo) -> Scene:
    """Return a new showtime that stands where a stage says."""
    provider.away = set()
    users = User.objects.bulk_create(factories.UserFactory.build_batch(2))
    ada, ben, cid, dora = Holder.objects.bulk_create(
        [
            Holder(guest_key=uuid.uuid4()),
            Holder(user=users[0]),
            Holder(guest_key=uuid.uuid4()),
            Holder(user=users[1]),
        ]
    )
    made = Scene(showtime=_showtime(), ada=ada, ben=ben, cid=cid, dora=dora, provider=provider)
    if stage == "bare":
        made.showtime.seats.all().delete()
        made.showtime.sales.delete()
    elif stage != "free":
        made.held = hold(made.showtime, made.ada, "A1", "A2").hold
    if stage == "lapsed":
        run_out(_held(made).hold_id)
    elif stage in ("paying", "over", "expired"):
        made.booking = buy(_held(made), "stall").booking
    elif stage in ("confirmed", "due"):
        made.booking = buy(_held(made)).booking
    _let_it_end(stage, made)
    return made


def _showtime() -> Showtime:
    """Return a new showtime: all in the same room, one after the other."""
    last = Showtime.objects.order_by("starts_at").last()
    if last is None:
        return factories.make_showtime(drawing=ROOM)
    return factories.make_showtime(
        auditorium=last.auditorium, movie=last.movie, starts_at=last.ends_at + dt.timedelta(hours=2)
    )


def _let_it_end(stage: str, made: Scene) -> None:
    """Bring a purchase to its end, if the stage is one that is so far."""
    if stage in ("over", "expired"):
        close_window(_booking(made), grace=stage == "expired")
    if stage == "expired":
        made.provider.away = {"cancel"}
        settle_overdue_payments()
    elif stage == "due":
        made.provider.away = {"refund"}
        cancel_booking(holder_id=made.ada.pk, reference=_booking(made).reference)
        let_try_again(_booking(made))
    made.provider.away = set()


def _held(at: Scene) -> HeldSeats:
    assert at.held, "this stage has no hold"
    return at.held


def _booking(at: Scene) -> Booking:
    assert at.booking, "this stage has no booking"
    return at.booking


# --- What is done -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """Something that changes seats, holds or money.

    `services`: what of the services does it. `waits_for`: the rows at which it stands in line with others, and which
    everything else that changes the same may have locked; empty if it passes by what is busy. `stage`: where it has
    something to do. `prepare`: what must have come before.
    """

    does: Callable[[Scene], Any]
    services: Collection[str]
    stage: str
    waits_for: Collection[str] = ()
    prepare: Callable[[Scene], Any] | None = None


def _left(at: Scene) -> None:
    """Ada's page was closed, long enough ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE seating_hold SET left_at = clock_timestamp() - %s WHERE showtime_id = %s",
            [LEFT_AGO, at.showtime.pk],
        )


def _blocked(at: Scene) -> None:
    if Seat.objects.filter(showtime=at.showtime, code="A1", status=SeatStatus.AVAILABLE).exists():
        block_seats(showtime_id=at.showtime.pk, codes=["A1"], reason=BlockReason.BROKEN)


def _sign_in(at: Scene) -> bool:
    done = adopt_holds(guest_id=at.ada.pk, holder_id=at.dora.pk)
    adopt_bookings(guest_id=at.ada.pk, holder_id=at.dora.pk)
    return done


def _leave(at: Scene) -> bool:
    # A statement of its own, in a transaction that can be stopped before its commit.
    with transaction.atomic():
        return leave(holder_id=at.ada.pk, showtime_id=at.showtime.pk, visited_at=None)


def _seen(at: Scene) -> None:
    with transaction.atomic():
        still_there(hold_id=_held(at).hold_id)


def _visit(at: Scene) -> None:
    with transaction.atomic():
        stay(holder_id=at.ada.pk, showtime_id=at.showtime.pk)


def _change(at: Scene) -> None:
    change_showtime(
        showtime_id=at.showtime.pk,
        movie=at.showtime.movie,
        starts_at=at.showtime.starts_at + dt.timedelta(hours=1),
        prices={code: 2 * amount for code, amount in PRICES.items()},
        sales_open_at=at.showtime.sales_open_at,
        sales_close_at=None,
        hold_seconds=None,
    )


def _change_film(at: Scene) -> None:
    change_showtime(
        showtime_id=at.showtime.pk,
        movie=factories.MovieFactory(),
        starts_at=at.showtime.starts_at,
        prices=PRICES,
        sales_open_at=at.showtime.sales_open_at,
        sales_close_at=None,
        hold_seconds=None,
    )


def _call_off(at: Scene) -> CalledOff:
    """Call it off, and bring that to its end as the outbox and the tickers do, as far as it can be now."""
    called_off = call_off_showtime(showtime_id=at.showtime.pk)
    with contextlib.suppress(Refusal, StillToDo):
        finish_calling_off(showtime_id=at.showtime.pk, key="")
    settle_overdue_payments()
    return called_off


def _paid_in_silence(at: Scene) -> None:
    """Ada has paid, and the notice was lost on its way."""
    if at.booking:
        capture_silently(at.booking)


def _captured(at: Scene) -> None:
    decide(_booking(at))


OPERATIONS = {
    # Somebody else wants the seat.
    "hold": Operation(
        lambda at: hold(at.showtime, at.ben, "A1"),
        services=["hold_seats"],
        stage="free",
        waits_for=["seat", "counter"],
    ),
    "hold best": Operation(
        lambda at: hold_best_seats(holder_id=at.cid.pk, user_id=None, showtime_id=at.showtime.pk, quantity=2),
        services=["hold_best_seats"],
        stage="free",
        waits_for=["seat", "counter"],
    ),
    # Its holder, or a closed page, or the clock, does something with it.
    "pick": Operation(
        lambda at: hold(at.showtime, at.ada, "A3"),
        services=["hold_seats"],
        stage="held",
        waits_for=["seat", "hold", "counter"],
    ),
    "extend": Operation(
        lambda at: extend(at.showtime, at.ada), services=["extend_hold"], stage="held", waits_for=["seat", "hold"]
    ),
    "release": Operation(
        lambda at: release(at.showtime, at.ada),
        services=["release_seats"],
        stage="held",
        waits_for=["seat", "hold", "counter"],
    ),
    "leave": Operation(_leave, services=["leave"], stage="held"),
    "let go": Operation(
        lambda _at: let_go_of_left_holds(),
        services=["let_go_of_left_holds"],
        stage="held",
        waits_for=["seat", "hold", "counter"],
        prepare=_left,
    ),
    "seen": Operation(_seen, services=["still_there"], stage="held", prepare=_left),
    "visit": Operation(_visit, services=["stay"], stage="held", waits_for=["hold"]),
    "expire": Operation(
        lambda at: expire_holds(showtime_id=at.showtime.pk),
        services=["expire_holds"],
        stage="lapsed",
        waits_for=["seat", "counter"],
    ),
    "reconcile": Operation(lambda _at: reconcile(), services=["reconcile", "reconcile_seats"], stage="lapsed"),
    "sign in": Operation(
        _sign_in, services=["adopt_holds", "adopt_bookings"], stage="held", waits_for=["seat", "hold"]
    ),
    # It is bought.
    "pay": Operation(
        lambda at: buy(_held(at), "stall"),
        services=["start_booking", "begin_payment"],
        stage="held",
        waits_for=["seat", "hold"],
    ),
    "buy a part": Operation(
        lambda at: confirm(at.showtime, at.ada, "A1"),
        services=["confirm_seats", "begin_payment"],
        stage="held",
        waits_for=["seat", "hold", "counter"],
    ),
    "captured": Operation(
        _captured,
        services=["settle_payment", "receive_notice", "demo_decide", "sell_hold"],
        stage="paying",
        waits_for=["payment", "seat", "counter"],
    ),
    "captured late": Operation(
        _captured, services=["settle_payment", "sell_late"], stage="expired", waits_for=["payment", "seat", "counter"]
    ),
    "ask": Operation(
        lambda at: ask_about_payment(reference=_booking(at).reference, not_within=0),
        services=["ask_about_payment", "ask_about_pending_payments"],
        stage="paying",
        waits_for=["payment", "seat", "counter"],
        prepare=_paid_in_silence,
    ),
    "declined": Operation(
        lambda at: decide(_booking(at), PaymentStatus.DECLINED),
        services=["settle_payment", "resume_hold"],
        stage="paying",
        waits_for=["payment", "seat"],
    ),
    "window over": Operation(
        lambda _at: settle_overdue_payments(),
        services=["settle_overdue_payments", "expire_payment", "release_paid_hold"],
        stage="over",
        waits_for=["payment", "seat", "counter"],
    ),
    "give up": Operation(
        lambda at: give_up_payment(holder_id=_booking(at).holder_id, reference=_booking(at).reference),
        services=["give_up_payment", "resume_hold"],
        stage="paying",
        waits_for=["payment", "seat"],
    ),
    "cancel": Operation(
        lambda at: cancel_booking(holder_id=_booking(at).holder_id, reference=_booking(at).reference),
        services=["cancel_booking", "return_seats", "resume_hold"],
        stage="confirmed",
        waits_for=["payment", "seat", "counter"],
    ),
    "house cancels": Operation(
        lambda at: cancel_booking_for_house(reference=_booking(at).reference),
        services=["cancel_booking_for_house", "return_seats", "release_paid_hold"],
        stage="confirmed",
        waits_for=["payment", "seat", "counter"],
    ),
    "refund": Operation(
        lambda at: carry_out_refund(reference=_booking(at).reference),
        services=["carry_out_refund"],
        stage="due",
        waits_for=["payment"],
    ),
    # The house does something with it.
    "block": Operation(
        lambda at: block_seats(showtime_id=at.showtime.pk, codes=["A1"], reason=BlockReason.BROKEN),
        services=["block_seats"],
        stage="free",
        waits_for=["seat", "counter"],
    ),
    "unblock": Operation(
        lambda at: unblock_seats(showtime_id=at.showtime.pk, codes=["A1"]),
        services=["unblock_seats"],
        stage="free",
        waits_for=["seat", "counter"],
        prepare=_blocked,
    ),
    "withdraw": Operation(
        lambda at: withdraw_hold(hold_id=_held(at).hold_id),
        services=["withdraw_hold"],
        stage="held",
        waits_for=["seat", "hold", "counter"],
    ),
    "stop": Operation(
        lambda at: stop_sales(showtime_id=at.showtime.pk),
        services=["stop_sales"],
        stage="free",
        waits_for=["counter", "showtime"],
    ),
    "resume": Operation(
        lambda at: resume_sales(showtime_id=at.showtime.pk),
        services=["resume_sales"],
        stage="free",
        waits_for=["counter", "showtime"],
        prepare=lambda at: stop_sales(showtime_id=at.showtime.pk),
    ),
    "call off": Operation(
        _call_off,
        services=[
            "call_off_showtime",
            "cancel_showtime",
            "withdraw_holds",
            "cancel_bookings_of_showtime",
            "cancel_bookings_of_cancelled_showtimes",
        ],
        stage="free",
        waits_for=["counter", "showtime"],
    ),
    "change": Operation(_change, services=["change_showtime"], stage="free", waits_for=["showtime"]),
    "change film": Operation(
        _change_film, services=["change_showtime"], stage="free", waits_for=["showtime", "counter"]
    ),
    "remove": Operation(
        lambda at: remove_showtime(showtime_id=at.showtime.pk),
        services=["remove_showtime"],
        stage="free",
        waits_for=["showtime", "seat", "counter"],
    ),
    "make seats": Operation(
        lambda at: make_missing_seats(showtime_id=at.showtime.pk), services=["make_missing_seats"], stage="bare"
    ),
}

# Public names of the services that are no operation of their own, and why.
NO_OPERATION = {
    "Answer": "data",
    "Attendee": "data",
    "BookedHold": "data",
    "BookingAnswer": "data",
    "CalledOff": "data",
    "Contact": "data",
    "HoldAnswer": "data",
    "HoldInPayment": "data",
    "PricedSeat": "data",
    "Purchase": "data",
    "ReleaseAnswer": "data",
    "SeatReconciliation": "data",
    "Withdrawn": "data",
    "check_quantity": "only looks",
    "demo_payment": "only looks",
    "showtimes_with_lapsed_holds": "only looks",
    "token_hash": "only reckons",
    "demand_transaction": "only looks",
    "hold_token": "only reckons",
    "verify_seats": "only looks",
    "repair_seats": "reconciles, and then only looks",
    "hasten_refunds": "changes when somebody comes by, not what they do",
    "mend_lost_locks": "a part of what the reconciler does, and changes Redis alone",
    "tell_demo_notices": "the provider's own server, which brings what `captured` and `declined` bring",
    "begin_request": "a name for what others do; it has its races in test_named_requests",
    "keep_answer": "a name for what others do; it has its races in test_named_requests",
    "run_sale": "the transaction that the others stand in",
    "guest_holder": "makes somebody who holds nothing yet",
    "user_holder": "makes somebody who holds nothing yet",
    "make_seats": "a part of make_missing_seats",
    "publish_layout": "a showtime keeps the layout that it has",
    "schedule_showtime": "nobody knows the showtime yet",
    "answer_once": "changes no seat and no money itself; it has its race in test_paying",
    "forget_old_answers": "changes no seat and no money",
}


# --- What came of it --------------------------------------------------------------------------------------------------


def said(outcome: Any) -> str:
    """Return what an operation has answered, in a word: `done`, `nothing`, or the code of a refusal."""
    if isinstance(outcome, Refusal):
        return outcome.code.value
    if isinstance(outcome, ReleaseAnswer):
        outcome = outcome.released
    is_empty = outcome in (False, 0, ())
    return "nothing" if is_empty and not isinstance(outcome, CalledOff) else "done"


def standing(at: Scene) -> str:
    """Return how A1 stands, and Ada's purchase, and the sale, if there is something to say of them."""
    showtime = Showtime.objects.filter(pk=at.showtime.pk).select_related("sales").first()
    if showtime is None:
        return "gone"
    words = [_seat(at)]
    booking = Booking.objects.filter(hold__showtime=showtime).order_by("-id").first()
    if booking:
        words.append(booking.status.lower())
    if showtime.cancelled_at:
        words.append("called off")
    elif not getattr(getattr(showtime, "sales", None), "sales_open", True):
        words.append("stopped")
    if Hold.objects.filter(showtime=showtime, ended_at=None).exclude(left_at=None).exists():
        words.append("left")
    return ", ".join(words)


def _seat(at: Scene) -> str:
    seat = Seat.objects.filter(showtime=at.showtime, code="A1").select_related("hold").first()
    if seat is None:
        return "unmade"
    names = {at.ada.pk: "Ada's", at.ben.pk: "Ben's", at.cid.pk: "Cid's", at.dora.pk: "Dora's"}
    owner = names[seat.hold.holder_id] if seat.hold else ""
    return {
        SeatStatus.AVAILABLE: "free",
        SeatStatus.BLOCKED: "blocked",
        SeatStatus.SOLD: f"sold to {owner.removesuffix(chr(39) + 's')}",
        SeatStatus.RESERVED: f"{owner}, paying" if seat.paying else owner,
    }[SeatStatus(seat.status)]
