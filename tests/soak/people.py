"""The people of the soak. Each acts by a plan of their own dice, believes what they are told, and tells the judge."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.soak.lines import EVENTS, Answer, HttpLine, SocketLine, pause
from tests.soak.watchers import Abandoned
from tests.support.promises import Promises

CONTACT = {"name": "Ada Example", "email": "ada@example.org"}
WEBHOOK_SECRET = "the soak signs notices by itself"
# What the house keeps for who was declined, in seconds.
AFTER_DECLINE = 120
# How long a person waits before they ask once more what came of a request that nobody answered.
REPETITIONS = (0.3, 0.6, 1.2, 2.4, 4.8, 9.6)
MOST_SEATS = 6
# How often somebody who waits for the provider asks between two acts, and how often they rather cancel.
LOOKS_AFTER_PAYMENT, THINKS_BETTER = 0.3, 0.1
# How often somebody does not ask again what came of a request that nobody answered.
LETS_IT_BE = 0.3
# How often somebody who lets go of seats names some that are not theirs.
NAMES_OTHERS = 0.3
# How long a web process that gave no answer is left alone, in seconds.
REST = 1.0
KEPT_BOOKINGS = 2
# Refusals that the contract has for what the people do.
EXPECTED = {
    (400, "too_many_seats"),
    (402, "payment_declined"),
    (404, "not_found"),
    (409, "seat_held"),
    (409, "seat_booked"),
    (409, "seat_blocked"),
    (409, "seat_locked"),
    (409, "hold_paying"),
    (409, "not_on_sale"),
    (410, "hold_expired"),
}


@dataclasses.dataclass(frozen=True)
class Sample:
    """One request: when it was sent, what it was, its seconds, its status (0 for no answer), and who was asked."""

    sent: float
    kind: str
    seconds: float
    status: int
    server: str


@dataclasses.dataclass
class World:
    """What all people share."""

    seed: str
    ports: dict[str, int]
    showtimes: list[int]
    short: list[int]
    """Of the showtimes, those whose holds run out within seconds."""
    codes: list[str]
    payment_seconds: int
    think: float
    promises: Promises
    over: asyncio.Event
    samples: list[Sample] = dataclasses.field(default_factory=list)
    abandoned: list[Abandoned] = dataclasses.field(default_factory=list)
    surprises: list[str] = dataclasses.field(default_factory=list)

    def dice(self, name: str) -> random.Random:
        """Return the dice of somebody: the same for the same seed."""
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - no secret


@dataclasses.dataclass
class MyHold:
    """What a person believes to hold at a showtime."""

    hold_id: str
    seats: set[str]
    answer: Answer


class Person:
    """A guest who reaches both web processes by REST; `by_socket`, they hold and release by the socket."""

    def __init__(self, number: int, world: World, *, by_socket: bool = False) -> None:
        self.name = f"person {number}"
        self.world = world
        self.dice = world.dice(self.name)
        self.token = ""
        self.lines = [HttpLine(server, port) for server, port in world.ports.items()]
        self.socket = SocketLine(*self.dice.choice(list(world.ports.items()))) if by_socket else None
        self.holds: dict[int, MyHold] = {}
        self.away_until: dict[int, float] = {}
        self.bookings: dict[str, tuple[int, str]] = {}
        self.waiting: dict[str, tuple[int, str]] = {}

    async def live(self) -> None:
        """Act until it is over."""
        while not self.token and not self.world.over.is_set():
            answer = await self.dice.choice(self.lines).ask("POST", "auth/guest")
            self.token = answer.body["access"] if answer.is_success else ""
            await pause(0.2, self.world.over)
        while not self.world.over.is_set():
            await self._act()
            await pause(self.world.think * self.dice.uniform(0.2, 1.8), self.world.over)
        for line in self.lines:
            line.close()
        if self.socket:
            await self.socket.close()

    async def _act(self) -> None:
        here = [each for each in self.world.showtimes if self.away_until.get(each, 0) < time.monotonic()]
        showtime = self.dice.choice(here)
        if len(self.bookings) > KEPT_BOOKINGS:
            await self._cancel(self.dice.choice(sorted(self.bookings)))
        if self.waiting and self.dice.random() < LOOKS_AFTER_PAYMENT:
            await self._look_after_payment(self.dice.choice(sorted(self.waiting)))
        mine = self.holds.get(showtime)
        if mine is None:
            await self.dice.choices([self._lock, self._best, self._look], [80, 15, 5])[0](showtime)
            return
        acts: dict[Callable[[int], Any], int] = {
            self._lock: 20,
            self._extend: 15,
            self._unlock_some: 12,
            self._unlock_all: 25,
            self._leave_by_id: 5,
            self._look: 4,
            self._buy: 14,
            self._confirm: 5,
        }
        if showtime in self.world.short:
            acts[self._abandon] = 40
        await self.dice.choices(list(acts), list(acts.values()))[0](showtime)

    # --- Holding -----------------------------------------------------------------------------------------------------

    async def _lock(self, showtime: int) -> None:
        first = self.dice.randrange(len(self.world.codes))
        near = (self.world.codes * 2)[first : first + 12]
        wanted = self.dice.sample(near, self.dice.randint(1, MOST_SEATS))
        path = f"showtimes/{showtime}/seats/lock"
        self._learn(showtime, await self._insist("lock", path, {"seats": wanted}, showtime), wanted)

    async def _best(self, showtime: int) -> None:
        body = {"showtime_id": showtime, "quantity": self.dice.randint(1, MOST_SEATS)}
        self._learn(showtime, await self._insist("best", "holds", body, showtime))

    async def _insist(self, kind: str, path: str, body: dict[str, Any], showtime: int) -> Answer:
        """Ask for seats; who has no answer asks once more by the same name, or lets it be."""
        key = self._key()
        answer = await self._ask(kind, "POST", path, body, showtime, key=key)
        if answer.is_known or self.dice.random() < LETS_IT_BE:
            return answer
        await pause(self.dice.choice(REPETITIONS[:4]), self.world.over)
        again = await self._ask(kind, "POST", path, body, showtime, key=key)
        # It may tell what was answered before: its time counts from then.
        return dataclasses.replace(again, sent=answer.sent)

    async def _extend(self, showtime: int) -> None:
        answer = await self._ask("extend", "PUT", f"showtimes/{showtime}/seats/extend-lock", {}, showtime)
        self._learn(showtime, answer)

    async def _unlock_some(self, showtime: int) -> None:
        """Let go of some seats, and now and then name others, too: whatever is somebody else's is passed over."""
        seats = sorted(self.holds[showtime].seats)
        which = self.dice.sample(seats, self.dice.randint(1, len(seats)))
        if self.dice.random() < NAMES_OTHERS:
            which += self.dice.sample([code for code in self.world.codes if code not in seats], 3)
        await self._unlock(showtime, which)

    async def _unlock_all(self, showtime: int) -> None:
        await self._unlock(showtime, None)

    async def _unlock(self, showtime: int, which: list[str] | None) -> None:
        body = {"seats": which} if which else {}
        path = f"showtimes/{showtime}/seats/unlock"
        self._released(showtime, which, await self._ask("unlock", "DELETE", path, body, showtime, ends=True))

    async def _leave_by_id(self, showtime: int) -> None:
        path = f"holds/{self.holds[showtime].hold_id}"
        self._released(showtime, None, await self._ask("leave", "DELETE", path, None, showtime, ends=True))

    def _released(self, showtime: int, which: list[str] | None, answer: Answer) -> None:
        if not answer.is_success:
            if not answer.is_known or answer.status in {404, 410}:
                self.holds.pop(showtime, None)
            return
        left = answer.body["hold"]
        self.world.promises.released(
            holder=self.name,
            showtime=showtime,
            seats=which,
            sent=answer.sent,
            received=answer.received,
            left=left["seats"] if left else (),
        )
        self.holds.pop(showtime, None)
        if left:
            self._believe(showtime, left, answer)

    async def _look(self, showtime: int) -> None:
        """Ask what one has, for it may be more or less than one believes."""
        answer = await self._ask("look", "GET", "holds", None, showtime)
        if answer.is_success:
            self.holds.pop(showtime, None)
            for hold in answer.body["results"] if isinstance(answer.body, dict) else answer.body:
                if hold["showtime_id"] == showtime:
                    self._believe(showtime, hold, answer)

    async def _abandon(self, showtime: int) -> None:
        """Renew it, so that its duration is told, and go away until it has run out."""
        answer = await self._ask("extend", "PUT", f"showtimes/{showtime}/seats/extend-lock", {}, showtime)
        self._learn(showtime, answer)
        mine = self.holds.pop(showtime, None)
        if mine is None or not answer.is_success:
            return
        lives = _seconds_between(answer.body["server_time"], answer.body["expires_at"])
        due, latest = answer.sent + lives, answer.received + lives
        self.world.abandoned.append(Abandoned(showtime, frozenset(mine.seats), due, latest))
        self.away_until[showtime] = latest + 2.5

    def _learn(self, showtime: int, answer: Answer, asked: list[str] | None = None) -> None:
        if answer.is_success:
            self._believe(showtime, answer.body, answer, asked)
        elif not answer.is_known or answer.status == 410:
            self.holds.pop(showtime, None)

    def _believe(self, showtime: int, hold: dict[str, Any], answer: Answer, asked: list[str] | None = None) -> None:
        self.holds[showtime] = MyHold(hold["hold_id"], set(hold["seats"]), answer)
        self.world.promises.held(
            hold=hold["hold_id"],
            holder=self.name,
            showtime=showtime,
            seats=hold["seats"],
            expires_in=hold["expires_in"],
            sent=answer.sent,
            received=answer.received,
            asked=asked or (),
        )

    # --- Buying ------------------------------------------------------------------------------------------------------

    async def _buy(self, showtime: int) -> None:
        mine = self.holds.pop(showtime)
        token = self.dice.choices(["succeed", "decline", "stall", "stripe"], [5, 2, 4, 6])[0]
        payment = {"provider": "stripe"} if token == "stripe" else {"provider": "demo", "token": token}
        body = {"hold_id": mine.hold_id, "contact": CONTACT, "payment": payment}
        await self._purchase(showtime, mine, "bookings", body)

    async def _confirm(self, showtime: int) -> None:
        """Buy some of the seats; the others of the hold are let go of."""
        mine = self.holds.pop(showtime)
        some = sorted(self.dice.sample(sorted(mine.seats), self.dice.randint(1, len(mine.seats))))
        payment = {"provider": "demo", "token": "succeed"}
        body = {"showtime_id": showtime, "seats": some, "contact": CONTACT, "payment": payment}
        await self._purchase(showtime, mine, "bookings/confirm", body)

    async def _purchase(self, showtime: int, mine: MyHold, path: str, body: dict[str, Any]) -> None:
        """Ask until there is an answer, always by the same name."""
        key = self._key()
        kind = "confirm" if path.endswith("confirm") else f"buy, {body['payment'].get('token', 'stripe')}"
        first = time.monotonic()
        answer = await self._ask(kind, "POST", path, body, showtime, hold=mine.hold_id, buys=True, key=key)
        for seconds in REPETITIONS:
            if answer.is_known and answer.code != "seat_locked":
                break
            await asyncio.sleep(seconds)
            again = f"{kind}, again"
            answer = await self._ask(again, "POST", path, body, showtime, hold=mine.hold_id, buys=True, key=key)
        # A repetition tells what was answered before: from then on its time counts.
        answer = dataclasses.replace(answer, sent=first)
        if answer.is_success:
            if kind == "confirm":
                rest = mine.seats - set(answer.body["seats"])
                self._let_go(showtime, rest, answer)
            await self._bought(showtime, mine.hold_id, answer)
        elif answer.status == 402:
            self._declined(showtime, mine, answer)

    def _let_go(self, showtime: int, seats: set[str], answer: Answer) -> None:
        if seats:
            self.world.promises.released(
                holder=self.name, showtime=showtime, seats=seats, sent=answer.sent, received=answer.received
            )

    def _declined(self, showtime: int, mine: MyHold, answer: Answer) -> None:
        self.holds[showtime] = mine
        self.world.promises.declined(
            hold=mine.hold_id,
            holder=self.name,
            showtime=showtime,
            seats=mine.seats,
            seconds=AFTER_DECLINE,
            sent=answer.sent,
            received=answer.received,
        )

    async def _bought(self, showtime: int, hold_id: str, answer: Answer) -> None:
        booking = answer.body
        about = {"reference": booking["reference"], "hold": hold_id, "holder": self.name, "showtime": showtime}
        about |= {"seats": booking["seats"], "sent": answer.sent, "received": answer.received}
        if booking["status"] == "CONFIRMED":
            self.world.promises.booked(**about)
            self.bookings[booking["reference"]] = (showtime, hold_id)
        elif booking["status"] == "PENDING":
            self.world.promises.paying(**about, seconds=self.world.payment_seconds)
            if booking["payment"]["provider"] == "demo":
                await self._pay(showtime, hold_id, booking)
            else:
                # Whether and when the buyer pays is decided at the provider; it is asked for later.
                self.waiting[booking["reference"]] = (showtime, hold_id)

    async def _pay(self, showtime: int, hold_id: str, booking: dict[str, Any]) -> None:
        """Let a payment that waits come to one of its many ends."""
        page = booking["payment"].get("redirect_url") or ""
        provider_reference = page.rstrip("/").rpartition("/")[2]
        plans = {"captured": 4, "declined": 2, "reordered": 2, "late": 2, "forged": 1, "cancel": 2, "nothing": 1}
        plan = self.dice.choices(list(plans), list(plans.values()))[0]
        notice = _Notice(booking, provider_reference)
        await pause(self.dice.uniform(0, 1), self.world.over)
        if plan == "late":
            await pause(self.world.payment_seconds + self.dice.uniform(0, 3), self.world.over)
        for signed, what in self._told(plan, notice):
            await self._notify(signed, what, forged=plan == "forged")
        if plan == "cancel":
            await self._cancel(booking["reference"])
        await self._ask_for_booking(showtime, hold_id, booking["reference"])

    def _told(self, plan: str, notice: _Notice) -> list[tuple[tuple[bytes, str], str]]:
        """Return the notices of a plan, in order, and what to call each."""
        match plan:
            case "captured":
                return [(notice.signed("captured"), "captured")] * self.dice.randint(1, 3)
            case "declined":
                return [(notice.signed("declined"), "declined")]
            case "reordered":
                outcomes = self.dice.sample(["declined", "captured"], 2)
                return [(notice.signed(outcome), f"{outcome}, reordered") for outcome in outcomes]
            case "late":
                return [(notice.signed("captured"), "captured, late")] * 2
            case "forged":
                # Signed by somebody else, and by the provider an hour ago: a clock that is wrong, or a repetition.
                return [(notice.forged("captured"), "forged"), (notice.signed("captured", ago=3600), "outdated")]
            case _:
                return []

    async def _notify(self, notice: tuple[bytes, str], what: str, *, forged: bool = False) -> None:
        """Be the provider: tell, and tell again until it is heard."""
        body, header = notice
        for seconds in (*REPETITIONS, 0):
            headers = {"Demo-Signature": header}
            answer = await self._line().ask("POST", "payments/demo/webhook", body, **headers)
            self._note(f"notice, {what}", answer, expected={(400, "invalid_data")} if forged else set())
            if forged and answer.is_success:
                self.world.surprises.append(f"a forged notice was taken for true: {answer.status}")
            if answer.is_known and answer.code != "seat_locked":
                return
            await asyncio.sleep(seconds)

    async def _look_after_payment(self, reference: str) -> None:
        """Ask how a payment at the provider stands; some think better of it."""
        showtime, hold_id = self.waiting[reference]
        if self.dice.random() < THINKS_BETTER:
            del self.waiting[reference]
            await self._cancel(reference)
        elif await self._ask_for_booking(showtime, hold_id, reference) not in {"PENDING", ""}:
            del self.waiting[reference]

    async def _ask_for_booking(self, showtime: int, hold_id: str, reference: str) -> str:
        """Return how a booking stands; nothing if nobody said."""
        answer = await self._ask("booking", "GET", f"bookings/{reference}", None, showtime, hold=hold_id)
        if answer.is_success and answer.body["status"] == "CONFIRMED":
            await self._bought(showtime, hold_id, answer)
        return str(answer.body["status"]) if answer.is_success else ""

    async def _cancel(self, reference: str) -> None:
        self.bookings.pop(reference, None)
        kind, path = "cancel", f"bookings/{reference}/cancel"
        for seconds in (*REPETITIONS, 0):
            answer = await self._ask(kind, "POST", path, None)
            done = answer.is_success and answer.body["status"] in {"CANCELLED", "REFUND_DUE", "REFUNDED"}
            self.world.promises.cancelled(
                reference=reference, sent=answer.sent, received=answer.received, acknowledged=done
            )
            if answer.is_known and answer.code != "seat_locked":
                return
            await asyncio.sleep(seconds)

    def _key(self) -> str:
        return str(uuid.UUID(int=self.dice.getrandbits(128)))

    def _line(self) -> HttpLine:
        """Return a line to a web process that was not silent just now, as a proxy in front would choose."""
        now = time.monotonic()
        return self.dice.choice([line for line in self.lines if now - line.silent_at > REST] or self.lines)

    # --- Asking ------------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        body: Any,
        showtime: int | None = None,
        *,
        hold: str | None = None,
        buys: bool = False,
        ends: bool = False,
        key: str = "",
    ) -> Answer:
        if self.socket and kind in EVENTS:
            answer = await self.socket.ask(kind, {"showtime_id": showtime, **(body or {})}, self.token)
            kind = f"{kind}, socket"
            if answer.status is None:
                await pause(REST, self.world.over)
        else:
            headers = {"Idempotency-Key": key} if key else {}
            answer = await self._line().ask(method, path, body, self.token, **headers)
        seats = body.get("seats", ()) if isinstance(body, dict) and ends and not buys else ()
        self._note(kind, answer, showtime=showtime, hold=hold, seats=seats, buys=buys, ends=ends)
        return answer

    def _note(self, kind: str, answer: Answer, *, expected: set[tuple[int, str]] | None = None, **about: Any) -> None:
        took = answer.received - answer.sent
        self.world.samples.append(Sample(answer.sent, kind, took, answer.status or 0, answer.server))
        promises = self.world.promises
        if not answer.is_known:
            promises.unknown(
                kind=kind,
                sent=answer.sent,
                received=answer.received,
                status=answer.status,
                holder=self.name,
                server=answer.server,
                **about,
            )
        elif answer.is_success:
            promises.answered(kind, str(answer.status))
        else:
            promises.refused(kind=kind, status=answer.status or 0, code=answer.code)
            if (answer.status or 0, answer.code) not in EXPECTED | (expected or set()):
                self.world.surprises.append(f"{kind}: {answer.status} {json.dumps(answer.body)[:300]}")


class _Notice:
    """What the provider `demo` has to say of a payment, signed as docs/payments.md says."""

    def __init__(self, booking: dict[str, Any], reference: str) -> None:
        amount = round(float(booking["total"]["amount"]) * 100)
        self._payment = {
            "id": reference,
            "amount": amount,
            "currency": booking["total"]["currency"],
            "metadata": {"order": booking["reference"]},
        }

    def signed(self, outcome: str, *, ago: float = 0, secret: str = WEBHOOK_SECRET) -> tuple[bytes, str]:
        """Return the body and the signature of the notice; `ago` is how many seconds old the signature is."""
        at = int(time.time() - ago)
        event = {"id": f"evt_{self._payment['id']}_{outcome}", "type": f"payment.{outcome}", "created": at}
        body = json.dumps({**event, "data": {"object": self._payment}}).encode()
        digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return body, f"t={at},v1={digest}"

    def forged(self, outcome: str) -> tuple[bytes, str]:
        """Return one that somebody else signed."""
        return self.signed(outcome, secret="somebody else's")


def _seconds_between(earlier: str, later: str) -> float:
    return (dt.datetime.fromisoformat(later) - dt.datetime.fromisoformat(earlier)).total_seconds()
