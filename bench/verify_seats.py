"""How long `manage.py verify_seats` takes over a long ledger, and how much memory.

    .venv/bin/python -m cinebook.engines exec -- .venv/bin/python bench/verify_seats.py --rows 1000000

It fills an empty database with showtimes whose pairs of seats were held, released, overtaken, sold, cancelled … as the
services would have done it, and runs the command as a process. Ends with an error if the command finds anything. What
it says of speed is true for one machine at one time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")
os.environ.setdefault("SECRET_KEY", "a benchmark has no secrets, but a key must be long")

import datetime as dt  # noqa: E402 - the settings come first

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from seating.layout import SeatingLayout, SeatKind  # noqa: E402
from seating.models import Auditorium, Movie, SeatCategory, Showtime  # noqa: E402
from seating.services import publish_layout, reconcile_seats, schedule_showtime  # noqa: E402

ROWS, SEATS_PER_ROW = 10, 20
ROUNDS = 6
PRICE = 1200

# What became of each hold of two neighbours, by `fate`, and what it leaves in the ledger: its steps, in minutes after
# it was taken. A hold lives for 15 minutes, a round takes 20.
HOLDS = """
CREATE TEMP TABLE past AS
SELECT gen_random_uuid() AS hold_id, showtime.id AS showtime_id, pair, round,
       CASE WHEN fate = 'live' THEN clock_timestamp()
            ELSE begin_of.at + round * interval '20 minutes' + pair * interval '1 second' END AS taken_at,
       fate, lag(fate) OVER (PARTITION BY showtime.id, pair ORDER BY round) = 'overtaken' AS overtakes,
       '00000000000000000000' || upper(substr(md5(showtime.id || '/' || pair || '/' || round), 1, 12)) AS name
FROM (SELECT clock_timestamp() - interval '1 day' AS at) AS begin_of,
     seating_showtime AS showtime, generate_series(0, %(pairs)s - 1) AS pair, generate_series(1, %(rounds)s) AS round,
     LATERAL (SELECT CASE
         WHEN round < %(rounds)s THEN (ARRAY[
             'released', 'released', 'released', 'expired', 'expired', 'expired', 'overtaken', 'withdrawn', 'refunded',
             'declined'
         ])[1 + (pair * 7 + round * 3 + showtime.id) %% 10]
         ELSE (ARRAY['sold', 'sold', 'sold', 'sold', 'sold', 'sold', 'live', 'live', 'blocked', 'expired'])
             [1 + (pair * 7 + showtime.id) %% 10]
     END AS fate) AS chosen
"""
STEPS = """
CREATE TEMP TABLE step AS
SELECT past.showtime_id, pair, hold_id, taken_at + after AS at, from_status, to_status, cause, has_hold,
       row_number() OVER (PARTITION BY past.showtime_id ORDER BY taken_at + after, pair) AS seq
FROM past, LATERAL (VALUES
    ('0', CASE WHEN overtakes THEN 'RESERVED' ELSE 'AVAILABLE' END, 'RESERVED',
     CASE WHEN overtakes THEN 'overtaken' ELSE 'held' END, true, true),
    ('5 min', 'RESERVED', 'AVAILABLE', 'released', false, fate IN ('released', 'declined')),
    ('15 min 1 s', 'RESERVED', 'AVAILABLE', 'expired', false, fate = 'expired'),
    ('4 min', 'RESERVED', 'AVAILABLE', 'withdrawn', false, fate IN ('withdrawn', 'blocked')),
    ('4 min 1 s', 'AVAILABLE', 'BLOCKED', 'blocked', false, fate = 'blocked'),
    ('3 min', 'RESERVED', 'SOLD', 'sold', true, fate IN ('sold', 'refunded')),
    ('10 min', 'SOLD', 'AVAILABLE', 'cancelled', false, fate = 'refunded')
) AS line (after_text, from_status, to_status, cause, has_hold, happens),
LATERAL (SELECT after_text::interval AS after) AS later
WHERE happens
"""
FILL = (
    HOLDS,
    STEPS,
    "CREATE TEMP TABLE place AS SELECT id AS seat_id, showtime_id, position / 2 AS pair FROM seating_seat",
    "CREATE INDEX ON place (showtime_id, pair)",
    "ANALYZE past",
    "ANALYZE step",
    "ANALYZE place",
    "INSERT INTO seating_holder (guest_key) SELECT gen_random_uuid() FROM generate_series(1, %(pairs)s)",
    """
    INSERT INTO seating_hold
        (id, holder_id, showtime_id, token_hash, locked_at, expires_at, max_expires_at, ended_at, end_reason)
    SELECT hold_id, (SELECT min(id) FROM seating_holder) + pair, showtime_id, md5(hold_id::text) || md5(name),
           taken_at, taken_at + interval '15 minutes', taken_at + interval '45 minutes',
           CASE fate WHEN 'live' THEN NULL WHEN 'overtaken' THEN taken_at + interval '20 minutes'
               ELSE taken_at + interval '16 minutes' END,
           CASE fate WHEN 'live' THEN '' WHEN 'overtaken' THEN 'expired' WHEN 'refunded' THEN 'sold'
               WHEN 'blocked' THEN 'withdrawn' WHEN 'declined' THEN 'released' ELSE fate END
    FROM past
    """,
    """
    INSERT INTO seating_seatevent
        (showtime_id, seq, seat_id, from_status, to_status, cause, hold_id, happened_at)
    SELECT showtime_id, seq, seat_id, from_status, to_status, cause, CASE WHEN has_hold THEN hold_id END, at
    FROM step JOIN place USING (showtime_id, pair)
    """,
    """
    INSERT INTO seat_holds (hold_id, seat_id, price_amount, held_at, ended_at, end_reason)
    SELECT hold_id, seat_id, %(price)s, taken_at,
           CASE fate WHEN 'live' THEN NULL WHEN 'overtaken' THEN taken_at + interval '20 minutes'
               ELSE taken_at + interval '16 minutes' END,
           CASE fate WHEN 'live' THEN '' WHEN 'refunded' THEN 'sold' WHEN 'blocked' THEN 'withdrawn'
               WHEN 'declined' THEN 'released' ELSE fate END
    FROM past JOIN place USING (showtime_id, pair)
    ORDER BY taken_at
    """,
    """
    UPDATE seating_seat AS seat
    SET status = CASE fate WHEN 'sold' THEN 'SOLD' WHEN 'live' THEN 'RESERVED' ELSE 'BLOCKED' END,
        hold_id = CASE WHEN fate <> 'blocked' THEN past.hold_id END, fence = 10,
        sold_at = CASE fate WHEN 'sold' THEN taken_at + interval '3 minutes' END,
        reserved_at = CASE fate WHEN 'live' THEN taken_at END,
        reserved_until = CASE fate WHEN 'live' THEN taken_at + interval '15 minutes' END,
        block_reason = CASE fate WHEN 'blocked' THEN 'house_seat' ELSE '' END
    FROM past JOIN place USING (showtime_id, pair)
    WHERE seat.id = place.seat_id AND round = %(rounds)s AND fate IN ('sold', 'live', 'blocked')
    """,
    """
    UPDATE seating_showtimesales AS sales SET seq = newest
    FROM (SELECT showtime_id, max(seq) AS newest FROM step GROUP BY showtime_id) AS ledger
    WHERE ledger.showtime_id = sales.showtime_id
    """,
    """
    INSERT INTO bookings_booking
        (reference, status, showtime_id, hold_id, holder_id, contact_name, contact_email, total_amount, currency,
         created_at, pay_by, hold_expires_at, confirmed_at, ended_at)
    SELECT 'BK-' || right(name, 10),
           CASE fate WHEN 'sold' THEN 'CONFIRMED' WHEN 'refunded' THEN 'REFUNDED' ELSE 'CANCELLED' END,
           past.showtime_id, hold_id, hold.holder_id, 'Ada Example', 'ada@example.org', 2 * %(price)s,
           showtime.currency,
           taken_at + interval '2 minutes', taken_at + interval '12 minutes', hold.expires_at,
           CASE WHEN fate <> 'declined' THEN taken_at + interval '3 minutes' END,
           CASE WHEN fate <> 'sold' THEN taken_at + interval '10 minutes' END
    FROM past JOIN seating_hold AS hold ON hold.id = past.hold_id
    JOIN seating_showtime AS showtime ON showtime.id = past.showtime_id
    WHERE fate IN ('sold', 'refunded', 'declined')
    """,
    """
    INSERT INTO bookings_ticket
        (booking_id, seat_id, code, price_amount, first_name, last_name, id_type, id_number, issued_at, cancelled_at)
    SELECT booking.id, audit.seat_id, upper(substr(md5(booking.id || '/' || audit.seat_id), 1, 16)), %(price)s,
           '', '', '', '', booking.confirmed_at, booking.ended_at
    FROM bookings_booking AS booking JOIN seat_holds AS audit ON audit.hold_id = booking.hold_id
    """,
    """
    INSERT INTO bookings_payment
        (booking_id, provider, provider_reference, status, amount, captured_amount, refunded_amount, redirect_url)
    SELECT id, 'demo', 'demo_' || reference,
           CASE status WHEN 'CONFIRMED' THEN 'CAPTURED' WHEN 'REFUNDED' THEN 'REFUNDED' ELSE 'DECLINED' END,
           total_amount, CASE WHEN status <> 'CANCELLED' THEN total_amount ELSE 0 END,
           CASE status WHEN 'REFUNDED' THEN total_amount ELSE 0 END, ''
    FROM bookings_booking
    """,
    """
    INSERT INTO bookings_paymentevent (payment_id, provider, event_id, told)
    SELECT id, provider, 'evt_' || provider_reference,
           CASE WHEN status = 'DECLINED' THEN 'DECLINED' ELSE 'CAPTURED' END
    FROM bookings_payment
    """,
    """
    INSERT INTO bookings_demopayment (reference, "order", amount, currency, status, refunded_amount)
    SELECT payment.provider_reference, booking.reference, payment.amount, booking.currency, payment.status,
           payment.refunded_amount
    FROM bookings_payment AS payment JOIN bookings_booking AS booking ON booking.id = payment.booking_id
    """,
)


def make_showtimes(count: int) -> None:
    """Make showtimes of one room, one after the other."""
    drawing = "\n".join(f"{chr(ord('A') + row)} {'s' * SEATS_PER_ROW}" for row in range(ROWS))
    SeatCategory.objects.create(code="standard", name="Standard")
    room = Auditorium.objects.create(name="Room", slug="room")
    layout = SeatingLayout.from_drawing(drawing, {"s": ("standard", SeatKind.SEAT)})
    publish_layout(auditorium=room, layout=layout)
    movie = Movie.objects.create(title="Film", slug="film", runtime_minutes=100)
    for number in range(count):
        schedule_showtime(
            movie=movie,
            auditorium=room,
            starts_at=timezone.now() + dt.timedelta(days=1, hours=3 * number),
            prices={"standard": PRICE},
        )


def fill(rows: int) -> int:
    """Fill the database with about so many lines of the ledger; return how many there are."""
    pairs = ROWS * SEATS_PER_ROW // 2
    values = {"pairs": pairs, "rounds": ROUNDS, "price": PRICE}
    # Each hold leaves two versions behind, a little more or less, each of two seats.
    make_showtimes(max(1, round(rows / (pairs * ROUNDS * 2 * 2 * 0.988))))
    with connection.cursor() as cursor:
        for statement in FILL:
            cursor.execute(statement, values)
        cursor.execute("SELECT count(*) FROM seating_seatevent")
        (lines,) = cursor.fetchone()
        cursor.execute("VACUUM ANALYZE")
    return int(lines)


def run_command() -> tuple[int, dict[str, Any], float, float]:
    """Run the command as a process; return how it ended, its report, its seconds, and its peak of memory in MiB."""
    began = time.perf_counter()
    command = [sys.executable, str(HERE / "manage.py"), "verify_seats", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
        assert process.stdout is not None  # noqa: S101
        report = json.load(process.stdout)
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, report, time.perf_counter() - began, used.ru_maxrss / 1024


def main() -> int:
    """Fill, verify, and print what it took; return how the process ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="lines of the ledger, about")
    parser.add_argument("--times", type=int, default=3, help="how often the command is run, at least once")
    chosen = parser.parse_args()
    call_command("migrate", interactive=False, verbosity=0)
    if Showtime.objects.exists():
        print("This database has showtimes of its own: give an empty one.")
        return 2
    began = time.perf_counter()
    lines = fill(chosen.rows)
    reconcile_seats()
    print(f"filled with {lines} lines of the ledger in {time.perf_counter() - began:.0f} s")
    for _time in range(chosen.times):
        status, report, seconds, memory = run_command()
        print(f"{seconds:.1f} s, {lines / seconds:.0f} lines/s, peak {memory:.0f} MiB, exit {status}")
    print(
        ", ".join(f"{count} {name}" for name, count in report["checked"].items()), f"; Redis {report['redis']}", sep=""
    )
    print(*report["findings"][:10], sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
