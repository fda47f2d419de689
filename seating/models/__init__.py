"""Who has which seat, right now: the tables and the constraints that decide it."""

from seating.models.holds import Hold, HoldEnd, Holder, SeatHold, SeatHoldEnd
from seating.models.idempotency import IdempotencyRecord
from seating.models.programme import Auditorium, Layout, Movie, Price, SeatCategory, Showtime, ShowtimeSales
from seating.models.seats import BlockReason, Seat, SeatChange, SeatEvent, SeatStatus

__all__ = [
    "Auditorium",
    "BlockReason",
    "Hold",
    "HoldEnd",
    "Holder",
    "IdempotencyRecord",
    "Layout",
    "Movie",
    "Price",
    "Seat",
    "SeatCategory",
    "SeatChange",
    "SeatEvent",
    "SeatHold",
    "SeatHoldEnd",
    "SeatStatus",
    "Showtime",
    "ShowtimeSales",
]
