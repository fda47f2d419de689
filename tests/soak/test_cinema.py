"""The cinema of the soak itself: its parts end as they are told, come back, and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

from cinebook.engines.process import CLEAN_STATUSES
from tests.support.cinema import MIGRATE, running_cinema, wait_until

SHOWTIME = MIGRATE + "from tests.factories import make_showtime\nmake_showtime()\n"


def test_every_part_can_be_ended_and_comes_back(tmp_path: Path) -> None:
    seen = set()
    with running_cinema(folder=tmp_path, prepare=SHOWTIME) as cinema:
        one, two = cinema.web
        token = one.guest()
        ((showtime_id,),) = cinema.sql("SELECT id FROM seating_showtime")
        lock = f"showtimes/{showtime_id}/seats/lock"

        for part in (cinema.redis, cinema.messages, cinema.postgres, two):
            seen.update(part.pids)
            part.kill()
            assert part.pid is None
            part.start()
            assert one.ask("POST", lock, {"seats": ["A1"]}, token)["seats"] == ["A1"]
        wait_until(lambda: two.health()["status"] == "ok", "health")
        seen.update(pid for part in cinema.parts.values() for pid in part.pids)

        cinema.postgres.pause()
        assert one.health()["status"] == "down"
        cinema.postgres.resume()
        wait_until(lambda: one.health()["status"] == "ok", "health")

        for part in (cinema.worker, cinema.beat, one):
            assert part.stop() in CLEAN_STATUSES
        # What is paused at the end must not stay.
        cinema.postgres.pause()
        two.pause()
        assert cinema.manage("reconcile", "--help")
    assert not [pid for pid in seen if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state not in {"Z", "X"}
