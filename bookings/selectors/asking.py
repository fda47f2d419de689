"""Which payments their providers are asked about."""

from __future__ import annotations

from django.db import connection

# How often a provider is asked about a payment of which it tells nothing, in seconds.
ASK_EVERY_SECONDS = 30
# About how many payments one round asks; the next is soon, and others wait for the same thread.
ROUND = 10


def payments_to_ask_about() -> list[str]:
    """Return the references of bookings that are being paid, and that nobody has asked about for `ASK_EVERY_SECONDS`.

    Those that have waited longest come first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT booking.reference FROM bookings_booking AS booking
            JOIN bookings_payment AS payment ON payment.booking_id = booking.id
            WHERE booking.status = 'PENDING' AND booking.pay_by > clock_timestamp()
              AND coalesce(payment.asked_at, payment.created_at)
                  <= clock_timestamp() - make_interval(secs => %(every)s)
            ORDER BY coalesce(payment.asked_at, payment.created_at)
            LIMIT %(round)s
            """,
            {"every": ASK_EVERY_SECONDS, "round": ROUND},
        )
        return [row[0] for row in cursor.fetchall()]
