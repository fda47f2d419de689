"""The half of the model that knows seats and holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

HOLD, CAP = 900, 2700
MOST_SEATS = 4

REASONS = {"SOLD": "seat_booked", "BLOCKED": "seat_blocked", "RESERVED": "seat_held"}


class Refused(Exception):  # noqa: N818 - a turn of events
    """A code, and why, seat by seat, where that is told."""

    def __init__(self, code: str, seats: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.code, self.seats = code, seats or {}


@dataclasses.dataclass(eq=False)
class Hold:
    number: int
    holder: str
    show: Show
    cap: float
    ends: float
    paying: bool = False
    ended: bool = False


@dataclasses.dataclass(eq=False)
class Seat:
    status: str = "AVAILABLE"
    hold: Hold | None = None


@dataclasses.dataclass(eq=False)
class Show:
    seats: dict[str, Seat]
    version: int = 0
    selling: bool = True
    cancelled: bool = False


class Seats:
    """Who has which seat: what people and the house do with seats that nobody is paying for."""

    def __init__(self, *, shows: int, stretches: Sequence[Sequence[str]], others: Sequence[str]) -> None:
        """Open it.

        Args:
            shows: how many showtimes it has.
            stretches: the ordinary seats that touch each other, by their codes.
            others: the other places.
        """
        self.now = 0.0
        self.stretches = stretches
        codes = [*others, *(code for stretch in stretches for code in stretch)]
        self.shows = [Show({code: Seat() for code in codes}) for _show in range(shows)]
        self.holds: list[Hold] = []

    # --- Holding

    def hold(self, holder: str, show: Show, codes: Sequence[str]) -> Hold:
        if len(codes) > MOST_SEATS:
            raise Refused("too_many_seats")
        own = self._changeable(holder, show)
        mine = self.seats_of(own)
        new = [code for code in codes if code not in mine]
        if len(mine) + len(new) > MOST_SEATS:
            raise Refused("too_many_seats")
        if new and not show.selling:
            raise Refused("not_on_sale")
        self._refuse({code: show.seats[code] for code in new if not self._can_be_had(show.seats[code])})
        if own is None:
            own = Hold(len(self.holds), holder, show, cap=self.now + CAP, ends=self.now)
            self.holds.append(own)
        self._give(show, new, "RESERVED", own)
        self._renew(own)
        return own

    def hold_best(self, holder: str, show: Show, quantity: int, taken: Sequence[str]) -> Hold:
        """Hold ordinary seats side by side; which ones is a matter of taste, and so told: `taken`."""
        if quantity > MOST_SEATS:
            raise Refused("too_many_seats")
        groups = self._free_groups(show, quantity)
        if not groups:
            raise Refused("seat_held")
        assert not taken or sorted(taken) in groups
        return self.hold(holder, show, taken or groups[0])

    def extend(self, holder: str, show: Show, codes: Sequence[str]) -> Hold:
        if len(codes) > MOST_SEATS:
            raise Refused("too_many_seats")
        own = self._changeable(holder, show)
        if own is None:
            raise Refused("hold_expired")
        self._refuse_others(own, codes)
        self._renew(own)
        return own

    def release(self, holder: str, show: Show, codes: Sequence[str] | None) -> set[str]:
        if codes is not None and len(codes) > MOST_SEATS:
            raise Refused("too_many_seats")
        own = self._changeable(holder, show)
        if own is None:
            return set()
        mine = self.seats_of(own)
        leaving = mine if codes is None else mine & set(codes)
        if leaving == mine:
            own.ended = True
        else:
            self._renew(own)
        self._give(show, leaving, "AVAILABLE")
        return leaving

    def expire(self, show: Show) -> None:
        over = [hold for hold in self.live(show) if self.lapsed(hold)]
        self._end(show, over)

    # --- The house

    def block(self, show: Show, codes: Sequence[str], before: str = "AVAILABLE", after: str = "BLOCKED") -> set[str]:
        self.expire(show)
        self._refuse({code: show.seats[code] for code in codes if show.seats[code].hold})
        changing = {code for code in codes if show.seats[code].status == before}
        self._give(show, changing, after)
        return changing

    def unblock(self, show: Show, codes: Sequence[str]) -> set[str]:
        return self.block(show, codes, before="BLOCKED", after="AVAILABLE")

    def withdraw(self, hold: Hold) -> set[str]:
        if hold.ended:
            raise Refused("hold_expired")
        if hold.paying:
            raise Refused("hold_paying")
        seats = self.seats_of(hold)
        self._end(hold.show, [hold])
        return seats

    def resume_sales(self, show: Show) -> None:
        if show.cancelled:
            raise Refused("invalid_data")
        show.selling = True

    # --- Reading

    def view(self, viewer: str | None, show: Show) -> dict[str, str]:
        words = {"AVAILABLE": "available", "RESERVED": "locked", "SOLD": "occupied", "BLOCKED": "blocked"}
        own = self.own(viewer, show) if viewer else None
        return {
            code: "selected" if own and seat.hold is own else words[seat.status] for code, seat in show.seats.items()
        }

    def own(self, holder: str, show: Show) -> Hold | None:
        return next((hold for hold in self.live(show) if hold.holder == holder), None)

    def live(self, show: Show) -> list[Hold]:
        """The holds that nobody has ended, also those whose time is over."""
        return [hold for hold in self.holds if hold.show is show and not hold.ended]

    def lapsed(self, hold: Hold) -> bool:
        return not hold.paying and hold.ends <= self.now

    def seats_of(self, hold: Hold | None) -> set[str]:
        """The seats that a hold has reserved."""
        if hold is None:
            return set()
        return {code for code, seat in hold.show.seats.items() if seat.hold is hold and seat.status == "RESERVED"}

    # --- What these are made of

    def _changeable(self, holder: str, show: Show) -> Hold | None:
        own = self.own(holder, show)
        if own and own.paying:
            raise Refused("hold_paying")
        if own and self.lapsed(own):
            self.expire(show)
            return None
        return own

    def _can_be_had(self, seat: Seat) -> bool:
        if seat.status == "RESERVED":
            assert seat.hold is not None
            return self.lapsed(seat.hold)
        return seat.status == "AVAILABLE"

    def _refuse(self, taken: dict[str, Seat]) -> None:
        reasons = {code: REASONS[seat.status] for code, seat in taken.items()}
        for code in REASONS.values():
            if code in reasons.values():
                raise Refused(code, reasons)

    def _refuse_others(self, own: Hold, codes: Iterable[str]) -> None:
        others = {code: own.show.seats[code] for code in codes if code not in self.seats_of(own)}
        self._refuse({code: seat for code, seat in others.items() if seat.status != "AVAILABLE"})
        if others:
            raise Refused("hold_expired", dict.fromkeys(others, "hold_expired"))

    def _give(self, show: Show, codes: Iterable[str], status: str, hold: Hold | None = None) -> None:
        """Change seats together: one version, unless there are none."""
        codes = list(codes)
        for code in codes:
            show.seats[code].status, show.seats[code].hold = status, hold
        show.version += bool(codes)

    def _renew(self, hold: Hold) -> None:
        hold.ends = max(hold.ends, min(self.now + HOLD, hold.cap))

    def _end(self, show: Show, holds: Iterable[Hold]) -> None:
        """End holds together, and free what they still have."""
        holds = list(holds)
        self._give(show, {code for hold in holds for code in self.seats_of(hold)}, "AVAILABLE")
        for hold in holds:
            hold.ended, hold.paying = True, False

    def _free_groups(self, show: Show, quantity: int) -> list[list[str]]:
        groups = [
            list(stretch[start : start + quantity])
            for stretch in self.stretches
            for start in range(len(stretch) - quantity + 1)
        ]
        return [group for group in groups if all(show.seats[code].status == "AVAILABLE" for code in group)]
