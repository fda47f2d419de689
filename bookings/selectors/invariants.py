"""What must always be true of bookings, their seats and their money.

`seating.selectors.invariants` says how it is asked. What is captured less what is refunded is what is confirmed or owed
(I6): it is asked booking by booking, and so it is true of the sum.
"""

from __future__ import annotations

from bookings.selectors.purchases import GRACE_SECONDS
from seating.selectors.holds import LEFT_AFTER_DECLINE
from seating.selectors.invariants import Invariant

# The past of a sale or of money is nothing that a program may guess.
_SALE = (
    "Nothing repairs a sale by itself: compare the booking with its seats and its payment in the admin, and cancel it "
    "or take its buyer's side by hand."
)
_MONEY = (
    "Nothing repairs money by itself: compare the payment with the provider's own page of it, and refund or enter by "
    "hand what is missing."
)

BOOKING_INVARIANTS = (
    Invariant(
        "I1",
        "a seat is in two live bookings",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code,
               'the tickets say ' || string_agg(booking.reference, ' and ' ORDER BY booking.id)
        FROM bookings_booking AS booking
        JOIN bookings_ticket AS ticket ON ticket.booking_id = booking.id
        JOIN seating_seat AS seat ON seat.id = ticket.seat_id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
          AND ticket.cancelled_at IS NULL AND booking.status IN ('PENDING', 'CONFIRMED')
        GROUP BY seat.id HAVING count(*) > 1
        """,
        advice=_SALE,
        quick=True,
    ),
    Invariant(
        "I3",
        "a confirmed ticket's seat is not sold",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference || ', seat ' || seat.code,
               'the booking says confirmed for hold ' || booking.hold_id || ', the seat ' || seat.status
                   || coalesce(' by hold ' || seat.hold_id, '')
        FROM bookings_booking AS booking
        JOIN bookings_ticket AS ticket ON ticket.booking_id = booking.id
        JOIN seating_seat AS seat ON seat.id = ticket.seat_id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
          AND ticket.cancelled_at IS NULL AND booking.status = 'CONFIRMED'
          AND (seat.status <> 'SOLD' OR seat.hold_id <> booking.hold_id)
        """,
        advice=_SALE,
        quick=True,
    ),
    Invariant(
        "I3",
        "a sold seat has no ticket",
        """
        SELECT seat.showtime_id, 'seat ' || seat.code,
               'the seat says SOLD to hold ' || seat.hold_id || ', no confirmed booking of it has a ticket'
        FROM seating_seat AS seat
        WHERE seat.showtime_id = ANY(%(showtimes)s::bigint[]) AND seat.status = 'SOLD'
          AND NOT EXISTS (
              SELECT FROM bookings_booking AS booking JOIN bookings_ticket AS ticket ON ticket.booking_id = booking.id
              WHERE booking.hold_id = seat.hold_id AND booking.status = 'CONFIRMED'
                AND ticket.seat_id = seat.id AND ticket.cancelled_at IS NULL
          )
        """,
        advice=_SALE,
        quick=True,
    ),
    Invariant(
        "I3",
        "a booking's tickets are not what the booking is",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the booking says ' || booking.status || '; of its ' || count(ticket.id) || ' tickets '
                   || count(ticket.issued_at) || ' are issued and ' || count(ticket.cancelled_at) || ' cancelled'
        FROM bookings_booking AS booking LEFT JOIN bookings_ticket AS ticket ON ticket.booking_id = booking.id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
        GROUP BY booking.id
        HAVING count(ticket.id) = 0 OR NOT CASE booking.status
            WHEN 'PENDING' THEN count(ticket.issued_at) = 0 AND count(ticket.cancelled_at) = 0
            WHEN 'CONFIRMED' THEN count(ticket.issued_at) = count(*) AND count(ticket.cancelled_at) = 0
            -- Its tickets were issued if it was confirmed before.
            ELSE count(ticket.cancelled_at) = count(*)
                 AND count(ticket.issued_at) = CASE WHEN booking.confirmed_at IS NULL THEN 0 ELSE count(*) END
        END
        """,
        advice=_SALE,
    ),
    Invariant(
        "I3",
        "a hold was sold, and nobody has bought it",
        """
        SELECT hold.showtime_id, 'hold ' || hold.id, 'the hold says sold, no booking of it was ever confirmed'
        FROM seating_hold AS hold
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[]) AND hold.end_reason = 'sold'
          AND NOT EXISTS (
              SELECT FROM bookings_booking AS booking
              WHERE booking.hold_id = hold.id AND booking.confirmed_at IS NOT NULL
          )
        """,
        advice=_SALE,
    ),
    Invariant(
        "I4",
        "a seat was taken from a hold that was being paid",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference || ', seat ' || seat.code,
               'the audit says overtaken at ' || audit.ended_at || ', the booking was being paid from '
                   || booking.created_at || ' to ' || coalesce(paid.until::text, 'now')
        FROM bookings_booking AS booking
        JOIN seat_holds AS audit ON audit.hold_id = booking.hold_id
        JOIN seating_seat AS seat ON seat.id = audit.seat_id
        LEFT JOIN LATERAL (
            -- What was declined may be given up later, and ends once more.
            SELECT least(booking.ended_at, min(event.received_at)) AS until
            FROM bookings_payment AS payment JOIN bookings_paymentevent AS event ON event.payment_id = payment.id
            WHERE payment.booking_id = booking.id AND event.told = 'DECLINED'
        ) AS paid ON true
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
          -- One that was confirmed may have been so after its window.
          AND booking.confirmed_at IS NULL AND audit.end_reason = 'overtaken'
          AND audit.ended_at > booking.created_at AND audit.ended_at < coalesce(paid.until, 'infinity')
        """,
        advice=_SALE,
    ),
    Invariant(
        "I5",
        "a booking that is being paid does not have its hold and all its seats",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the booking says pending for ' || coalesce(tickets.seats, 'no seats') || '; hold ' || hold.id
                   || CASE WHEN hold.paying THEN ' is being paid and has ' ELSE ' is not being paid and has ' END
                   || coalesce(held.seats, 'no seats')
        FROM bookings_booking AS booking
        JOIN seating_hold AS hold ON hold.id = booking.hold_id
        LEFT JOIN LATERAL (
            SELECT string_agg(seat.code, ' ' ORDER BY seat.position) AS seats
            FROM bookings_ticket AS ticket JOIN seating_seat AS seat ON seat.id = ticket.seat_id
            WHERE ticket.booking_id = booking.id AND ticket.cancelled_at IS NULL
        ) AS tickets ON true
        LEFT JOIN LATERAL (
            SELECT string_agg(seat.code, ' ' ORDER BY seat.position) AS seats
            FROM seating_seat AS seat WHERE seat.hold_id = hold.id AND seat.status = 'RESERVED' AND seat.paying
        ) AS held ON true
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[]) AND booking.status = 'PENDING'
          AND (NOT hold.paying OR hold.ended_at IS NOT NULL OR tickets.seats IS DISTINCT FROM held.seats)
        """,
        advice="It ends with the window of its payment; money that comes is settled or refunded by the usual rules.",
    ),
    Invariant(
        "I6",
        "a booking and its payment do not agree",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the booking says ' || booking.status || ' and ' || booking.total_amount || ' ' || booking.currency
                   || coalesce(
                       ', the payment ' || payment.status || ' of ' || payment.amount || ', captured '
                           || payment.captured_amount || ', refunded ' || payment.refunded_amount,
                       ', there is no payment'
                   )
        FROM bookings_booking AS booking LEFT JOIN bookings_payment AS payment ON payment.booking_id = booking.id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
          AND (payment.id IS NULL OR payment.amount <> booking.total_amount OR NOT CASE booking.status
              WHEN 'CONFIRMED' THEN payment.status = 'CAPTURED'
              WHEN 'REFUND_DUE' THEN payment.status = 'REFUND_DUE'
              WHEN 'REFUNDED' THEN payment.status = 'REFUNDED'
              WHEN 'PENDING' THEN payment.status = 'PENDING'
              ELSE payment.status IN ('DECLINED', 'CANCELLED')
          END OR (payment.captured_amount, payment.refunded_amount) <> CASE booking.status
              WHEN 'CONFIRMED' THEN (booking.total_amount, 0)
              WHEN 'REFUND_DUE' THEN (booking.total_amount, 0)
              WHEN 'REFUNDED' THEN (booking.total_amount, booking.total_amount)
              ELSE (0, 0)
          END)
        """,
        advice=_MONEY,
    ),
    Invariant(
        "I6",
        "a booking does not cost what its tickets cost",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the booking says ' || booking.total_amount || ' ' || booking.currency || ', its tickets '
                   || coalesce(sum(ticket.price_amount), 0) || ' ' || showtime.currency
        FROM bookings_booking AS booking
        JOIN seating_showtime AS showtime ON showtime.id = booking.showtime_id
        LEFT JOIN bookings_ticket AS ticket ON ticket.booking_id = booking.id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
        GROUP BY booking.id, showtime.currency
        HAVING coalesce(sum(ticket.price_amount), 0) <> booking.total_amount OR booking.currency <> showtime.currency
        """,
        advice=_MONEY,
    ),
    Invariant(
        "I6",
        "a ticket does not cost what its seat cost when it was held",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference || ', seat ' || seat.code,
               'the ticket says ' || ticket.price_amount || ', the audit of hold ' || booking.hold_id || ' does not'
        FROM bookings_booking AS booking
        JOIN bookings_ticket AS ticket ON ticket.booking_id = booking.id
        JOIN seating_seat AS seat ON seat.id = ticket.seat_id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
          -- A seat may have been in the hold twice, at two prices.
          AND NOT EXISTS (
              SELECT FROM seat_holds AS audit
              WHERE audit.hold_id = booking.hold_id AND audit.seat_id = ticket.seat_id
                AND audit.price_amount = ticket.price_amount
          )
        """,
        advice=_MONEY,
    ),
    Invariant(
        "I6",
        "a payment is not what its provider has told",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the payment says ' || payment.status || ', the provider has told '
                   || coalesce(string_agg(event.told, ' and ' ORDER BY event.id), 'nothing')
        FROM bookings_booking AS booking
        JOIN bookings_payment AS payment ON payment.booking_id = booking.id
        LEFT JOIN bookings_paymentevent AS event ON event.payment_id = payment.id
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[])
        GROUP BY booking.id, payment.id
        HAVING (payment.status IN ('CAPTURED', 'REFUND_DUE', 'REFUNDED'))
            <> coalesce(bool_or(event.told = 'CAPTURED'), false)
        """,
        advice=_MONEY,
    ),
    Invariant(
        "I6",
        "a payment and the books of the provider demo do not agree",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the payment says ' || payment.status || ' of ' || payment.amount || ' ' || booking.currency
                   || coalesce(' as ' || nullif(payment.provider_reference, ''), '') || coalesce(
                       ', the provider ' || books.status || ' of ' || books.amount || ' ' || books.currency || ' as '
                           || books.reference,
                       ', the provider nothing'
                   )
        FROM bookings_booking AS booking
        JOIN bookings_payment AS payment ON payment.booking_id = booking.id
        LEFT JOIN bookings_demopayment AS books ON books."order" = booking.reference
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[]) AND payment.provider = 'demo'
          AND (
              books.amount <> payment.amount OR books.currency <> booking.currency
              OR payment.provider_reference NOT IN ('', books.reference)
              OR NOT coalesce(books.status, '') = ANY(CASE payment.status
                  -- What the provider has decided is settled, or heard of when the window is over.
                  WHEN 'PENDING' THEN ARRAY['', 'PENDING', 'CAPTURED', 'DECLINED', 'CANCELLED']
                  WHEN 'CAPTURED' THEN ARRAY['CAPTURED']
                  WHEN 'DECLINED' THEN ARRAY['DECLINED']
                  -- After the grace a payment is given up that the provider could not be asked to cancel.
                  WHEN 'CANCELLED' THEN ARRAY['', 'PENDING', 'DECLINED', 'CANCELLED']
                  WHEN 'REFUND_DUE' THEN ARRAY['CAPTURED', 'REFUNDED']
                  ELSE ARRAY['REFUNDED']
              END)
          )
        """,
        advice=_MONEY,
        # Money that comes late is in the provider's books a moment before its notice is heard.
        settles=True,
    ),
    Invariant(
        "I9",
        "a hold is being paid, and no booking waits for it",
        """
        SELECT hold.showtime_id, 'hold ' || hold.id, 'the hold says paying, it has no pending booking'
        FROM seating_hold AS hold
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[]) AND hold.ended_at IS NULL AND hold.paying
          AND NOT EXISTS (
              SELECT FROM bookings_booking AS booking WHERE booking.hold_id = hold.id AND booking.status = 'PENDING'
          )
        """,
        advice="`verify_seats --repair` frees its seats once its time is over.",
    ),
    Invariant(
        "I9",
        "a hold was renewed past its cap",
        f"""
        SELECT hold.showtime_id, 'hold ' || hold.id,
               'the hold says until ' || hold.expires_at || ', and no longer than ' || hold.max_expires_at
                   || coalesce(', its payments until ' || paid.until, ', and it was never paid for')
        FROM seating_hold AS hold
        LEFT JOIN LATERAL (
            -- Past the cap a hold is kept by its payment alone, and after a decline for as long as that leaves it. When
            -- a booking was declined that was confirmed after that, nobody knows any more.
            SELECT max(
                CASE WHEN confirmed_at IS NOT NULL THEN 'infinity'
                     ELSE greatest(pay_by, ended_at + make_interval(secs => {LEFT_AFTER_DECLINE}))
                END
            ) AS until
            FROM bookings_booking AS booking WHERE booking.hold_id = hold.id
        ) AS paid ON true
        -- The cap is the hold's own: another setting is for later holds.
        WHERE hold.showtime_id = ANY(%(showtimes)s::bigint[]) AND hold.expires_at > hold.max_expires_at
          AND hold.expires_at > coalesce(paid.until, '-infinity')
        """,  # noqa: S608 - our own number
        advice=(
            "Nothing repairs this by itself: take the hold back in the admin if it still lives, and tell whoever works "
            "on CineBook."
        ),
        quick=True,
    ),
    Invariant(
        "I9",
        "a booking is still pending long after the window of its payment",
        f"""
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the booking says pending, to be paid by ' || booking.pay_by
        FROM bookings_booking AS booking
        WHERE booking.showtime_id = ANY(%(showtimes)s::bigint[]) AND booking.status = 'PENDING'
          AND booking.pay_by <= transaction_timestamp() - make_interval(secs => {2 * GRACE_SECONDS})
        """,  # noqa: S608 - our own number
        advice="`manage.py reconcile` settles it; if it does not, its error in the log says why.",
    ),
    Invariant(
        "I9",
        "a cancelled showtime still has a confirmed booking",
        """
        SELECT booking.showtime_id, 'booking ' || booking.reference,
               'the booking says CONFIRMED, the showtime cancelled ' || showtime.cancelled_at
        FROM seating_showtime AS showtime JOIN bookings_booking AS booking ON booking.showtime_id = showtime.id
        WHERE showtime.id = ANY(%(showtimes)s::bigint[]) AND booking.status = 'CONFIRMED'
          -- The reconciler goes on with it every 5 minutes.
          AND showtime.cancelled_at <= transaction_timestamp() - interval '10 minutes'
        """,
        advice="`manage.py reconcile` cancels it and returns the money.",
    ),
)
# What belongs to no showtime: asked only when all of them are.
HOUSE_INVARIANTS = (
    Invariant(
        "I6",
        "the books of the provider demo have an order that is no booking's",
        """
        SELECT NULL::bigint, 'order ' || books."order", 'the provider says ' || books.status || ', there is no booking'
        FROM bookings_demopayment AS books
        WHERE NOT EXISTS (SELECT FROM bookings_booking AS booking WHERE booking.reference = books."order")
        """,
        advice=_MONEY,
    ),
)
