"""Time passes in the rows: nobody has to wait for it, but where those rows are locked."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

from django.db import connection


def let_pass(seconds: float, *hold_ids: uuid.UUID) -> None:
    """Let holds, their seats and their audit be this much older, as if the time had gone by."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH past AS (SELECT make_interval(secs => %(seconds)s) AS time), hold AS (
                UPDATE seating_hold
                SET locked_at = locked_at - time, expires_at = expires_at - time, max_expires_at = max_expires_at - time
                FROM past WHERE id = ANY(%(holds)s)
            ), audit AS (
                UPDATE seat_holds SET held_at = held_at - time FROM past WHERE hold_id = ANY(%(holds)s)
            )
            UPDATE seating_seat SET reserved_at = reserved_at - time, reserved_until = reserved_until - time
            FROM past WHERE hold_id = ANY(%(holds)s)
            """,
            {"holds": list(hold_ids), "seconds": seconds},
        )


def run_out(hold_id: uuid.UUID) -> None:
    """Let the time of a hold be over by a second, without anybody having noticed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM expires_at - clock_timestamp()) FROM seating_hold WHERE id = %s", [hold_id]
        )
        left = float(cursor.fetchone()[0])
    let_pass(left + 1, hold_id)


def start_paying(hold_id: uuid.UUID) -> None:
    """Let a hold be one that is being paid."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE seating_hold SET paying = true WHERE id = %s", [hold_id])
        cursor.execute("UPDATE seating_seat SET paying = true WHERE hold_id = %s", [hold_id])


def wait_for_the_clock(moment: dt.datetime) -> None:
    """Return when PostgreSQL's clock has reached a moment that is near."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT extract(epoch FROM %s - clock_timestamp())", [moment])
            left = float(cursor.fetchone()[0])
            if left < 0:
                return
            assert left < 5, "that is not near"
            threading.Event().wait(left + 0.001)
