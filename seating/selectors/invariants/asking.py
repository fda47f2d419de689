"""How an invariant is asked: one statement about some showtimes, which returns what it does not hold of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence

from django.db import connection, transaction

# So many examples are enough to begin looking.
EXAMPLES = 5
# A question that takes longer is given up: the sales go first.
LONGEST_MS = 30_000

# What a person should do about a violation.
REPAIR = "`verify_seats --repair` puts it right."
WAIT = "`verify_seats --repair` puts it right once the seat's time is over."
LOOK = (
    "Nothing repairs this by itself: stop the showtime's sales, read the seat's lines in the ledger and the audit, and "
    "tell whoever works on CineBook."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Invariant:
    """One of the numbered invariants, or a part of it.

    `sql` asks about the showtimes in `%(showtimes)s`, and returns for each violation its showtime, the thing that it is
    about, and what each side says of it. `advice` is what a person should do. `quick`: the reconciler asks it, too.
    `settles`: it may be untrue for a moment, while somebody outside answers; only what stays counts.
    """

    number: str
    violation: str
    sql: str
    advice: str = LOOK
    quick: bool = False
    settles: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """One thing at a showtime of which an invariant does not hold, and what each side says of it.

    `showtime_id` is None where there is none.
    """

    showtime_id: int | None
    what: str
    says: str

    def __str__(self) -> str:
        return f"{self.what}: {self.says}"


@dataclasses.dataclass(frozen=True, slots=True)
class BrokenInvariant:
    """An invariant that does not hold: what is wrong, how often, and some examples."""

    number: str
    violation: str
    count: int
    examples: list[str]


def showtimes_that_may_change() -> list[int]:
    """Return the showtimes that are not long over, and those at which something is still held.

    Of all that ever were the ledger would be read for ever longer.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id FROM seating_showtime WHERE ends_at > statement_timestamp() - interval '1 day'
            UNION
            SELECT showtime_id FROM seating_hold WHERE ended_at IS NULL
            UNION
            SELECT showtime_id FROM seating_seat WHERE status = 'RESERVED'
            UNION
            SELECT seat.showtime_id FROM seat_holds AS audit JOIN seating_seat AS seat ON seat.id = audit.seat_id
            WHERE audit.ended_at IS NULL
            ORDER BY 1
            """
        )
        return [row[0] for row in cursor.fetchall()]


def broken_invariants(invariants: Iterable[Invariant]) -> list[BrokenInvariant]:
    """Ask the quick ones of these invariants about the showtimes that may still change, as the reconciler does.

    Returns:
        Those that do not hold; none, if all is well.

    Raises:
        OperationalError: PostgreSQL is away, or a question took longer than `LONGEST_MS`.
    """
    showtime_ids = showtimes_that_may_change()
    asked = [invariant for invariant in invariants if invariant.quick]
    return [broken for invariant in asked if (broken := _ask(invariant, showtime_ids))]


def _ask(invariant: Invariant, showtime_ids: Sequence[int]) -> BrokenInvariant | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(LONGEST_MS)])
        found = violations(invariant, showtime_ids, at_most=EXAMPLES)
    if not found:
        return None
    examples = [f"showtime {violation.showtime_id}, {violation}" for _count, some in found for violation in some]
    return BrokenInvariant(
        invariant.number, invariant.violation, sum(count for count, _some in found), examples[:EXAMPLES]
    )


def violations(
    invariant: Invariant, showtime_ids: Collection[int], *, at_most: int
) -> list[tuple[int, list[Violation]]]:
    """Ask one question about some showtimes, as a part of the caller's transaction.

    Args:
        at_most: how many violations of a showtime are returned, so that a great mistake does not fill the memory.

    Returns:
        Of each showtime where it does not hold how many violations there are, and the first of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count, showtime_id, what, says
            FROM (
                SELECT showtime_id, what, says, count(*) OVER (PARTITION BY showtime_id) AS count,
                       row_number() OVER (PARTITION BY showtime_id ORDER BY what, says) AS place
                FROM ({invariant.sql}) AS found (showtime_id, what, says)
            ) AS numbered
            WHERE place <= %(at_most)s ORDER BY showtime_id, place
            """,  # noqa: S608 - our own words
            {"showtimes": list(showtime_ids), "at_most": at_most},
        )
        rows = cursor.fetchall()
    by_showtime = itertools.groupby(rows, key=lambda row: (row[1], row[0]))
    return [(count, [Violation(*row[1:]) for row in some]) for (_showtime_id, count), some in by_showtime]
