"""How an error looks: the only table. REST, sockets and pages show the same code with the same sentence."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.translation import gettext_lazy as _

from cinebook.core.errors import ErrorCode, Refusal

# How many seats a sentence names; a program reads the others from `seats`.
MAX_NAMED = 10


class Looks(NamedTuple):
    """An error's HTTP status, and its sentence for a person: what is the matter, and what to do next."""

    status: int
    sentence: Any


ERRORS: dict[ErrorCode, Looks] = {
    ErrorCode.INVALID_DATA: Looks(400, _("Some of this could not be understood. Please check it and try again.")),
    ErrorCode.UNKNOWN_SEAT: Looks(400, _("Not a seat of this auditorium. Please pick from the map.")),
    ErrorCode.TOO_MANY_SEATS: Looks(400, _("That is more than can be held at once. Please pick fewer seats.")),
    ErrorCode.NOT_AUTHENTICATED: Looks(401, _("Please sign in, or open the seat map first.")),
    ErrorCode.PAYMENT_DECLINED: Looks(
        402, _("The payment was declined. Your seats are still held: try another way to pay.")
    ),
    ErrorCode.PERMISSION_DENIED: Looks(403, _("You may not do that.")),
    ErrorCode.CSRF_FAILED: Looks(403, _("This page has become stale. Please reload it and try again.")),
    ErrorCode.NOT_FOUND: Looks(404, _("There is nothing here. It may have been moved, or it is not yours.")),
    ErrorCode.METHOD_NOT_ALLOWED: Looks(405, _("That cannot be done here.")),
    ErrorCode.PAYLOAD_TOO_LARGE: Looks(413, _("That is too much at once.")),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Looks(415, _("Please send this as JSON.")),
    ErrorCode.SEAT_LOCKED: Looks(409, _("Being processed at this very moment. Please try again.")),
    ErrorCode.SEAT_HELD: Looks(409, _("Held by somebody else. Please pick other seats.")),
    ErrorCode.SEAT_BOOKED: Looks(409, _("Already sold. Please pick other seats.")),
    ErrorCode.SEAT_BLOCKED: Looks(409, _("Kept back by the house. Please pick other seats.")),
    ErrorCode.HOLD_PAYING: Looks(409, _("These seats are being paid for. Please finish the payment first.")),
    ErrorCode.NOT_ON_SALE: Looks(409, _("Seats for this showtime are not on sale now.")),
    ErrorCode.NOT_CANCELLABLE: Looks(409, _("This booking can no longer be cancelled.")),
    ErrorCode.HOLD_EXPIRED: Looks(410, _("Your time for these seats has run out. Please pick again.")),
    ErrorCode.IDEMPOTENCY_MISMATCH: Looks(422, _("This key was used for another request. Please send a new one.")),
    ErrorCode.RATE_LIMITED: Looks(429, _("That was a little fast. Please wait a moment and try again.")),
    ErrorCode.SERVER_ERROR: Looks(500, _("Something went wrong on our side. Please try again.")),
    ErrorCode.UNAVAILABLE: Looks(503, _("We cannot reach our records right now. Please try again in a moment.")),
}


def error_body(refusal: Refusal) -> dict[str, Any]:
    """Return an error as JSON has it: `code`, `detail`, and what helps beside them."""
    detail = str(refusal.detail or ERRORS[refusal.code].sentence)
    # The sentence is about the seats that have this code; others may have another.
    named = [code for code, reason in refusal.data.get("seats", {}).items() if reason == refusal.code]
    if named and not refusal.detail:
        detail = f"{', '.join(named[:MAX_NAMED])}: {detail}"
    return {"code": refusal.code.value, "detail": detail, **refusal.data}
