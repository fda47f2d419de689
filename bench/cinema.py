"""Makes the showtimes and the people of a benchmark in CineBook's database; prints them as JSON.

    DATABASE_URL=… REDIS_URL=… python bench/cinema.py '{"rooms": [[15, 20, 40]], "users": 150}'

A room is said as rows (26 at most), seats per row, and how many showtimes it has.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import string
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")

import django

django.setup()

from django.utils import timezone  # noqa: E402

from cinebook.core.models import User  # noqa: E402
from seating.identity import tokens_for_user  # noqa: E402
from seating.selectors.layouts import showtime_layout  # noqa: E402
from tests.factories import AuditoriumFactory, MovieFactory, make_showtime  # noqa: E402


def make_room(rows: int, seats: int, showtimes: int) -> dict[str, Any]:
    """Make a room with showtimes that are on sale."""
    drawing = "\n".join(f"{label} {'s' * seats}" for label in string.ascii_uppercase[:rows])
    auditorium = AuditoriumFactory(drawing=drawing)
    movie, begin = MovieFactory(), timezone.now() + dt.timedelta(hours=3)
    made = [
        make_showtime(auditorium=auditorium, movie=movie, starts_at=begin + number * dt.timedelta(hours=3)).pk
        for number in range(showtimes)
    ]
    return {"showtimes": made, "codes": list(showtime_layout(made[0]).by_code) if made else []}


def main() -> None:
    """Make what was asked for."""
    wanted = json.loads(sys.argv[1])
    rooms = [make_room(*room) for room in wanted["rooms"]]
    known = User.objects.count()
    users = User.objects.bulk_create([User(username=f"buyer{known + number}") for number in range(wanted["users"])])
    sys.stdout.write(json.dumps({"rooms": rooms, "tokens": [tokens_for_user(user)["access"] for user in users]}))


if __name__ == "__main__":
    main()
