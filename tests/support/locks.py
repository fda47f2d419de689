"""What Redis has, read behind the back of the code, and how it compares with PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection
from redis import Redis


def assert_redis_says_what_postgresql_says(redis: Redis) -> None:
    """I8: locks, records and indexes are those of the live holds, each with its end; and nothing else is there."""
    holds = _live_holds()
    locks = {f"seat_lock:{{{hold['showtime_id']}}}:{code}": hold for hold in holds for code in hold["fences"]}
    records = {f"seat_hold:{{{hold['showtime_id']}}}:{hold['hold_id']}": hold for hold in holds}
    indexes: dict[str, dict[str, float]] = {}
    for hold in holds:
        index = indexes.setdefault(f"locked_seats:{{{hold['showtime_id']}}}", {})
        index.update(dict.fromkeys(hold["fences"], hold["lives_for"]))

    others = ("seat_checked:", "locks_mended", "health")
    assert {key for key in redis.scan_iter() if not key.startswith(others)} == {*locks, *records, *indexes}
    for key, hold in locks.items():
        said = json.loads(redis.get(key))
        assert (said["hold_id"], said["owner"], said["user_id"], said["showtime_id"], said["fence"]) == (
            hold["hold_id"],
            str(hold["holder_id"]),
            hold["user_id"],
            hold["showtime_id"],
            hold["fences"][key.rpartition(":")[2]],
        )
        _assert_near(redis.pttl(key), hold["lives_for"] * 1000)
    for key, hold in records.items():
        said = json.loads(redis.get(key))
        assert (said["hold_id"], said["user_id"], set(said["seats"])) == (
            hold["hold_id"],
            hold["user_id"],
            set(hold["fences"]),
        )
        _assert_near(redis.pttl(key), hold["lives_for"] * 1000)
    now = redis.time()[0]
    for key, ends in indexes.items():
        scores = dict(redis.zrange(key, 0, -1, withscores=True))
        assert scores.keys() == ends.keys()
        for code, lives_for in ends.items():
            _assert_near(scores[code], (now + lives_for) * 1000)
        assert redis.pttl(key) >= max(ends.values()) * 1000 - 2000


def _assert_near(milliseconds: float, wanted: float) -> None:
    assert abs(milliseconds - wanted) < 2000


def _live_holds() -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT hold.id::text, hold.holder_id, holder.user_id, hold.showtime_id,
                   extract(epoch FROM hold.expires_at - clock_timestamp())::float,
                   json_object_agg(seat.code, seat.fence)::text
            FROM seating_hold AS hold
            JOIN seating_holder AS holder ON holder.id = hold.holder_id
            JOIN seating_seat AS seat ON seat.hold_id = hold.id AND seat.status = 'RESERVED'
            WHERE hold.ended_at IS NULL AND hold.expires_at > clock_timestamp()
            GROUP BY hold.id, holder.user_id
            """
        )
        names = ("hold_id", "holder_id", "user_id", "showtime_id", "lives_for")
        return [{**dict(zip(names, row[:5], strict=True)), "fences": json.loads(row[5])} for row in cursor.fetchall()]
