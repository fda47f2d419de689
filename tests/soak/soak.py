"""The soak: a whole cinema, people who buy and watch, faults one after the other, and a judge at the end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.soak import faults, measuring
from tests.soak.faults import Fault
from tests.soak.lines import HttpLine, pause
from tests.soak.measuring import Meter, Struck
from tests.soak.people import WEBHOOK_SECRET, Person, Sample, World
from tests.soak.watchers import PollingWatcher, SocketWatcher
from tests.support.cinema import CHECKOUT, MIGRATE, Cinema, running_cinema
from tests.support.promises import LastBooking, LastSeat, Promises, Violation
from tests.support.proxy import Proxy, running_proxy
from tests.support.stripe_server import Behaviour, StripeServer

# Short, so that holds and payments run out often; in seconds.
HOLD, LONGEST_HOLD, SHORT_HOLD, PAYMENT = 40, 120, 3, 6
SHOWTIMES, SHORT_SHOWTIMES = 4, 2
ROWS, ROW = "ABCDEFGH", "sssssss.sssssss"
# A lock that takes no longer shows that the house is well again, in seconds; and how long we wait for that.
QUICK, RECOVERS_WITHIN = 0.4, 60.0
# The share of faults that another one joins.
JOINED = 0.25
STAFF_SECONDS = 1.5
# What could not be done at the provider is tried again after 30 s.
QUIET_WITHIN, CONVERGED_WITHIN = 120.0, 15.0
# How often the house is looked at until it agrees.
LOOKS = 8
# In a house with a mistake nobody waits so long for what may never come; and how often answers are looked at there.
PLANTED_QUIET_WITHIN, LOOKED_OUT_EVERY, ON_ITS_WAY = 20.0, 0.5, 2.0
# Buyers pay at once, or too late; their banks say no, or the provider's notices go astray. In seconds.
LATEST_PAYMENT, PROVIDER_RESTS = 8.0, 6.0
STRIPE: dict[str, Any] = {
    "outcomes": {"pay": 0.65, "succeed": 0.1, "fail": 0.1},
    "after": (0.2, LATEST_PAYMENT),
    "notices": {"lost": 0.1, "late": 0.1, "twice": 0.15, "forged": 0.1, "reordered": 0.1},
    "late_seconds": 4.0,
}
# What is promised of an expired hold on open maps, and of locks while only Redis has trouble; in seconds.
FREE_WITHIN, LOCK_P99 = 2.0, 0.4

PREPARE = f"""{MIGRATE}
import datetime as dt, json
from django.utils import timezone
from tests.factories import make_showtime
drawing = "\\n".join(f"{{row}} {ROW}" for row in {ROWS!r})
def made(**given):
    return make_showtime(drawing=drawing, starts_at=timezone.now() + dt.timedelta(days=2), **given).pk
print(json.dumps([
    [made() for _ in range({SHOWTIMES})], [made(hold_seconds={SHORT_HOLD}) for _ in range({SHORT_SHOWTIMES})],
    made(), [made() for _ in range(3)],
]))
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """How to soak.

    Args:
        seconds: how long people act and faults happen.
        seed: of all dice.
        mix: which faults, by a name of `faults.MIXES`, or names of faults with commas between.
        clients: how many people act; a quarter of them by socket.
        watchers: how many only watch; a third of them by polling.
        think: how many seconds a person thinks between two acts, about.
        gap: how many seconds lie between two faults, about.
        planted: a mistake of tests/support/mutants.py that the house makes; it is over as soon as answers show it.
        folder: where data, logs and the report go.
        progress: is told in a line how it goes.
    """

    seconds: float
    seed: str
    folder: Path
    mix: str = "all"
    clients: int = 24
    watchers: int = 12
    think: float = 0.3
    gap: float = 2.0
    planted: str = ""
    progress: Callable[[str], None] = print
    trouble: Callable[[Soak], None] | None = None
    """What a test does behind the house's back after the judgement; then it is judged once more."""


@dataclasses.dataclass
class Outcome:
    """What came of a soak."""

    options: Options
    began: float
    ended: float
    promises: Promises
    samples: list[Sample]
    struck: list[Struck]
    meter: Meter
    lags: list[tuple[float, bool]]
    """Seconds from the end of a hold to its last seat on a map, and whether a fault was going on."""
    violations: list[Violation]
    after_trouble: list[Violation]
    resyncs: int
    polls_kept: int
    met_by: list[str]
    """The processes that came by the mistake that was planted."""
    seen_after: float | None
    """How many seconds people had acted when answers showed it."""

    @property
    def targets(self) -> list[tuple[str, bool | None, str]]:
        """The numbers to reach: what, whether it was reached (None where it does not apply), and the measured one."""
        locks = measuring.quantiles(sample.seconds for sample in measuring.answered(measuring.locks(self.samples)))
        only_redis = self.options.mix == "redis"
        operations = sum(self.promises.operations.values())
        kinds = len({fault.name for fault in self.struck})
        late = sum(lag > FREE_WITHIN for lag, _during in self.lags)
        errors = sum(sample.status >= 500 or not sample.status for sample in self.samples)
        return [
            ("operations with seats, at least 20,000", operations >= 20_000, f"{operations:,}"),
            ("faults, at least 40 of 12 kinds", len(self.struck) >= 40 and kinds >= 12, f"{len(self.struck)}, {kinds}"),
            ("violations, none", not self.violations, str(len(self.violations))),
            ("expired holds free on open maps within 2 s", not late if self.lags else None, f"{late} late"),
            ("Redis faults alone: server errors, none", not errors if only_redis else None, str(errors)),
            (
                "Redis faults alone: locks p99 under 400 ms",
                bool(locks and locks["p99"] < LOCK_P99 * 1000) if only_redis else None,
                f"{locks['p99']} ms" if locks else "no lock",
            ),
        ]


def run(options: Options) -> Outcome:
    """Soak, and return what came of it."""
    settings = {
        "SEAT_HOLD_SECONDS": str(HOLD),
        "SEAT_HOLD_MAX_SECONDS": str(LONGEST_HOLD),
        "PAYMENT_SECONDS": str(PAYMENT),
        "DEMO_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "LOG_LEVEL": "INFO",
    }
    stripe = StripeServer(seed=zlib.crc32(options.seed.encode()), behaviour=Behaviour(**STRIPE))
    with stripe.running(), running_proxy(stripe.address.removeprefix("http://")) as road:
        settings |= {
            "PAYMENT_PROVIDERS": "demo,stripe",
            "STRIPE_SECRET_KEY": stripe.key,
            "STRIPE_WEBHOOK_SECRETS": ",".join(stripe.behaviour.secrets),
            "STRIPE_API_BASE": f"http://127.0.0.1:{road.port}",
        }
        folder = options.folder / "cinema"
        with running_cinema(folder=folder, prepare=PREPARE, planted=options.planted, **settings) as cinema:
            return asyncio.run(Soak(options, cinema, stripe, road).run())


class Soak:
    """One run against a cinema that stands."""

    def __init__(self, options: Options, cinema: Cinema, stripe: StripeServer, road_to_stripe: Proxy) -> None:
        self.options = options
        self.cinema = cinema
        self.stripe = stripe
        self.road_to_stripe = road_to_stripe
        regular, short, self.probed, self.spare = json.loads(cinema.prepared.splitlines()[-1])
        numbers = [*range(1, ROW.count("s") + 1)]
        self.world = World(
            seed=options.seed,
            ports={web.name: web.port for web in cinema.web},
            showtimes=[*regular, *short, *self.spare],
            short=short,
            codes=[f"{row}{number}" for row in ROWS for number in numbers],
            payment_seconds=PAYMENT,
            think=options.think,
            promises=Promises(),
            over=asyncio.Event(),
        )
        self.closed = asyncio.Event()
        self.watchers: list[SocketWatcher | PollingWatcher] = []
        self.meter = Meter(cinema)
        self.struck: list[Struck] = []
        self.violations: list[Violation] = []
        self.seen_after: float | None = None
        # Parts of a cinema are for one thread.
        self.hands = ThreadPoolExecutor(1, "faults")

    async def run(self) -> Outcome:
        """Let everybody act; then judge."""
        began = time.monotonic()
        places = list(self.world.ports.items())
        for number in range(self.options.watchers):
            kind = PollingWatcher if number % 3 == 2 else SocketWatcher
            server, port = places[number % len(places)]
            showtime = self.world.showtimes[-(number // 2) % len(self.world.showtimes) - len(self.spare)]
            self.watchers.append(kind(server, port, showtime))
        people = [Person(number, self.world, by_socket=number % 4 == 3) for number in range(self.options.clients)]
        async with asyncio.TaskGroup() as background:
            for watcher in self.watchers:
                background.create_task(watcher.watch(self.closed))
            background.create_task(self._measure())
            async with asyncio.TaskGroup() as acting:
                for person in people:
                    acting.create_task(person.live())
                acting.create_task(self._staff())
                acting.create_task(self._strike_always())
                acting.create_task(self._tell(began))
                if self.options.planted:
                    acting.create_task(self._look_out(began))
                await pause(self.options.seconds, self.world.over)
                self.world.over.set()
            if self.seen_after is not None and (broken := self._broken_by_answers()):
                # Nobody waits for what else comes of a mistake that is seen.
                self.violations += broken
            else:
                await self._quiet()
                self.violations += await self._judged()
            found = []
            if self.options.trouble:
                await asyncio.to_thread(self.options.trouble, self)
                found = await self._judged(looks=1)
            self.closed.set()
        ended = time.monotonic()
        # Connections that were hung up close in the loop's next rounds.
        await asyncio.sleep(0.1)
        return Outcome(
            options=self.options,
            began=began,
            ended=ended,
            promises=self.world.promises,
            samples=self.world.samples,
            struck=self.struck,
            meter=self.meter,
            lags=self._lags(),
            violations=self.violations,
            after_trouble=found,
            resyncs=sum(watcher.resyncs for watcher in self.watchers if isinstance(watcher, SocketWatcher)),
            polls_kept=sum(watcher.kept for watcher in self.watchers if isinstance(watcher, PollingWatcher)),
            met_by=[name for name, part in self.cinema.parts.items() if part.has_said("mutant.met")],
            seen_after=self.seen_after,
        )

    async def _look_out(self, began: float) -> None:
        """End it as soon as answers show the mistake: nothing more is to be learned."""
        since: dict[Violation, float] = {}
        while not self.world.over.is_set():
            await pause(LOOKED_OUT_EVERY, self.world.over)
            now = time.monotonic()
            # Whether an error is excused is told only when faults are over.
            seen = [each for each in await asyncio.to_thread(self._broken_by_answers) if each.invariant != "I10"]
            since = {violation: since.get(violation, now) for violation in seen}
            # What looks like one may be undone by an answer that is still on its way.
            if since and now - min(since.values()) > ON_ITS_WAY:
                self.seen_after = min(since.values()) - began
                self.world.over.set()

    # --- Faults ------------------------------------------------------------------------------------------------------

    async def _strike_always(self) -> None:
        dice = self.world.dice("faults")
        every = faults.all_faults(self.cinema, self.stripe, self.road_to_stripe, self.world.dice("cuts"))
        kinds = chosen_faults(every, self.options.mix)
        await pause(min(3.0, self.options.seconds / 10), self.world.over)
        bag: list[Fault] = []
        while kinds and not self.world.over.is_set():
            bag = bag or dice.sample(kinds, len(kinds))
            fault = bag.pop()
            second = next((other for other in bag if other.area != fault.area), None)
            if second and dice.random() < JOINED:
                bag.remove(second)
                both = [self._strike(each, dice.uniform(0.3, 1)) for each in (fault, second)]
                await asyncio.gather(*both)
            else:
                await self._strike(fault, dice.uniform(0.3, 1))
            await pause(self.options.gap * dice.uniform(0.5, 1.5), self.world.over)

    async def _strike(self, fault: Fault, share: float) -> None:
        """Let a fault happen; return when the house is well again."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        await loop.run_in_executor(self.hands, fault.begin)
        # What begins is healed, also when it is over.
        await asyncio.sleep(fault.longest * share)
        await loop.run_in_executor(self.hands, fault.heal)
        healed = time.monotonic()
        recovered = await self._recovered()
        server = self.cinema.web[fault.web_away].name if fault.web_away is not None else ""
        self.struck.append(Struck(fault.name, began, healed, recovered, fault.database_away, server, fault.area))
        if recovered is None:
            what = f"{RECOVERS_WITHIN:.0f} s after “{fault.name}” was healed the house was not well"
            self.violations.append(Violation("I9", what))

    async def _recovered(self) -> float | None:
        """Return when each web process is well and locks quickly; None if they are not in time."""
        lines = [HttpLine(server, port) for server, port in self.world.ports.items()]
        deadline = time.monotonic() + RECOVERS_WITHIN
        try:
            while time.monotonic() < deadline:
                if all([await self._is_well(line) for line in lines]):
                    return time.monotonic()
                await asyncio.sleep(0.1)
        finally:
            for line in lines:
                line.close()
        return None

    async def _is_well(self, line: HttpLine) -> bool:
        health = await line.ask("GET", "health", patience=3)
        if not health.is_success or health.body["status"] != "ok":
            return False
        guest = await line.ask("POST", "auth/guest", patience=3)
        if not guest.is_success:
            return False
        token, path = guest.body["access"], f"showtimes/{self.probed}/seats"
        # Two faults at once are waited for by two: each takes a seat of its own.
        for code in self.world.codes:
            lock = await line.ask("POST", f"{path}/lock", {"seats": [code]}, token, patience=3)
            if lock.code in {"seat_held", "seat_locked"}:
                continue
            await line.ask("DELETE", f"{path}/unlock", {}, token, patience=3)
            return lock.is_success and lock.received - lock.sent < QUICK
        return False

    # --- The house ---------------------------------------------------------------------------------------------------

    async def _staff(self) -> None:
        """Block and free seats, stop and resume sales, take holds back, and cancel a showtime now and then."""
        dice, world = self.world.dice("staff"), self.world
        blocked: list[tuple[int, list[str]]] = []
        cancelled = time.monotonic()
        with self._staff_process() as tell:
            while not world.over.is_set():
                await pause(STAFF_SECONDS * dice.uniform(0.5, 1.5), world.over)
                showtime = dice.choice([each for each in world.showtimes if each not in world.short])
                if self.spare and time.monotonic() - cancelled > max(self.options.seconds / 4, 10):
                    cancelled = time.monotonic()
                    gone = self.spare.pop()
                    # Before it is asked for, so that nobody wants it any more.
                    world.showtimes.remove(gone)
                    blocked = [entry for entry in blocked if entry[0] != gone]
                    await self._call_off(tell, gone)
                elif blocked and dice.random() < 0.4:
                    await self._unblock(tell, *blocked.pop())
                elif dice.random() < 0.6:
                    seats = dice.sample(world.codes, 2)
                    if await self._block(tell, showtime, seats):
                        blocked.append((showtime, seats))
                elif dice.random() < 0.5:
                    await self._order(tell, "stop sales", showtime)
                    await pause(0.5, world.over)
                    await self._insist(tell, "resume sales", showtime)
                else:
                    await self._withdraw(tell, showtime)
            for entry in blocked:
                await self._unblock(tell, *entry)
            for showtime in world.showtimes:
                await self._insist(tell, "resume sales", showtime)

    @contextlib.contextmanager
    def _staff_process(self) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.staff"],
            cwd=CHECKOUT,
            env=self.cinema.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin
        assert process.stdout

        def tell(order: dict[str, Any]) -> dict[str, Any]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        try:
            yield tell
        finally:
            process.stdin.close()
            process.wait(20)
            process.stdout.close()

    async def _order(self, tell: Any, what: str, showtime: int, seats: Iterable[str] = ()) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(tell, {"do": what, "showtime": showtime, "seats": [*seats]})
        self.world.promises.answered(f"staff: {what}", next(iter(answer)))
        return answer

    async def _insist(self, tell: Any, what: str, showtime: int, seats: Iterable[str] = ()) -> None:
        """Order it until it is done; unless it is refused for good."""
        while True:
            answer = await self._order(tell, what, showtime, seats)
            if "failed" not in answer and answer.get("refused") != "seat_locked":
                return
            await asyncio.sleep(0.3)

    async def _block(self, tell: Any, showtime: int, seats: list[str]) -> bool:
        """Block seats; a blocked seat is the house's own, and nobody may be given it."""
        sent = time.monotonic()
        answer = await self._order(tell, "block", showtime, seats)
        if "done" in answer:
            received = time.monotonic()
            about = {"hold": "", "holder": "the house", "showtime": showtime, "seats": seats, "expires_in": 1e9}
            self.world.promises.held(**about, sent=sent, received=received)
        # One that failed may be blocked, too.
        return "refused" not in answer

    async def _unblock(self, tell: Any, showtime: int, seats: list[str]) -> None:
        about = {"holder": "the house", "showtime": showtime, "seats": seats}
        sent = time.monotonic()
        await self._insist(tell, "unblock", showtime, seats)
        self.world.promises.released(**about, sent=sent, received=time.monotonic())

    async def _withdraw(self, tell: Any, showtime: int) -> None:
        """Take somebody's hold back, whoever it is."""
        sent = time.monotonic()
        answer = await self._order(tell, "withdraw", showtime)
        done = answer.get("done")
        if done != []:
            self.world.promises.house(showtime=showtime, seats=done, sent=sent, received=time.monotonic())

    async def _call_off(self, tell: Any, showtime: int) -> None:
        self.world.promises.house(showtime=showtime, sent=time.monotonic())
        await self._insist(tell, "cancel showtime", showtime)

    # --- Measuring ---------------------------------------------------------------------------------------------------

    async def _measure(self) -> None:
        for web in itertools.cycle(self.cinema.web):
            if self.closed.is_set():
                return
            # A proxy in front would give its notices to this one and to that one.
            self.stripe.webhook = f"{web.address}/api/v1/payments/stripe/webhook"
            await asyncio.to_thread(self.meter.read)
            await pause(1, self.closed)

    async def _tell(self, began: float) -> None:
        while not self.world.over.is_set():
            await pause(10, self.world.over)
            operations = sum(self.world.promises.operations.values())
            seconds = time.monotonic() - began
            last = self.struck[-1].name if self.struck else "none yet"
            told = f"{seconds:4.0f} s  {operations:6} operations  {len(self.struck):3} faults (last: {last})"
            self.options.progress(f"{told}  {len(self.violations)} violations")

    def _lags(self) -> list[tuple[float, bool]]:
        """Return how late each map learned of each end; without what nobody could know as PostgreSQL was away."""
        found = []
        for watcher in self.watchers:
            if not isinstance(watcher, SocketWatcher):
                continue
            for hold, lag in watcher.lags(self.world.abandoned):
                around = [fault for fault in self.struck if fault.began - 1 < hold.due_latest and hold.due < fault.over]
                if not any(fault.database_away or fault.server_away for fault in around):
                    found.append((lag, bool(around)))
        return found

    # --- Judging -----------------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        """Return when nothing is under way any more: no payment, no refund, no hold that has run out (I9)."""
        # So long short holds may still run out, and buyers may still pay.
        await asyncio.sleep(max(SHORT_HOLD, LATEST_PAYMENT) + 1.0)
        within = PLANTED_QUIET_WITHIN if self.options.planted else QUIET_WITHIN
        deadline = time.monotonic() + within
        while stuck := await asyncio.to_thread(self._under_way):
            if time.monotonic() > deadline:
                self.violations.append(Violation("I9", f"after {within:.0f} s of quiet: {stuck}"))
                return
            await asyncio.sleep(0.5)

    def _under_way(self) -> dict[str, int]:
        ((bookings, lapsed),) = self.cinema.sql(
            """
            SELECT (SELECT count(*) FROM bookings_booking WHERE status IN ('PENDING', 'REFUND_DUE')),
                   (SELECT count(*) FROM seating_seat WHERE status = 'RESERVED' AND reserved_until < clock_timestamp())
            """
        )
        left = {"bookings that wait": bookings, "seats whose time is over": lapsed}
        return {what: count for what, count in left.items() if count}

    async def _judged(self, looks: int = LOOKS) -> list[Violation]:
        """Return what is broken; what is looked at several times counts only if it stays."""
        last = json.loads(await asyncio.to_thread(self._checked, looks))
        asked_at = time.monotonic()
        bookings = [
            LastBooking(name, hold, status, frozenset(codes)) for name, hold, status, codes, *_ in last["bookings"]
        ]
        seats = {(showtime, code): LastSeat(status, hold) for showtime, code, status, hold in last["seats"]}
        promises = self.world.promises
        return [
            *(Violation("the house", wrong) for wrong in last["wrong"]),
            *self._broken_by_answers(),
            *self._money_that_differs(last["bookings"]),
            *promises.violations_at_the_end(bookings=bookings, seats=seats, asked_at=asked_at),
            *(Violation("the contract", f"{what} ({times} times)") for what, times in self._surprises()),
            *measuring.growth(self.meter.readings),
            *await self._maps_that_differ(),
        ]

    def _broken_by_answers(self) -> list[Violation]:
        down = [(fault.began, fault.over) for fault in self.struck if fault.database_away]
        # The house leaves a provider that did not answer alone for 5 s.
        away = [fault for fault in self.struck if fault.area == faults.PROVIDER]
        silence = [(fault.began, fault.over + PROVIDER_RESTS) for fault in away]
        unavailable = dict.fromkeys(("buy, stripe", "buy, stripe, again", "cancel"), silence)
        servers: dict[str, list[tuple[float, float]]] = {}
        for fault in self.struck:
            if fault.server_away:
                servers.setdefault(fault.server_away, []).append((fault.began, fault.over))
        return self.world.promises.violations(database_down=down, servers_down=servers, unavailable=unavailable)

    def _money_that_differs(self, bookings: list[list[Any]]) -> list[Violation]:
        """I6: what Stripe has kept of each booking is what the house says that it has."""
        orders = self.stripe.books()["orders"]
        kept = {order: told["captured"] - told["refunded"] for order, told in orders.items()}
        house = {reference: money for reference, *_, provider, money in bookings if provider == "stripe"}
        return [
            Violation("I6", f"Stripe has {kept.get(order, 0)} of {order}, and the house {house.get(order, 0)}")
            for order in sorted({*kept, *house})
            if kept.get(order, 0) != house.get(order, 0)
        ]

    def _checked(self, looks: int) -> str:
        """Return what the check prints."""
        script = f"from tests.soak.check import main; main(looks={looks})"
        return self.cinema.python(script, seconds=600).splitlines()[-1]

    def _surprises(self) -> list[tuple[str, int]]:
        return Counter(self.world.surprises).most_common(20)

    async def _maps_that_differ(self) -> list[Violation]:
        """I7: what every watcher sees is what the server would tell somebody who comes now."""
        deadline = time.monotonic() + CONVERGED_WITHIN
        while True:
            differing = await asyncio.to_thread(self._differing)
            if not differing or time.monotonic() > deadline:
                return differing
            await asyncio.sleep(0.5)

    def _differing(self) -> list[Violation]:
        found = []
        for watcher in self.watchers:
            told = self.cinema.web[0].ask("GET", f"showtimes/{watcher.showtime}/seats/status")
            if (watcher.seats, watcher.version) != (told["seats"], told["version"]):
                wrong = [code for code, status in told["seats"].items() if watcher.seats.get(code) != status]
                at = f"version {watcher.version}, and the server's is {told['version']}: {', '.join(wrong[:10])}"
                where = f"the {watcher.kind} map of showtime {watcher.showtime} at {watcher.server}"
                found.append(Violation("I7", f"{where} stays at {at}"))
        return found


def chosen_faults(every: list[Fault], mix: str) -> list[Fault]:
    """Return the faults that a mix names.

    Raises:
        ValueError: it names none of a mix or a fault.
    """
    if mix in faults.MIXES:
        return [fault for fault in every if faults.MIXES[mix](fault)]
    names = {name.strip() for name in mix.split(",")}
    unknown = names - {fault.name for fault in every}
    if unknown:
        known = ", ".join([*faults.MIXES, *sorted({fault.name for fault in every})])
        raise ValueError(f"{', '.join(sorted(unknown))}: choose from {known}")
    return [fault for fault in every if fault.name in names]
