"""Whether everything that CineBook knows of seats and money tells one story.

Compared are ledger, seats, holds, audit, bookings, tickets, payments, the books of the provider `demo`, and Redis. It
changes nothing, locks nobody's rows, and may be asked while the house sells: the showtimes are read in batches, each
at one moment, and what two stores say of each other is looked at twice.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from bookings.selectors.invariants import BOOKING_INVARIANTS, HOUSE_INVARIANTS
from bookings.services.freeing import free_holds_paid_for_nothing
from seating.selectors.comparison import Comparison, redis_comparison
from seating.selectors.invariants import REPAIR, SEAT_INVARIANTS, Invariant, Violation, violations
from seating.selectors.second_look import what_stays
from seating.services import reconcile_seats

INVARIANTS = (*SEAT_INVARIANTS, *BOOKING_INVARIANTS)
# A batch has so many versions or showtimes: enough for PostgreSQL to be quick, and few enough that neither its memory
# nor the age of its snapshot grows with the house.
BATCH_VERSIONS = 100_000
BATCH_SHOWTIMES = 500
# What a step of a question may keep in PostgreSQL's memory; sorting a batch takes less.
WORK_MEM = "64MB"
# No question about a batch takes that long; one that does is given up, for the sales go first.
LONGEST_MS = 120_000
# So many violations of one invariant at one showtime are told one by one.
EXAMPLES = 100
# So many findings are kept in all: who has more has to begin somewhere.
MOST_FINDINGS = 10_000

REDIS_ADVICE = f"{REPAIR} The reconciler does so by itself, every 5 minutes."


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that disagrees at one showtime.

    `number` and `violation` are the invariant's; `showtime_id` is None for what belongs to no showtime. `count` is how
    often, `what` names the first things, and `examples` say of each what either side says. `advice` is what a person
    should do.
    """

    number: str
    violation: str
    showtime_id: int | None
    count: int
    what: str
    examples: tuple[str, ...]
    advice: str


@dataclasses.dataclass(slots=True)
class Report:
    """What was checked, how many of each, and what disagrees. `redis` is `compared`, or `away`.

    `repaired` tells line by line what was put right before, `failures` at which showtimes that failed.
    """

    checked: dict[str, int] = dataclasses.field(default_factory=dict)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    repaired: list[str] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    redis: str = "compared"
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is told in JSON."""
        return dataclasses.asdict(self)


def verify_seats(*, showtime_ids: Collection[int] | None = None) -> Report:
    """Compare everything with everything.

    Args:
        showtime_ids: of those that are asked about; None for all.

    Returns:
        The report; its findings are empty if all is well.

    Raises:
        OperationalError: PostgreSQL is away, or so slow that it could not be asked.
    """
    begun = time.monotonic()
    report = Report()
    checked: Counter[str] = Counter()
    unsettled: list[tuple[Invariant, Violation]] = []
    for batch in _batches(showtime_ids):
        with _one_moment():
            checked.update(_counts(batch))
            for invariant in INVARIANTS:
                found = _ask(invariant, batch)
                if invariant.settles:
                    unsettled += [(invariant, violation) for _count, some in found for violation in some]
                else:
                    report.findings += [_finding(invariant, count, some) for count, some in found]
        del report.findings[MOST_FINDINGS:]
    if showtime_ids is None:
        with _one_moment():
            for invariant in HOUSE_INVARIANTS:
                report.findings += [_finding(invariant, count, some) for count, some in _ask(invariant, ())]
    report.findings += _settled(unsettled)
    redis = redis_comparison(showtime_ids=showtime_ids)
    if redis is None:
        report.redis = "away"
    else:
        checked["redis_keys"] = redis.keys
        report.findings += _redis_findings(redis)
    report.checked = dict(checked)
    report.seconds = round(time.monotonic() - begun, 3)
    return report


def repair_seats(*, showtime_ids: Collection[int] | None = None) -> Report:
    """Put right what may be, as the reconciler does, and verify once more.

    That is what is stuck or has run out, the audit of seats that their holds do not have, and Redis: never a sale,
    never money, never the ledger's past.

    Args:
        showtime_ids: of those that are repaired; None for all.

    Returns:
        The report of what is left, and what was repaired, line by line.

    Raises:
        OperationalError: PostgreSQL is away. What was done by then is done.
    """
    done = free_holds_paid_for_nothing(showtime_ids=showtime_ids)
    seats = reconcile_seats(showtime_ids=showtime_ids)
    report = verify_seats(showtime_ids=showtime_ids)
    report.repaired = [*done, *seats.done]
    report.failures = seats.failures
    return report


def _batches(showtime_ids: Collection[int] | None) -> Iterator[list[int]]:
    """Yield the showtimes, in batches of about the same work."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT showtime.id, coalesce(sales.seq, 0)
            FROM seating_showtime AS showtime
            LEFT JOIN seating_showtimesales AS sales ON sales.showtime_id = showtime.id
            WHERE %(all)s OR showtime.id = ANY(%(showtimes)s::bigint[])
            ORDER BY showtime.id
            """,
            {"all": showtime_ids is None, "showtimes": list(showtime_ids or ())},
        )
        rows = cursor.fetchall()
    batch: list[int] = []
    versions = 0
    for showtime_id, seq in rows:
        if batch and (versions + seq > BATCH_VERSIONS or len(batch) == BATCH_SHOWTIMES):
            yield batch
            batch, versions = [], 0
        batch.append(showtime_id)
        versions += seq
    if batch:
        yield batch


@contextmanager
def _one_moment() -> Iterator[None]:
    """Let every question within be about the same moment, and change nothing."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Compiling these questions takes longer than answering them; what they read lies together, mostly in memory;
        # and the other processors are for whoever buys.
        cursor.execute(
            """
            SELECT set_config('statement_timeout', %s, true), set_config('work_mem', %s, true),
                   set_config('jit', 'off', true), set_config('random_page_cost', '1.1', true),
                   set_config('max_parallel_workers_per_gather', '0', true)
            """,
            [str(LONGEST_MS), WORK_MEM],
        )
        yield


def _counts(showtime_ids: Sequence[int]) -> dict[str, int]:
    """Return how much there is of everything at these showtimes."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH hold AS MATERIALIZED (
                SELECT id FROM seating_hold WHERE showtime_id = ANY(%(showtimes)s::bigint[])
            ), booking AS MATERIALIZED (
                SELECT id FROM bookings_booking WHERE showtime_id = ANY(%(showtimes)s::bigint[])
            )
            SELECT (SELECT count(*) FROM seating_seat WHERE showtime_id = ANY(%(showtimes)s::bigint[])) AS seats,
                   (SELECT count(*) FROM seating_seatevent WHERE showtime_id = ANY(%(showtimes)s::bigint[])) AS ledger,
                   (SELECT count(*) FROM hold) AS holds,
                   (SELECT count(*) FROM seat_holds WHERE hold_id IN (SELECT id FROM hold)) AS audit,
                   (SELECT count(*) FROM booking) AS bookings,
                   (SELECT count(*) FROM bookings_ticket WHERE booking_id IN (SELECT id FROM booking)) AS tickets,
                   (SELECT count(*) FROM bookings_payment WHERE booking_id IN (SELECT id FROM booking)) AS payments
            """,
            {"showtimes": list(showtime_ids)},
        )
        names = ("seats", "ledger_rows", "holds", "audit_rows", "bookings", "tickets", "payments")
        counts = dict(zip(names, cursor.fetchone(), strict=True))
    return {"showtimes": len(showtime_ids), **counts}


def _ask(invariant: Invariant, showtime_ids: Sequence[int]) -> list[tuple[int, list[Violation]]]:
    return violations(invariant, showtime_ids, at_most=EXAMPLES)


def _settled(unsettled: Sequence[tuple[Invariant, Violation]]) -> list[Finding]:
    """Return what stays of what may only have been under way."""

    def look_again() -> Iterator[tuple[Invariant, Violation]]:
        where = sorted({violation.showtime_id for _invariant, violation in unsettled if violation.showtime_id})
        with _one_moment():
            for invariant in {invariant.violation: invariant for invariant, _violation in unsettled}.values():
                for _count, some in _ask(invariant, where):
                    yield from ((invariant, violation) for violation in some)

    stays: dict[tuple[str, int | None], list[Violation]] = defaultdict(list)
    invariants = {}
    for invariant, violation in what_stays(unsettled, look_again):
        invariants[invariant.violation] = invariant
        stays[invariant.violation, violation.showtime_id].append(violation)
    return [_finding(invariants[name], len(some), some) for (name, _showtime_id), some in stays.items()]


def _redis_findings(redis: Comparison) -> Iterable[Finding]:
    by_kind: dict[tuple[int | None, str], list[Violation]] = defaultdict(list)
    for violation, thing in redis.violations:
        by_kind[thing.showtime_id, violation].append(thing)
    return [
        _told("I8", violation, REDIS_ADVICE, len(some), some) for (_showtime_id, violation), some in by_kind.items()
    ]


def _finding(invariant: Invariant, count: int, some: Sequence[Violation]) -> Finding:
    return _told(invariant.number, invariant.violation, invariant.advice, count, some)


def _told(number: str, violation: str, advice: str, count: int, some: Sequence[Violation]) -> Finding:
    told = some[:EXAMPLES]
    return Finding(
        number=number,
        violation=violation,
        showtime_id=some[0].showtime_id,
        count=count,
        what="; ".join(dict.fromkeys(example.what for example in told)),
        examples=tuple(str(example) for example in told),
        advice=advice,
    )
