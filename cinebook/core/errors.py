"""What can go wrong, as a value: a code and data. How it looks is decided in `error_responses`.

Services raise these, whatever door they were called through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from django.utils.functional import Promise


class ErrorCode(StrEnum):
    """Every code that a client may meet. The API's documentation lists them with their meaning."""

    INVALID_DATA = "invalid_data"
    UNKNOWN_SEAT = "unknown_seat"
    TOO_MANY_SEATS = "too_many_seats"
    NOT_AUTHENTICATED = "not_authenticated"
    PAYMENT_DECLINED = "payment_declined"
    PERMISSION_DENIED = "permission_denied"
    CSRF_FAILED = "csrf_failed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    SEAT_LOCKED = "seat_locked"
    SEAT_HELD = "seat_held"
    SEAT_BOOKED = "seat_booked"
    SEAT_BLOCKED = "seat_blocked"
    HOLD_PAYING = "hold_paying"
    NOT_ON_SALE = "not_on_sale"
    NOT_CANCELLABLE = "not_cancellable"
    HOLD_EXPIRED = "hold_expired"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"


class Refusal(Exception):  # noqa: N818 - it is not always somebody's mistake
    """A request that is answered with an error of the contract.

    Args:
        code: which error it is.
        detail: a sentence for a person that says what to do next; the code's own sentence, if empty.
        data: what helps a program beside it, such as `seats`, `alternatives`, `retry_after` in seconds.
    """

    def __init__(self, code: ErrorCode, detail: str | Promise = "", **data: Any) -> None:
        super().__init__(code.value)
        self.code = code
        self.detail = detail
        self.data = data


# Of several seats that cannot be had, the answer's own code is the first of these that occurs: what will never
# change stands before what may.
SEAT_CODES = (ErrorCode.SEAT_BOOKED, ErrorCode.SEAT_BLOCKED, ErrorCode.SEAT_HELD, ErrorCode.SEAT_LOCKED)


class SeatsRefused(Refusal):
    """Some of the seats that were asked for cannot be had; none was taken.

    Args:
        seats: why, seat by seat; not empty.
        alternatives: free seats together and near, best first.
    """

    def __init__(self, seats: Mapping[str, ErrorCode], alternatives: Sequence[Sequence[str]] = ()) -> None:
        code = next(code for code in SEAT_CODES if code in seats.values())
        super().__init__(code, seats=dict(seats), alternatives=[list(group) for group in alternatives])
