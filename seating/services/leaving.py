"""Whoever leaves the seat map lets go of their seats, unless they are still there after all.

A page that is closed tells us so, and that is only noted on the hold. Whatever shows within the next seconds that its
holder is there takes the note away: a page of theirs that is opened, a change of the hold, a poll, an open socket. A
note that nobody has taken away is carried out by the ticker, of whichever process comes first.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection

import structlog
from django.db import InterfaceError, OperationalError, connection
from psycopg import errors

from cinebook.core.errors import Refusal
from seating.services.holding import release_seats

log = structlog.get_logger(__name__)

# From a page's end to the release. Long enough for a tab that only polls, every 10 s, to be heard of; with the ticker's
# second it stays below the 15 s that are promised.
GRACE = dt.timedelta(seconds=11)
# A socket that is open so long after the note is another tab's: the closed page's own has ended by then.
SETTLED = dt.timedelta(seconds=3)
# A browser opens the next page first and closes the old one then: what the old one says so soon after is not the news.
OVERLAP = dt.timedelta(seconds=10)


def leave(*, holder_id: int, showtime_id: int, visited_at: dt.datetime | None) -> bool:
    """Note that a page with a holder's seats was closed.

    Args:
        holder_id: whose.
        showtime_id: where and when.
        visited_at: when that page was opened, by PostgreSQL's clock; None if nobody knows. A page that was just
            followed by another one of the same holder and showtime (a reload, the checkout) is not news.

    Returns:
        Whether there was a hold to note it on; one that is being paid is none.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_hold SET left_at = clock_timestamp()
            WHERE id IN (
                SELECT id FROM seating_hold
                WHERE holder_id = %(holder)s AND showtime_id = %(showtime)s AND ended_at IS NULL AND NOT paying
                  AND NOT coalesce(
                      visited_at > %(visited_at)s::timestamptz
                          AND visited_at > clock_timestamp() - make_interval(secs => %(overlap)s),
                      false
                  )
                -- Who is busy with the hold now is there.
                FOR NO KEY UPDATE SKIP LOCKED
            )
            """,
            {
                "holder": holder_id,
                "showtime": showtime_id,
                "visited_at": visited_at,
                "overlap": OVERLAP.total_seconds(),
            },
        )
        noted: bool = cursor.rowcount > 0
        return noted


def stay(*, holder_id: int, showtime_id: int | None = None) -> None:
    """Note that a holder has opened a page that belongs to their seats: the map, the checkout, or signing in.

    Args:
        holder_id: who.
        showtime_id: where and when; None for all their holds.
    """
    try:
        with connection.cursor() as cursor:
            # It waits, for what is not noted here counts as left as soon as the page before says goodbye.
            cursor.execute(
                """
                UPDATE seating_hold SET left_at = NULL, visited_at = clock_timestamp()
                WHERE id IN (
                    SELECT id FROM seating_hold
                    WHERE holder_id = %(holder)s AND showtime_id = coalesce(%(showtime)s, showtime_id)
                      AND ended_at IS NULL
                    ORDER BY id
                    FOR NO KEY UPDATE
                )
                """,
                {"holder": holder_id, "showtime": showtime_id},
            )
    except OperationalError as error:
        # A row that stays locked keeps no page from opening.
        if not isinstance(error.__cause__, errors.LockNotAvailable):
            raise


def still_there(*, hold_id: uuid.UUID) -> None:
    """Take away the note that a hold's page was closed: its holder was seen by other means than a new page."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE seating_hold SET left_at = NULL
            WHERE id IN (
                SELECT id FROM seating_hold
                WHERE id = %s AND left_at IS NOT NULL AND ended_at IS NULL
                FOR NO KEY UPDATE SKIP LOCKED
            )
            """,
            [hold_id],
        )


def let_go_of_left_holds(*, present: Collection[tuple[int, int]] = ()) -> int:
    """Carry out what was noted: release the holds whose pages were closed and whose holders have not been seen since.

    The ticker of each web process calls it every second. It costs one small statement while nobody has left.

    Args:
        present: holder and showtime of each socket that this process has open on a seat map. These are spared, here
            and, since the note is taken away, by the other processes too.

    Returns:
        How many seats were let go.
    """
    released = 0
    for hold_id, holder_id, showtime_id, age in _left_holds():
        if (holder_id, showtime_id) in present:
            still_there(hold_id=hold_id)
        elif age >= GRACE:
            released += _let_go(hold_id=hold_id, holder_id=holder_id, showtime_id=showtime_id)
    return released


def _let_go(*, hold_id: uuid.UUID, holder_id: int, showtime_id: int) -> int:
    """Release a left hold, and return how many seats; should it fail, the others are not kept waiting."""
    try:
        answer = release_seats(holder_id=holder_id, showtime_id=showtime_id, hold_id=hold_id, only_if_left=True)
    except Refusal:
        return 0  # busy this instant, or being paid by now: the next second sees what has become of it
    except (OperationalError, InterfaceError):
        raise  # not this hold's fault
    except Exception:
        log.exception("hold.not_let_go", hold_id=str(hold_id), showtime_id=showtime_id)
        return 0
    return len(answer.released)


def _left_holds() -> list[tuple[uuid.UUID, int, int, dt.timedelta]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, holder_id, showtime_id, clock_timestamp() - left_at FROM seating_hold
            WHERE ended_at IS NULL AND left_at <= clock_timestamp() - make_interval(secs => %s)
              AND NOT paying
            """,
            [SETTLED.total_seconds()],
        )
        rows: list[tuple[uuid.UUID, int, int, dt.timedelta]] = cursor.fetchall()
    return rows
