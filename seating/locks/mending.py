"""Putting Redis right from PostgreSQL, and telling what is wrong with it.

It works in this order: `everything` finds what there is, `look` reads one showtime's part, then PostgreSQL is asked,
and `mend` writes, which is for the reconciler and the ticker that sees Redis come back, or `compare` tells; both judge
by the same script. A lock is only written once its transaction has committed; so whatever was seen before PostgreSQL
was asked, and is not what PostgreSQL answers, is out of date.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cinebook.core.redis import RedisAway, locks_command, locks_failures, run_script
from seating.locks import LUA, PROVISIONAL_MS, GrantedHold, keys, lock_of, record_of

# Redis' clock and PostgreSQL's are read one after the other: an end that differs by less is the same.
TOLERANCE_MS = 1_000
# How many keys Redis looks at before it serves somebody else in between.
SCAN_COUNT = 1_000
# How long to wait for all keys of one showtime, whose holds stay locked meanwhile.
MEND_SECONDS = 0.5
# Names the server whose locks were all put right: after a flush it is gone, and another server has another name.
MARK = "locks_mended"

_LOCK = re.compile(r"seat_lock:\{(\d{1,18})\}:(.+)", re.DOTALL)
_RECORD = re.compile(r"seat_hold:\{(\d{1,18})\}:(.+)", re.DOTALL)
_INDEX = re.compile(r"locked_seats:\{(\d{1,18})\}")


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Which Redis there is, whether its locks were put right before, and how often it has failed this process."""

    run_id: str
    mended: bool
    failures: int


@dataclasses.dataclass(slots=True)
class Found:
    """What Redis has of a showtime: the codes that its locks name, and the ids that its records name."""

    codes: set[str] = dataclasses.field(default_factory=set)
    hold_ids: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """The texts of a showtime's locks by seat, and of its records by hold; empty where there was none."""

    locks: Mapping[str, str]
    records: Mapping[str, str]


class Wrong(enum.StrEnum):
    """What can be wrong of Redis; an index without its end would outlive its locks, or end before them."""

    LOCK = "lock"
    RECORD = "record"
    LINE = "line of the index"
    END = "end of the index"


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One thing that Redis says otherwise than PostgreSQL.

    `name` is the seat's code, or the hold's id. `redis` and `postgresql` are what each says of it, empty for nothing.
    `pttl` is how long Redis keeps it, in ms, as Redis counts, and `lives_for_ms` how long it should; they change by
    themselves, and so make no difference between two differences.
    """

    kind: Wrong
    name: str
    redis: str
    postgresql: str
    pttl: int = dataclasses.field(compare=False, default=0)
    lives_for_ms: int = dataclasses.field(compare=False, default=0)

    @property
    def what(self) -> str:
        """What it is about, in words."""
        match self.kind:
            case Wrong.RECORD:
                return f"hold {self.name}"
            case Wrong.END:
                return "index"
            case _:
                return f"seat {self.name}"

    @property
    def says(self) -> str:
        """What each side says of it, in words."""
        match self.kind:
            case Wrong.END:
                return f"Redis keeps it for {self.pttl} ms"
            case Wrong.LINE:
                return f"PostgreSQL says {self.postgresql or 'nothing'}, the line in Redis {self.redis or 'nothing'}"
            case _:
                lives = f" for {self.lives_for_ms} ms" if self.postgresql else ""
                kept = f" for {self.pttl} ms" if self.redis else ""
                return f"PostgreSQL says {self.postgresql or 'nothing'}{lives}, Redis {self.redis or 'nothing'}{kept}"

    @property
    def mended(self) -> str:
        """What is done about it, in words."""
        match self.kind:
            case Wrong.LINE:
                return f"the index has its line of seat {self.name} right"
            case Wrong.END:
                return "the index lives as long as its locks"
            case _:
                return f"the {self.kind} of {self.what} is {'written' if self.postgresql else 'removed'}"


@dataclasses.dataclass(frozen=True, slots=True)
class Mended:
    """How many keys, and lines of the index, were put right."""

    locks_written: int = 0
    locks_removed: int = 0
    records_written: int = 0
    records_removed: int = 0
    index_lines: int = 0

    def __add__(self, other: Mended) -> Mended:
        """Return both together."""
        return Mended(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    @classmethod
    def counted(cls, differences: Iterable[Difference]) -> Mended:
        """Return how many there were of each."""
        counts = Counter((difference.kind, bool(difference.postgresql)) for difference in differences)
        return cls(
            locks_written=counts[Wrong.LOCK, True],
            locks_removed=counts[Wrong.LOCK, False],
            records_written=counts[Wrong.RECORD, True],
            records_removed=counts[Wrong.RECORD, False],
            index_lines=counts[Wrong.LINE, True] + counts[Wrong.LINE, False],
        )


def standing() -> Standing | None:
    """Return how Redis stands; None if it is away, or takes no writes."""
    failures = locks_failures()

    def ask(redis: Any) -> tuple[str, str | None]:
        with redis.pipeline(transaction=False) as pipeline:
            # What is full, or a replica, can be read and not be mended.
            answers = pipeline.set("health", "1", px=1000).info("server").get(MARK).execute()
        return answers[1]["run_id"], answers[2]

    try:
        run_id, mark = locks_command(ask)
    except RedisAway:
        return None
    return Standing(run_id=run_id, mended=run_id == mark, failures=failures)


def mark_mended(run_id: str) -> None:
    """Note that the locks of the server of this name have all been put right."""
    with contextlib.suppress(RedisAway):
        locks_command(lambda redis: redis.set(MARK, run_id))


def everything() -> dict[int, Found] | None:
    """Return what Redis has, by showtime; None if it is away.

    This is the one place that scans: locks whose showtime has no hold any more, or whose index is lost, can be found in
    no other way, and here nobody waits. SCAN lets others in between its steps.
    """
    names: list[str] = []
    cursor = None
    try:
        while cursor != 0:
            # Each step has its own time: a Redis that falls silent in between is soon given up.
            step = functools.partial(_scan, cursor=cursor or 0)
            cursor, more = locks_command(step)
            names += more
    except RedisAway:
        return None
    found: dict[int, Found] = defaultdict(Found)
    for name in names:
        if lock := _LOCK.fullmatch(name):
            found[int(lock[1])].codes.add(lock[2])
        elif record := _RECORD.fullmatch(name):
            found[int(record[1])].hold_ids.add(record[2])
        elif index := _INDEX.fullmatch(name):
            found[int(index[1])]
    return dict(found)


def _scan(redis: Any, *, cursor: int) -> tuple[int, list[str]]:
    cursor, names = redis.scan(cursor, match=keys.ALL, count=SCAN_COUNT)
    return cursor, names


def look(*, showtime_id: int, found: Found) -> Seen | None:
    """Read the locks and the records that were found at a showtime, and those that its index names; None if away."""

    def read(redis: Any) -> tuple[list[str], list[str | None]]:
        index = keys.locked_seats(showtime_id)
        codes = sorted(found.codes.union(redis.zrange(index, 0, -1) if redis.type(index) == "zset" else ()))
        names = [keys.seat_lock(showtime_id, code) for code in codes]
        names += [keys.seat_hold(showtime_id, hold_id) for hold_id in hold_ids]
        return codes, redis.mget(names) if names else []

    hold_ids = sorted(found.hold_ids)
    try:
        codes, texts = locks_command(read, seconds=MEND_SECONDS)
    except RedisAway:
        return None
    text_of = [text or "" for text in texts]
    return Seen(
        locks=dict(zip(codes, text_of[: len(codes)], strict=True)),
        records=dict(zip(hold_ids, text_of[len(codes) :], strict=True)),
    )


def mend(
    *, showtime_id: int, seen: Seen, holds: Collection[GrantedHold], busy: Collection[GrantedHold]
) -> list[Difference] | None:
    """Write what PostgreSQL says of a showtime over what Redis says, and delete what PostgreSQL does not know.

    Args:
        showtime_id: where.
        seen: what `look` read, before PostgreSQL was asked.
        holds: the live holds; their rows are locked, so that none of them changes until this has been written.
        busy: holds that somebody else is changing, and whose locks they will write: left alone.

    Returns:
        What was put right; None if Redis is away.
    """
    return _judge("mend", showtime_id, seen, holds, busy)


def compare(
    *, showtime_id: int, seen: Seen, holds: Collection[GrantedHold], busy: Collection[GrantedHold]
) -> list[Difference] | None:
    """Return what `mend` would put right, and change nothing; None if Redis is away.

    Nobody's rows are locked for it, so what it returns may just be on its way to be right.
    """
    return _judge("tell", showtime_id, seen, holds, busy)


def _judge(
    what: str, showtime_id: int, seen: Seen, holds: Collection[GrantedHold], busy: Collection[GrantedHold]
) -> list[Difference] | None:
    busy_codes = {code for hold in busy for code in hold.fences}
    busy_ids = {str(hold.hold_id) for hold in busy}
    hold_of = {code: hold for hold in holds for code in hold.fences}
    codes = sorted((seen.locks.keys() | hold_of.keys()) - busy_codes)
    by_id = {str(hold.hold_id): hold for hold in holds}
    hold_ids = sorted((seen.records.keys() | by_id.keys()) - busy_ids)
    if not codes and not hold_ids:
        return []

    wanted_locks = {code: _wanted_lock(hold_of.get(code), code) for code in codes}
    wanted_records = {hold_id: _wanted_record(by_id.get(hold_id)) for hold_id in hold_ids}
    arguments: list[str | int] = [len(codes), PROVISIONAL_MS, TOLERANCE_MS, what]
    for code in codes:
        arguments += [code, seen.locks.get(code, ""), *wanted_locks[code]]
    for hold_id in hold_ids:
        arguments += [seen.records.get(hold_id, ""), *wanted_records[hold_id]]
    names = [keys.seat_lock(showtime_id, code) for code in codes]
    names += [keys.seat_hold(showtime_id, hold_id) for hold_id in hold_ids]
    try:
        locks, records, lines, ends = run_script(
            LUA / "mend.lua", [*names, keys.locked_seats(showtime_id)], arguments, seconds=MEND_SECONDS
        )
    except RedisAway:
        return None
    wrong = []
    for place, text, pttl in locks:
        lock, _fence, lives_for_ms = wanted_locks[codes[place - 1]]
        wrong.append(Difference(Wrong.LOCK, codes[place - 1], text, lock, pttl, lives_for_ms))
    for place, text, pttl in records:
        hold_id = hold_ids[place - len(codes) - 1]
        wrong.append(
            Difference(Wrong.RECORD, hold_id, text, wanted_records[hold_id][0], pttl, wanted_records[hold_id][1])
        )
    for place, score in lines:
        wrong.append(Difference(Wrong.LINE, codes[place - 1], score, wanted_locks[codes[place - 1]][0]))
    wrong += [Difference(Wrong.END, "", "", "", pttl) for pttl in ends]
    return wrong


def _wanted_lock(hold: GrantedHold | None, code: str) -> tuple[str, int, int]:
    return (lock_of(hold, code), hold.fences[code], hold.lives_for_ms) if hold else ("", 0, 0)


def _wanted_record(hold: GrantedHold | None) -> tuple[str, int]:
    return (record_of(hold), hold.lives_for_ms) if hold else ("", 0)
