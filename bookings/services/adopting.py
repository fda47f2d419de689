"""Who signs in takes along what they bought as a guest."""

from __future__ import annotations

import functools

from django.db import connection

from seating.services import run_sale


def adopt_bookings(*, guest_id: int, holder_id: int) -> int:
    """Give a guest's bookings to the user who the guest turned out to be, also those that are being paid.

    Only whose they are changes: a payment goes on with the hold that it was begun for.

    Args:
        guest_id: the guest's holder.
        holder_id: the user's.

    Returns:
        How many there were.

    Raises:
        Refusal: `seat_locked` while one of them is being settled; ask again.
    """
    return run_sale(functools.partial(_adopt, guest_id=guest_id, holder_id=holder_id))


def _adopt(*, guest_id: int, holder_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE bookings_booking SET holder_id = %(user)s WHERE id IN (
                SELECT id FROM bookings_booking WHERE holder_id = %(guest)s ORDER BY id FOR NO KEY UPDATE
            )
            """,
            {"guest": guest_id, "user": holder_id},
        )
        return int(cursor.rowcount)
