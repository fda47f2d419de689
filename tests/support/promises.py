"""What the outside was promised, and the judge of whether it was kept. It knows neither Django nor a database.

Every answer that a client was given goes in with the client's own instants, of one clock that never goes back
(`time.monotonic`): when the request was sent, and when its answer was there. What was done was done at some instant in
between, so only that counts as promised which is certain:

- An acknowledged hold is somebody's from the moment that its answer is *received*, until its seconds, counted from when
  the request was *sent*, are over; or until somebody *sends* what may end it, answered or not.
- An acknowledged booking is somebody's from its answer until somebody sends what may cancel it.

Two people to whom one seat was certain at one moment are a double sale or a double hold (I1, I2, I4). Beside that the
judge looks at what is left at the end (I3, I4, I5), at the seats of each answer (I5) and at every server error (I10).
It may miss what is not certain; it never accuses wrongly.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

FOREVER = math.inf
# How late a request that nobody answered may still have its effect: its server was frozen, or waited for another one;
# in seconds.
LATE = 60.0
# How long after PostgreSQL is back an answer may still be an error, for connections are made anew; in seconds.
SLACK = 5.0

# Kinds of events: what promises seats, what begins to buy a hold, what may undo a booking.
PROMISING = frozenset({"held", "is buying", "was declined", "booked"})
BUYING = frozenset({"is buying", "was declined", "booked", "may have bought"})
CANCELLING = frozenset({"cancelled", "may have cancelled"})
# How bookings stand.
CONFIRMED = "CONFIRMED"
GIVEN_BACK = frozenset({"CANCELLED", "REFUND_DUE", "REFUNDED"})

Interval = tuple[float, float]
SeatName = tuple[Any, str]


@dataclasses.dataclass(frozen=True)
class Violation:
    """A promise that was not kept: which invariant, what happened in words, and the showtime and code of a seat."""

    invariant: str
    what: str
    seat: SeatName | None = None

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


@dataclasses.dataclass(frozen=True)
class LastBooking:
    """A booking as it stands at the end."""

    reference: str
    hold: str
    status: str
    seats: frozenset[str]


@dataclasses.dataclass(frozen=True)
class LastSeat:
    """A seat as it stands at the end: its status in the database, and the hold that has or bought it."""

    status: str
    hold: str | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Event:
    kind: str
    sent: float
    received: float
    holder: Any = None
    hold: str | None = None
    showtime: Any = None
    seats: frozenset[str] = frozenset()
    until: float = FOREVER
    reference: str | None = None
    detail: str = ""

    def __str__(self) -> str:
        words = [f"{self.sent:.3f}–{self.received:.3f}", self.holder, self.kind, self.showtime]
        words += [",".join(sorted(self.seats)), self.hold, self.reference, self.detail]
        return " ".join(str(word) for word in words if word not in {None, ""})


class Promises:
    """Everything that was answered, to be noted from any thread or task.

    A holder is whoever the product takes for one person. If a guest signs in, note that all of the guest's seats were
    let go of, and what the user holds from then on. All instants and lengths are in seconds.
    """

    def __init__(self) -> None:
        self._adding = threading.Lock()
        self._events: list[_Event] = []
        self.answers: Counter[tuple[str, str]] = Counter()
        # Until when each pending booking is certain, and when each hold may first have been bought unheard.
        self._bought_until: dict[str, float] = {}
        self._maybe_bought: dict[str | None, float] = {}

    # --- Noting ------------------------------------------------------------------------------------------------------

    def held(
        self,
        *,
        hold: str,
        holder: Any,
        showtime: Any,
        seats: Collection[str],
        expires_in: float,
        sent: float,
        received: float,
        asked: Collection[str] = (),
    ) -> None:
        """Note a hold as an answer told it.

        Args:
            hold: its id.
            holder: whose it is.
            showtime: where.
            seats: all that it has now.
            expires_in: how many whole seconds it has left.
            sent: when the request was sent.
            received: when its answer was there.
            asked: the seats that were asked for.
        """
        missing = set(asked) - set(seats)
        if missing:
            self._wrong(sent, received, showtime, f"{holder} was given a hold without {_listed(missing)}")
        self._add(_Event("held", sent, received, holder, hold, showtime, frozenset(seats), sent + expires_in))

    def extended(self, **given: Any) -> None:
        """Note a hold that was extended; arguments as for `held`."""
        self.held(**given)

    def released(
        self,
        *,
        holder: Any,
        showtime: Any,
        seats: Collection[str] | None,
        sent: float,
        received: float,
        left: Collection[str] = (),
    ) -> None:
        """Note that seats were let go of.

        Args:
            holder: whose they were.
            showtime: where.
            seats: which; None for all.
            sent: when that was asked.
            received: when it was answered.
            left: what the holder still has there, as the answer says.
        """
        stayed = set(left) if seats is None else set(left) & set(seats)
        if stayed:
            self._wrong(sent, received, showtime, f"{holder} let go of {_listed(stayed)}, and has them still")
        self._add(_Event("let go", sent, received, holder, None, showtime, frozenset(seats or ())))

    def paying(
        self,
        *,
        reference: str,
        hold: str,
        holder: Any,
        showtime: Any,
        seats: Collection[str],
        seconds: float,
        sent: float,
        received: float,
    ) -> None:
        """Note a booking that an answer called pending: for so many seconds nobody else gets its seats.

        They count from when it may first have been begun: whoever buys a hold again is told of the booking that it has
        become.
        """
        with self._adding:
            begun = min(sent, self._maybe_bought.get(hold, sent))
            until = self._bought_until.setdefault(reference, begun + seconds)
        self._add(_Event("is buying", sent, received, holder, hold, showtime, frozenset(seats), until, reference))

    def declined(
        self,
        *,
        hold: str,
        holder: Any,
        showtime: Any,
        seats: Collection[str],
        seconds: float,
        sent: float,
        received: float,
    ) -> None:
        """Note that a payment was declined: the hold stays for so many seconds at the least."""
        self._add(_Event("was declined", sent, received, holder, hold, showtime, frozenset(seats), sent + seconds))

    def booked(
        self,
        *,
        reference: str,
        hold: str,
        holder: Any,
        showtime: Any,
        seats: Collection[str],
        sent: float,
        received: float,
    ) -> None:
        """Note a booking that an answer called confirmed."""
        self._add(_Event("booked", sent, received, holder, hold, showtime, frozenset(seats), FOREVER, reference))

    def cancelled(self, *, reference: str, sent: float, received: float, acknowledged: bool = True) -> None:
        """Note that somebody asked to cancel a booking, and whether an answer said that it is cancelled."""
        if acknowledged:
            self._add(_Event("cancelled", sent, received, reference=reference))
        else:
            self._add(_Event("may have cancelled", sent, received + LATE, reference=reference))

    def house(
        self, *, showtime: Any, sent: float, received: float = FOREVER, seats: Collection[str] | None = None
    ) -> None:
        """Note that the house took back what was promised at a showtime.

        Args:
            showtime: where.
            sent: when it began to.
            received: when that was over; leave it out for what is for good.
            seats: which; None for all.
        """
        self._add(_Event("house", sent, received, None, None, showtime, frozenset(seats or ())))

    def refused(self, *, kind: str, status: int, code: str) -> None:
        """Note a refusal: it promises nothing."""
        self.answered(kind, f"{status} {code}".strip())

    def unknown(
        self,
        *,
        kind: str,
        sent: float,
        received: float,
        status: int | None = None,
        holder: Any = None,
        hold: str | None = None,
        showtime: Any = None,
        seats: Collection[str] = (),
        server: str = "",
        buys: bool = False,
        ends: bool = False,
    ) -> None:
        """Note that nobody knows what came of a request: there was no answer, or a server error.

        Args:
            kind: the operation.
            sent: when it was sent.
            received: when it failed.
            status: the answer's, 500 or more; None for no answer at all.
            holder: who asked.
            hold: about which hold.
            showtime: where.
            seats: about which seats; none for all of the holder's.
            server: which server was asked: it may have been down.
            buys: it may have bought the hold.
            ends: it may have ended a hold of the holder's.
        """
        self.answered(kind, str(status or "no answer"))
        about = (holder, hold, showtime, frozenset(seats))
        # A server error is one whatever was asked, and its words are no promise: they are kept apart from `kind`.
        self._add(_Event("failed", sent, received, *about, detail=f"{kind}|{status or 0}|{server}"))
        if buys:
            with self._adding:
                self._maybe_bought.setdefault(hold, sent)
            self._add(_Event("may have bought", sent, received + LATE, *about))
        if ends:
            self._add(_Event("let go", sent, received + LATE, *about))

    def answered(self, kind: str, answer: str) -> None:
        """Count an answer."""
        with self._adding:
            self.answers[kind, answer] += 1

    # --- Telling -----------------------------------------------------------------------------------------------------

    @property
    def operations(self) -> Counter[str]:
        """How many requests of each kind were answered, or were not."""
        counted: Counter[str] = Counter()
        for (kind, _answer), count in self.answers.items():
            counted[kind] += count
        return counted

    def story(self, seat: SeatName, last: int = 20) -> list[str]:
        """Return what was last heard of a seat."""
        showtime, code = seat
        references = {event.reference for event in self._events if event.kind == "booked" and code in event.seats}
        told = [
            event
            for event in self._events
            if (event.showtime == showtime and (code in event.seats or (event.kind == "house" and not event.seats)))
            or (event.kind in CANCELLING and event.reference in references)
        ]
        return [str(event) for event in sorted(told, key=lambda event: event.sent)[-last:]]

    def violations(
        self,
        *,
        database_down: Iterable[Interval] = (),
        servers_down: Mapping[str, Iterable[Interval]] | None = None,
        unavailable: Mapping[str, Iterable[Interval]] | None = None,
    ) -> list[Violation]:
        """Return what was not kept, by the answers alone.

        Args:
            database_down: from when to when PostgreSQL was away: server errors are excused then.
            servers_down: by a server's name, from when to when it was away: that it did not answer is excused then.
            unavailable: by a kind of operation, from when to when 503 is its right answer, for it needs somebody else
                who was away, as a payment provider.
        """
        away = {("0", name): list(intervals) for name, intervals in (servers_down or {}).items()}
        away |= {("503", kind): list(intervals) for kind, intervals in (unavailable or {}).items()}
        return [
            *(Violation("I5", event.detail) for event in self._events if event.kind == "wrong"),
            *self._two_on_a_seat(),
            *self._told_differently(),
            *self._server_errors(list(database_down), away),
        ]

    def violations_at_the_end(
        self, *, bookings: Collection[LastBooking], seats: Mapping[SeatName, LastSeat], asked_at: float
    ) -> list[Violation]:
        """Return what was not kept, by what is there when all is over and everything is up again.

        Args:
            bookings: all bookings.
            seats: all seats.
            asked_at: an instant after both were read.
        """
        return [*self._lost_bookings(bookings), *self._strange_bookings(bookings), *self._lost_seats(seats, asked_at)]

    # --- Judging -----------------------------------------------------------------------------------------------------

    def _certain(self) -> dict[SeatName, list[_Certain]]:
        """Return for each seat from when to when it was certainly whose."""
        ends = _Ends(self._events)
        found: dict[SeatName, list[_Certain]] = defaultdict(list)
        for event in self._events:
            if event.kind in PROMISING:
                until = min(event.until, ends.of_all(event))
                for code in event.seats:
                    certain = _Certain(event.received, min(until, ends.of_seat(event, code)), event)
                    if certain.begins < certain.ends:
                        found[event.showtime, code].append(certain)
        return found

    def _two_on_a_seat(self) -> list[Violation]:
        """I1, I4."""
        found = []
        for seat, intervals in self._certain().items():
            standing: list[_Certain] = []
            for certain in sorted(intervals, key=lambda certain: certain.begins):
                standing = [other for other in standing if other.ends > certain.begins]
                for other in standing:
                    if other.event.holder != certain.event.holder:
                        invariant = "I1" if "booked" in {certain.event.kind, other.event.kind} else "I4"
                        what = f"{seat[1]} of showtime {seat[0]} was two people's: {other.event}; {certain.event}"
                        found.append(Violation(invariant, what, seat))
                standing.append(certain)
        return found

    def _told_differently(self) -> list[Violation]:
        """I3, I5: a hold is bought once, and a booking always has the same seats."""
        references: dict[str, set[str]] = defaultdict(set)
        seats: dict[str, set[frozenset[str]]] = defaultdict(set)
        for event in self._events:
            if event.kind == "booked":
                references[event.hold or ""].add(event.reference or "")
                seats[event.reference or ""].add(event.seats)
        twice = [(hold, names) for hold, names in references.items() if len(names) > 1]
        changed = [(reference, told) for reference, told in seats.items() if len(told) > 1]
        return [
            *(Violation("I3", f"the hold {hold} was bought as {_listed(names)}") for hold, names in twice),
            *(Violation("I5", f"the booking {name} was told with {[*map(_listed, told)]}") for name, told in changed),
        ]

    def _server_errors(
        self, database: list[Interval], away: Mapping[tuple[str, str], list[Interval]]
    ) -> list[Violation]:
        """I10."""
        always = [(begins, ends + SLACK) for begins, ends in database]
        found = []
        for event in self._events:
            if event.kind == "failed":
                kind, status, server = event.detail.split("|")
                excused = [*always, *away.get((status, server if status == "0" else kind), [])]
                if not any(begins <= event.received and event.sent <= ends for begins, ends in excused):
                    said = "no answer" if status == "0" else status
                    what = f"{said} to {kind} by {server or 'a server'}, {event.sent:.3f}–{event.received:.3f}"
                    found.append(Violation("I10", what))
        return found

    def _lost_bookings(self, bookings: Collection[LastBooking]) -> list[Violation]:
        """I3, I5: what was acknowledged is there, once, with its seats, and as it was last said to be."""
        last: dict[str, list[LastBooking]] = defaultdict(list)
        for booking in bookings:
            last[booking.reference].append(booking)
        booked = {event.reference or "": event for event in self._events if event.kind == "booked"}
        cancelled = {event.reference or "": event for event in self._events if event.kind == "cancelled"}
        found = []
        for reference, event in {**cancelled, **booked}.items():
            seat = (event.showtime, min(event.seats)) if event.seats else None
            now = last[reference]
            if len(now) != 1:
                found.append(Violation("I3", f"{event} exists {len(now)} times", seat))
            elif now[0].status not in self._possible_ends(event):
                found.append(Violation("I3", f"{event} is {now[0].status}", seat))
            elif reference in booked and now[0].seats != event.seats:
                found.append(Violation("I5", f"{event} has the seats {_listed(now[0].seats)}", seat))
        return found

    def _possible_ends(self, booking: _Event) -> frozenset[str]:
        """Return how a booking may stand at the end."""
        undone = {event.kind for event in self._events if event.reference == booking.reference} & CANCELLING
        if "cancelled" in undone:
            return GIVEN_BACK
        house = [event for event in self._events if event.kind == "house" and event.showtime == booking.showtime]
        if undone or any(not event.seats or event.seats & booking.seats for event in house):
            return GIVEN_BACK | {CONFIRMED}
        return frozenset({CONFIRMED})

    def _strange_bookings(self, bookings: Collection[LastBooking]) -> list[Violation]:
        """I3: each booking that stands may have been bought by somebody, and no hold was bought twice."""
        bought = {event.hold for event in self._events if event.kind in BUYING - {"was declined"}}
        standing = [booking for booking in bookings if booking.status == CONFIRMED]
        times = Counter(booking.hold for booking in standing)
        return [
            *(
                Violation("I3", f"{booking.reference} stands, and nobody has bought the hold {booking.hold}")
                for booking in standing
                if booking.hold not in bought
            ),
            *(
                Violation("I3", f"the hold {hold} is bought {count} times")
                for hold, count in times.items()
                if count > 1
            ),
        ]

    def _lost_seats(self, seats: Mapping[SeatName, LastSeat], asked_at: float) -> list[Violation]:
        """I3, I4: what is certain beyond the end is so in the database."""
        holders = {event.hold: event.holder for event in self._events if event.hold}
        found = []
        for seat, intervals in self._certain().items():
            last = seats.get(seat, LastSeat("gone", None))
            for certain in intervals:
                event = certain.event
                if event.kind == "booked":
                    kept = last.status == "SOLD" and last.hold == event.hold
                else:
                    # A payment that came late may have taken it for another purchase of the same person.
                    kept = last.status in {"RESERVED", "SOLD"} and holders.get(last.hold) == event.holder
                if certain.ends > asked_at and not kept:
                    what = f"{seat[1]} of showtime {seat[0]} is {last.status} {last.hold or ''}, but {event}"
                    found.append(Violation("I3" if event.kind == "booked" else "I4", what, seat))
        return found

    def _wrong(self, sent: float, received: float, showtime: Any, what: str) -> None:
        self._add(_Event("wrong", sent, received, showtime=showtime, detail=what))

    def _add(self, event: _Event) -> None:
        with self._adding:
            self._events.append(event)


@dataclasses.dataclass(frozen=True)
class _Certain:
    """From when to when a seat was certainly somebody's."""

    begins: float
    ends: float
    event: _Event


class _Ends:
    """Everything that may have ended a promise: by whom or what it was, and the seat; None is all seats."""

    def __init__(self, events: Iterable[_Event]) -> None:
        self._wishes: dict[tuple[str, Any, str | None], list[_Event]] = defaultdict(list)
        events = list(events)
        holds = {event.reference: event.hold for event in events if event.reference and event.hold}
        for event in events:
            self._sort_in(event, holds)
        self._earliest: dict[tuple[str, Any, str | None], tuple[list[float], list[float]]] = {}
        for whose, wishes in self._wishes.items():
            wishes.sort(key=lambda wish: wish.received)
            # For each end of a wish: the earliest beginning of it and of all that end later.
            earliest = [*itertools.accumulate((wish.sent for wish in reversed(wishes)), min)][::-1]
            self._earliest[whose] = ([wish.received for wish in wishes], earliest)

    def of_all(self, promise: _Event) -> float:
        """Return when a promise may have ended for all of its seats."""
        ends = [self._first("house", promise.showtime, None, promise)]
        ends += [self._first("booking", promise.reference, None, promise)] if promise.reference else []
        if promise.kind != "booked":
            ends.append(self._first("hold", promise.hold, None, promise))
            ends.append(self._first("holder", (promise.holder, promise.showtime), None, promise))
        return min(ends)

    def of_seat(self, promise: _Event, code: str) -> float:
        """Return when a promise may have ended for one seat alone."""
        house = self._first("house", promise.showtime, code, promise)
        if promise.kind == "booked":
            return house
        return min(house, self._first("holder", (promise.holder, promise.showtime), code, promise))

    def _sort_in(self, event: _Event, holds: Mapping[str | None, str | None]) -> None:
        for code in event.seats or (None,):
            if event.kind == "house":
                self._wishes["house", event.showtime, code].append(event)
            if event.kind == "let go":
                self._wishes["holder", (event.holder, event.showtime), code].append(event)
        if event.kind in CANCELLING:
            self._wishes["booking", event.reference, None].append(event)
            # Nor is the hold anybody's any more.
            self._wishes["hold", holds.get(event.reference), None].append(event)
        if event.kind in BUYING:
            # From here on the payment's time counts, and no longer the hold's.
            self._wishes["hold", event.hold, None].append(event)

    def _first(self, what: str, which: Any, code: str | None, promise: _Event) -> float:
        """Return when the first wish was sent that was not over when the promise was asked for, but for its own."""
        received, earliest = self._earliest.get((what, which, code), ([], []))
        index = bisect.bisect_left(received, promise.sent)
        if index == len(earliest):
            return FOREVER
        if earliest[index] == promise.sent and promise.kind in BUYING:
            rest = self._wishes[what, which, code][index:]
            return min((wish.sent for wish in rest if wish.sent != promise.sent), default=FOREVER)
        return earliest[index]


def _listed(codes: Iterable[str]) -> str:
    return ", ".join(sorted(codes))
