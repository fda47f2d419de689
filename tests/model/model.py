"""A cinema in plain Python: what holding, paying and the house's work come to, one after the other.

It knows no database, no Redis and no rivals, and so says in few words what the product must do whatever it is built of.
Seconds are those since it opened; `now` is moved from outside. What concerns seats alone stands in `seats`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tests.model.seats import MOST_SEATS, Hold, Refused, Seats, Show

PAYMENT, GRACE, AFTER_DECLINE, RETRY = 600, 900, 125, 30
UNPAID = ("PENDING", "DECLINED", "CANCELLED")
OUTCOMES = {"succeed": "CAPTURED", "decline": "DECLINED", "stall": "PENDING"}


class ProviderAway(Exception):  # noqa: N818 - a turn of events
    """The provider does not answer."""


@dataclasses.dataclass(eq=False)
class Booking:
    """`books` is what the provider has written of it; `known` says whether it has told us; `heard` what it told."""

    hold: Hold
    holder: str
    codes: frozenset[str]
    pay_by: float
    resumes: float
    status: str = "PENDING"
    payment: str = "PENDING"
    books: str | None = None
    known: bool = False
    heard: set[str] = dataclasses.field(default_factory=set)
    next_attempt: float = 0.0


class Cinema(Seats):
    """The whole of it."""

    def __init__(self, *, shows: int, stretches: Sequence[Sequence[str]], others: Sequence[str]) -> None:
        super().__init__(shows=shows, stretches=stretches, others=others)
        self.bookings: list[Booking] = []
        # For which calls the provider is away, and which it carries out without an answer.
        self.away: set[str] = set()
        self.lost: set[str] = set()

    # --- Buying

    def buy(self, holder: str, hold: Hold, token: str) -> Booking:
        """Buy a hold. What has been begun before is gone on with."""
        mine = [b for b in self.bookings if b.hold is hold and holder in (b.holder, hold.holder)]
        if hold.holder != holder and not mine:
            raise Refused("not_found")
        bought = [b for b in mine if b.status not in ("CANCELLED", "EXPIRED")]
        return self._buy(lambda: self._begin(holder, hold.show, hold, None), bought, token)

    def confirm(self, holder: str, show: Show, codes: Sequence[str], token: str) -> Booking:
        """Buy some seats of a hold, and release the others."""
        if len(codes) > MOST_SEATS:
            raise Refused("too_many_seats")
        mine = [b for b in self.bookings if b.holder == holder and b.hold.show is show and b.codes == set(codes)]
        live = [b for b in mine if b.status in ("PENDING", "CONFIRMED")]
        return self._buy(lambda: self._begin(holder, show, None, codes), live, token)

    def decide(self, booking: Booking, outcome: str) -> None:
        """Decide a payment on the provider's page; what was decided is told once more."""
        if booking.books == "PENDING":
            booking.books = outcome
        if booking.books in ("CAPTURED", "DECLINED"):
            self._settle(booking, booking.books, f"notice:{booking.books}")

    def notice(self, booking: Booking, told: str) -> None:
        """Hear a notice that somebody has signed in the provider's name, whose books follow it."""
        if (told == "CAPTURED" and booking.books in UNPAID) or booking.books == "PENDING":
            booking.books = told
        self._settle(booking, told, f"notice:{told}")

    def cancel(self, holder: str, booking: Booking) -> Booking:
        if booking.holder != holder:
            raise Refused("not_found")
        self._cancel(booking, by_house=False)
        self._refund(booking)
        return booking

    def settle_overdue(self) -> None:
        """End the payments whose window is over, and give back what is to be given back."""
        due = [b for b in self.bookings if b.next_attempt <= self.now]
        for booking in sorted(
            (b for b in due if b.status == "PENDING" and b.pay_by <= self.now), key=lambda b: b.pay_by
        ):
            booking.next_attempt = self.now + RETRY
            try:
                state = self._cancel_at_provider(booking)
            except ProviderAway:
                state = "CANCELLED" if booking.pay_by + GRACE <= self.now else None
            if state == "CANCELLED":
                self._end(booking.hold.show, [booking.hold])
                booking.status, booking.payment = "EXPIRED", "CANCELLED"
            elif state:
                self._settle(booking, state, f"answer:{state}")
        for booking in due:
            self._refund(booking)

    # --- The house, and whoever signs in

    def call_off(self, show: Show) -> None:
        show.selling, show.cancelled = False, True
        self._end(show, [hold for hold in self.live(show) if not hold.paying])

    def reconcile(self) -> None:
        self.settle_overdue()
        for show in self.shows:
            if show.cancelled:
                self._cancel_all(show)
                self._end(show, [hold for hold in self.live(show) if not hold.paying])
            self.expire(show)

    def sign_in(self, guest: str, user: str) -> bool:
        """Give a guest's holds and bookings to a user; return whether nothing is left behind."""
        done = True
        for show in self.shows:
            theirs, own = self.own(guest, show), self.own(user, show)
            if theirs is None:
                continue
            if theirs.paying:
                done = False
                continue
            newer = own is None or (
                not own.paying and (not self.lapsed(theirs), theirs.number) > (not self.lapsed(own), own.number)
            )
            loser = own if newer else theirs
            if loser:
                self._end(show, [loser])
            if newer:
                theirs.holder = user
        for hold in self.holds:
            if hold.holder == guest and hold.ended:
                hold.holder = user
        for booking in self.bookings:
            if booking.holder == guest:
                booking.holder = user
        return done

    # --- What these are made of

    def _begin(self, holder: str, show: Show, hold: Hold | None, codes: Sequence[str] | None) -> Booking:
        own = self.own(holder, show)
        if own is None or own is not (hold or own):
            raise Refused("hold_expired")
        if own.paying:
            raise Refused("hold_paying")
        if self.lapsed(own):
            raise Refused("hold_expired")
        if show.cancelled:
            raise Refused("not_on_sale")
        wanted = self.seats_of(own)
        if codes is not None:
            self._refuse_others(own, codes)
            self._give(show, wanted - set(codes), "AVAILABLE")
            wanted = set(codes)
        booking = Booking(own, holder, frozenset(wanted), pay_by=self.now + PAYMENT, resumes=own.ends)
        own.paying, own.ends = True, booking.pay_by
        self.bookings.append(booking)
        return booking

    def _buy(self, begin: Callable[[], Booking], before: Sequence[Booking], token: str) -> Booking:
        try:
            booking = begin()
        except Refused:
            if not before:
                raise
            booking = before[-1]
        if booking.payment == "PENDING" and not booking.known:
            try:
                state = self._call("create", booking, OUTCOMES[token])
            except ProviderAway:
                raise Refused("unavailable") from None
            self._settle(booking, state, f"answer:{state}")
        if booking.status == "EXPIRED":
            raise Refused("hold_expired")
        if booking.payment == "DECLINED":
            raise Refused("payment_declined")
        return booking

    def _call(self, name: str, booking: Booking, outcome: str) -> str:
        """Let the provider do something, as far as it has not been done."""
        if name in self.away:
            raise ProviderAway
        possible = {"create": (None,), "cancel": (None, "PENDING"), "refund": ("CAPTURED",)}[name]
        if booking.books in possible:
            booking.books = outcome
        if name in self.lost:
            raise ProviderAway
        assert booking.books is not None
        return booking.books

    def _cancel_at_provider(self, booking: Booking) -> str:
        return self._call("cancel", booking, "CANCELLED")

    def _settle(self, booking: Booking, state: str, event: str) -> None:
        if event in booking.heard:
            return
        booking.heard.add(event)
        booking.known = True
        if state == "CAPTURED" and booking.payment in UNPAID:
            if self._sell(booking):
                booking.status, booking.payment = "CONFIRMED", "CAPTURED"
            else:
                self._owe(booking)
                self._refund(booking)
        elif state == "DECLINED" and booking.status == "PENDING":
            self._resume(booking, payment="DECLINED")

    def _sell(self, booking: Booking) -> bool:
        hold, show = booking.hold, booking.hold.show
        if show.cancelled or booking.status == booking.payment == "CANCELLED":
            # Nobody wants the seats any more.
            if booking.status == "PENDING":
                self._end(show, [hold])
            return False
        if booking.status != "PENDING" and not self._take_again(booking):
            return False
        self._give(show, booking.codes, "SOLD", hold)
        hold.ended, hold.paying = True, False
        return True

    def _take_again(self, booking: Booking) -> bool:
        """Reserve the seats of late money once more: all that are free, lapsed or its holder's own, or none."""
        hold, show = booking.hold, booking.hold.show
        seats = {code: show.seats[code] for code in booking.codes}
        own = {live for live in (hold, self.own(hold.holder, show)) if live and not live.ended}
        held = [seat for seat in seats.values() if seat.status == "RESERVED" and seat.hold in own]
        if not show.selling and len(held) < len(seats):
            return False
        if not all(self._can_be_had(seat) or (seat in held and not seat.hold.paying) for seat in seats.values()):
            return False
        lost = {seat.hold for seat in held} - {hold}
        self._give(show, [code for code, seat in seats.items() if seat.hold is not hold], "RESERVED", hold)
        self._give(show, self.seats_of(hold) - booking.codes, "AVAILABLE")
        for other in lost:
            other.ended = not self.seats_of(other)
        return True

    def _resume(self, booking: Booking, *, payment: str) -> None:
        booking.hold.paying = False
        booking.hold.ends = max(booking.resumes, self.now + AFTER_DECLINE)
        booking.status, booking.payment = "CANCELLED", payment

    def _cancel(self, booking: Booking, *, by_house: bool) -> None:
        if booking.status == "PENDING":
            try:
                state = self._cancel_at_provider(booking)
            except ProviderAway:
                raise Refused("unavailable") from None
            if state != "CANCELLED":
                self._settle(booking, state, f"answer:{state}")
        if booking.payment == "DECLINED":
            # Should the money come after all, nobody wants the seats for it any more.
            booking.payment = "CANCELLED"
        elif booking.status == "CONFIRMED":
            self._give(booking.hold.show, booking.codes, "AVAILABLE")
            self._owe(booking)
        elif booking.status == "PENDING" and by_house:
            self._end(booking.hold.show, [booking.hold])
            booking.status, booking.payment = "CANCELLED", "CANCELLED"
        elif booking.status == "PENDING":
            self._resume(booking, payment="CANCELLED")

    def _cancel_all(self, show: Show) -> None:
        for booking in self.bookings:
            if booking.hold.show is show and booking.status in ("PENDING", "CONFIRMED"):
                try:
                    self._cancel(booking, by_house=True)
                except Refused:
                    continue

    def _owe(self, booking: Booking) -> None:
        booking.status = booking.payment = "REFUND_DUE"
        booking.next_attempt = self.now

    def _refund(self, booking: Booking) -> None:
        if booking.payment != "REFUND_DUE" or booking.next_attempt > self.now:
            return
        booking.next_attempt = self.now + RETRY
        try:
            self._call("refund", booking, "REFUNDED")
        except ProviderAway:
            return
        booking.status = booking.payment = "REFUNDED"
