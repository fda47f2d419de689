"""The locks in Redis: quick, all or nothing, and only advice.

A lock here says “taken” without asking PostgreSQL; it never grants a seat. So nothing here raises when Redis is away:
each function says what it could do, and the caller goes on with PostgreSQL alone.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cinebook.core.redis import RedisAway, locks_command, run_script
from seating.locks import keys

# The life of a lock while PostgreSQL decides: longer than the slowest transaction, and short, so that an attempt whose
# process died soon stands in nobody's way.
PROVISIONAL_MS = 10_000
# How long what a transaction decided may still be written here, in seconds: half of that life.
TRUE_FOR_SECONDS = 5
# How often a lock that stands in somebody's way is compared with PostgreSQL.
CHECK_EVERY_MS = 1_000

LUA = Path(__file__).parent / "lua"


@dataclasses.dataclass(frozen=True, slots=True)
class LockOwner:
    """Whose locks they are: `holder_id` tells owners apart, `user_id` is for operators and None for guests."""

    holder_id: int
    user_id: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class InTheWay:
    """A lock of somebody else.

    `lock` is its text; `deciding`: PostgreSQL has not answered its attempt yet; `unchecked` asks the caller to compare
    it with PostgreSQL.
    """

    lock: str
    deciding: bool
    unchecked: bool


@dataclasses.dataclass(frozen=True, slots=True)
class GrantedHold:
    """What PostgreSQL granted, as far as Redis wants to know it.

    `fences` has every seat of the hold by its code; `lives_for` is how long it has to live from the commit on.
    """

    showtime_id: int
    hold_id: uuid.UUID
    owner: LockOwner
    fences: Mapping[str, int]
    locked_at: dt.datetime
    expires_at: dt.datetime
    lives_for: dt.timedelta

    @property
    def lives_for_ms(self) -> int:
        """The same in milliseconds, at least 1: Redis takes no less."""
        return max(1, int(self.lives_for.total_seconds() * 1000))


def acquire(*, showtime_id: int, codes: Sequence[str], owner: LockOwner, nonce: uuid.UUID) -> dict[str, InTheWay]:
    """Lock all the seats for a moment, or none.

    Args:
        codes: the seats.
        owner: who wants them; their own locks are no obstacle.
        nonce: names this attempt.

    Returns:
        The locks that stand in the way, by seat; empty if there are none, or if Redis is away.
    """
    lock = _lock(showtime_id=showtime_id, owner=owner, nonce=nonce, hold_id=None, locked_at=None, fence=None)
    try:
        reply: list[tuple[int, str, str]] = run_script(
            LUA / "acquire.lua",
            [
                *(keys.seat_lock(showtime_id, code) for code in codes),
                *(keys.seat_checked(showtime_id, code) for code in codes),
                keys.locked_seats(showtime_id),
            ],
            [owner.holder_id, lock, PROVISIONAL_MS, CHECK_EVERY_MS, *codes],
        )
    except RedisAway:
        return {}
    return {
        codes[place - 1]: InTheWay(lock=text, deciding=state == "deciding", unchecked=state == "unchecked")
        for place, text, state in reply
    }


def settle(*, hold: GrantedHold, nonce: uuid.UUID | None) -> None:
    """Write the locks and the record of a hold as PostgreSQL has it, with its real end.

    Args:
        hold: what was granted.
        nonce: the attempt that asked for it; None for an extension.
    """
    arguments: list[str | int] = []
    for code, fence in hold.fences.items():
        arguments += [code, fence, lock_of(hold, code, nonce)]
    try:
        run_script(
            LUA / "settle.lua",
            _all_keys(hold.showtime_id, hold.fences, hold.hold_id),
            [hold.owner.holder_id, hold.lives_for_ms, record_of(hold), *arguments],
        )
    except RedisAway:
        return


def give_up(*, showtime_id: int, codes: Collection[str], nonce: uuid.UUID) -> None:
    """Take back the locks of an attempt that PostgreSQL refused."""
    _release(showtime_id, dict.fromkeys(codes, 0), hold_id=nonce, arguments=[str(nonce), "", ""])


def release(*, showtime_id: int, hold_id: uuid.UUID, fences: Mapping[str, int], remaining: GrantedHold | None) -> None:
    """Take away the locks of seats that left their hold: released, expired, overtaken or sold.

    Args:
        fences: the fence of each seat after it left, by its code; a newer lock stays.
        remaining: the hold as it is now; None when it has ended.
    """
    record = record_of(remaining) if remaining else ""
    _release(showtime_id, fences, hold_id=hold_id, arguments=["", str(hold_id), record])


def forget(*, showtime_id: int, locks: Mapping[str, str]) -> None:
    """Delete locks that PostgreSQL does not know.

    Args:
        locks: their texts when they were compared with PostgreSQL, by seat; a lock that has changed since stays.
    """
    try:
        run_script(
            LUA / "forget.lua",
            [*(keys.seat_lock(showtime_id, code) for code in locks), keys.locked_seats(showtime_id)],
            [*locks.values(), *locks],
        )
    except RedisAway:
        return


def locked_codes(*, showtime_id: int) -> list[str]:
    """Return the codes of the seats that are locked in Redis, or none if it is away."""
    try:
        seconds, microseconds = locks_command(lambda redis: redis.time())
        now = seconds * 1000 + microseconds // 1000
        codes: Any = locks_command(lambda redis: redis.zrangebyscore(keys.locked_seats(showtime_id), f"({now}", "+inf"))
    except RedisAway:
        return []
    return sorted(codes)


def read(*, showtime_id: int, code: str) -> dict[str, Any] | None:
    """Return what the lock of a seat says; None if there is none, if it makes no sense, or if Redis is away."""
    try:
        fields = json.loads(locks_command(lambda redis: redis.get(keys.seat_lock(showtime_id, code))) or "null")
    except (RedisAway, ValueError):
        return None
    return fields if isinstance(fields, dict) else None


def lock_of(hold: GrantedHold, code: str, nonce: uuid.UUID | None = None) -> str:
    """Return the text of the lock of one of a hold's seats.

    Args:
        hold: as PostgreSQL has it.
        code: the seat.
        nonce: the attempt that asked for it, where that is known.
    """
    return _lock(
        showtime_id=hold.showtime_id,
        owner=hold.owner,
        nonce=nonce,
        hold_id=hold.hold_id,
        locked_at=hold.locked_at,
        fence=hold.fences[code],
    )


def record_of(hold: GrantedHold) -> str:
    """Return the text of a hold's record."""
    return json.dumps(
        {
            "hold_id": str(hold.hold_id),
            "user_id": hold.owner.user_id,
            "showtime_id": hold.showtime_id,
            "seats": list(hold.fences),
            "expires_at": hold.expires_at.isoformat(),
        }
    )


def _release(showtime_id: int, fences: Mapping[str, int], *, hold_id: uuid.UUID, arguments: list[str]) -> None:
    if not fences:
        return
    seats: list[str | int] = [value for pair in fences.items() for value in pair]
    try:
        run_script(LUA / "release.lua", _all_keys(showtime_id, fences, hold_id), [*arguments, *seats])
    except RedisAway:
        return


def _all_keys(showtime_id: int, codes: Collection[str], hold_id: uuid.UUID) -> list[str]:
    locks = [keys.seat_lock(showtime_id, code) for code in codes]
    return [*locks, keys.seat_hold(showtime_id, hold_id), keys.locked_seats(showtime_id)]


def _lock(
    *,
    showtime_id: int,
    owner: LockOwner,
    nonce: uuid.UUID | None,
    hold_id: uuid.UUID | None,
    locked_at: dt.datetime | None,
    fence: int | None,
) -> str:
    fields: dict[str, Any] = {
        "showtime_id": showtime_id,
        "user_id": owner.user_id,
        # As text, because the script compares it with an argument.
        "owner": str(owner.holder_id),
        "hold_id": str(hold_id or nonce),
        "locked_at": (locked_at or dt.datetime.now(dt.UTC)).isoformat(),
    }
    if nonce is not None:
        fields["nonce"] = str(nonce)
    if fence is not None:
        fields["fence"] = fence
    return json.dumps(fields)
