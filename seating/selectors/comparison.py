"""Whether Redis says what PostgreSQL says (I8), without changing either and without locking anybody's rows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

import structlog

from cinebook.core.redis import REST_SECONDS
from seating.locks import mending
from seating.selectors.holds import HeldSeats, granted, showtimes_with_unended_holds, unended_holds_at
from seating.selectors.invariants import Violation
from seating.selectors.second_look import what_stays

log = structlog.get_logger(__name__)

# One answer that came too late is no Redis that is away. Between the attempts it rests.
ATTEMPTS = 3
PAUSE_SECONDS = REST_SECONDS + 0.1
# So many showtimes are asked of PostgreSQL together: all of them are compared within a second, or it knows nothing of
# how long their holds live.
CHUNK = 10

# By what is wrong, and whether each side knows of it: PostgreSQL, Redis.
VIOLATIONS = {
    (mending.Wrong.LOCK, True, False): "a seat that is held has no lock",
    (mending.Wrong.LOCK, True, True): "a lock is not as its seat's hold",
    (mending.Wrong.LOCK, False, True): "a seat that nobody holds has a lock",
    (mending.Wrong.RECORD, True, False): "a live hold has no record",
    (mending.Wrong.RECORD, True, True): "a record is not as its hold",
    (mending.Wrong.RECORD, False, True): "a hold that is over has a record",
}
INDEX_VIOLATIONS = {
    mending.Wrong.LINE: "the index of locked seats has a wrong line",
    mending.Wrong.END: "the index of locked seats ends before its locks",
}

Differences = list[tuple[int, mending.Difference]]


class RedisWentAway(Exception):  # noqa: N818 - a turn of events
    """Redis did not answer, or not to the end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared: how many locks and records Redis had; and what it says otherwise, by what is wrong with it."""

    keys: int
    violations: list[tuple[str, Violation]]


def redis_comparison(*, showtime_ids: Collection[int] | None = None) -> Comparison | None:
    """Return how the locks, the records and the indexes in Redis compare with the live holds in PostgreSQL.

    Args:
        showtime_ids: of which showtimes; None for all, and for whatever else Redis has.

    Returns:
        What differs and goes on doing so; None if Redis is away.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            return _compare(showtime_ids)
        except RedisWentAway:
            log.warning("comparison.redis_away", attempt=attempt + 1)
    return None


def redis_keys(showtime_ids: Collection[int] | None) -> dict[int, mending.Found]:
    """Return what there is to look at in Redis, by showtime, also where there is nothing but should be.

    Raises:
        RedisWentAway: it does not answer.
    """
    found = mending.everything()
    if found is None:
        raise RedisWentAway
    ids = found.keys() | showtimes_with_unended_holds()
    if showtime_ids is not None:
        ids &= set(showtime_ids)
    return {showtime_id: found.get(showtime_id, mending.Found()) for showtime_id in sorted(ids)}


def _compare(showtime_ids: Collection[int] | None) -> Comparison:
    found = redis_keys(showtime_ids)
    first = _differences(found)
    where = {showtime_id for showtime_id, _difference in first}
    return Comparison(
        keys=sum(len(at_showtime.codes) + len(at_showtime.hold_ids) for at_showtime in found.values()),
        violations=[
            (_violation(difference), Violation(showtime_id, difference.what, difference.says))
            for showtime_id, difference in what_stays(first, lambda: _differences(redis_keys(where)))
        ],
    )


def _violation(difference: mending.Difference) -> str:
    if difference.kind in INDEX_VIOLATIONS:
        return INDEX_VIOLATIONS[difference.kind]
    return VIOLATIONS[difference.kind, bool(difference.postgresql), bool(difference.redis)]


def _differences(found: Mapping[int, mending.Found]) -> Differences:
    showtime_ids = list(found)
    chunks = (showtime_ids[start : start + CHUNK] for start in range(0, len(showtime_ids), CHUNK))
    return [difference for chunk in chunks for difference in _differences_at({at: found[at] for at in chunk})]


def _differences_at(found: Mapping[int, mending.Found]) -> Iterator[tuple[int, mending.Difference]]:
    # What is in Redis is read before PostgreSQL is asked: what has changed by then is somebody's who knows better.
    seen = {showtime_id: _look(showtime_id, at_showtime) for showtime_id, at_showtime in found.items()}
    unended = unended_holds_at(found.keys())
    for showtime_id in found:
        for difference in _compare_at(showtime_id, seen[showtime_id], unended.get(showtime_id, [])):
            yield showtime_id, difference


def _look(showtime_id: int, found: mending.Found) -> mending.Seen:
    seen = mending.look(showtime_id=showtime_id, found=found)
    if seen is None:
        raise RedisWentAway
    return seen


def _compare_at(showtime_id: int, seen: mending.Seen, holds: Sequence[HeldSeats]) -> list[mending.Difference]:
    differences = mending.compare(
        showtime_id=showtime_id,
        seen=seen,
        holds=[granted(hold) for hold in holds if hold.lives_for],
        # What is over is about to be ended, with its locks.
        busy=[granted(hold) for hold in holds if not hold.lives_for],
    )
    if differences is None:
        raise RedisWentAway
    # Whose lock is wrong has its line put right with it.
    locks = {difference.name for difference in differences if difference.kind is mending.Wrong.LOCK}
    return [
        difference
        for difference in differences
        if difference.kind is not mending.Wrong.LINE or difference.name not in locks
    ]
