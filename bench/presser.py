"""Somebody who holds and releases seats at a steady rate, in a process beside the web processes.

`bench/live.py` and `bench/cut_off.py` start it. It calls the services themselves, and notes at which instant
each version was published: so the way from there to the viewers is measured, and not how long a request takes.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")

import django

django.setup()

from seating import broadcast  # noqa: E402
from seating.events import SeatsChanged  # noqa: E402
from seating.models import Seat  # noqa: E402
from seating.services import hold_seats, release_seats  # noqa: E402
from seating.services.holders import guest_holder  # noqa: E402

ALL = slice(None)


def press(showtime: int, per_second: float, seconds: float, *, share: slice = ALL) -> list[tuple[int, float]]:
    """Hold and release in turn; return each version and the instant at which it was published.

    Args:
        showtime: where.
        per_second: how many changes.
        seconds: for how long.
        share: which of its seats, so that several who press do not get in each other's way.
    """
    published: list[tuple[int, float]] = []
    send = broadcast.send

    def noting(event: object) -> None:
        if isinstance(event, SeatsChanged):
            published.append((event.version, time.monotonic()))
        send(event)  # type: ignore[arg-type]

    broadcast.send = noting
    holder = guest_holder(guest_key=uuid.uuid4()).pk
    codes = list(Seat.objects.filter(showtime_id=showtime).order_by("pk").values_list("code", flat=True))[share]
    begin, held = time.monotonic(), ""
    for number in range(int(per_second * seconds)):
        time.sleep(max(0, begin + number / per_second - time.monotonic()))
        if held:
            release_seats(holder_id=holder, showtime_id=showtime, codes=[held])
            held = ""
        else:
            held = random.choice(codes)
            hold_seats(holder_id=holder, user_id=None, showtime_id=showtime, codes=[held])
    if held:
        release_seats(holder_id=holder, showtime_id=showtime, codes=[held])
    # What was sent last is still on its way out of this process.
    time.sleep(0.2)
    broadcast.send = send
    return published


if __name__ == "__main__":
    # What it does is known; the console is for figures.
    logging.disable(logging.WARNING)
    showtime, number, of = map(int, sys.argv[1:])
    share = slice(number, None, of)
    # Everything that is made once per process is made before the clock runs.
    press(showtime, 20, 0.2, share=share)
    sys.stdout.write(json.dumps("ready") + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        per_second, seconds = json.loads(line)
        # They take turns.
        time.sleep(number / of / per_second)
        sys.stdout.write(json.dumps(press(showtime, per_second, seconds, share=share)) + "\n")
        sys.stdout.flush()
