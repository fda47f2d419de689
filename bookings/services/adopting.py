"""Who signs in takes along what they bought as a guest."""

from __future__ import annotations

from django.db import connection, transaction


def adopt_bookings(*, guest_id: int, holder_id: int) -> int:
    """Give a guest's bookings to the user who the guest turned out to be, also those that are being paid.

    Only whose they are changes: a payment goes on with the hold that it was begun for.

    Args:
        guest_id: the guest's holder.
        holder_id: the user's.

    Returns:
        How many there were.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE bookings_booking SET holder_id = %(user)s WHERE id IN (
                SELECT id FROM bookings_booking WHERE holder_id = %(guest)s ORDER BY id FOR NO KEY UPDATE
            )
            """,
            {"guest": guest_id, "user": holder_id},
        )
        moved: int = cursor.rowcount
    return moved
