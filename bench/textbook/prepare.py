"""Makes the tables of the textbook, its showtimes and its users; prints them as JSON.

    DATABASE_URL=… python -m bench.textbook.prepare '{"rooms": [[15, 20, 40]], "users": 150}'

A room is said as rows (26 at most), seats per row, and how many showtimes it has.
"""

import json
import os
import string
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.textbook.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

from bench.textbook.models import Seat, Showtime  # noqa: E402


def main() -> None:
    """Make what was asked for."""
    wanted = json.loads(sys.argv[1])
    # Its own tables, for which there are no migrations, need those of the users.
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    rooms = []
    for rows, seats, showtimes in wanted["rooms"]:
        codes = [f"{label}{seat + 1}" for label in string.ascii_uppercase[:rows] for seat in range(seats)]
        made = Showtime.objects.bulk_create(
            [Showtime(title="A Film", starts_at=timezone.now()) for _number in range(showtimes)]
        )
        Seat.objects.bulk_create([Seat(showtime=showtime, code=code) for showtime in made for code in codes])
        rooms.append({"showtimes": [showtime.pk for showtime in made], "codes": codes})
    users = User.objects.bulk_create([User(username=f"user{number}") for number in range(wanted["users"])])
    sys.stdout.write(json.dumps({"rooms": rooms, "tokens": [str(AccessToken.for_user(user)) for user in users]}))


if __name__ == "__main__":
    main()
