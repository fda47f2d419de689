"""What a refusal says to the staff: seat by seat, and without the advice that a visitor gets."""

from __future__ import annotations

from django.utils.translation import gettext, gettext_lazy

from cinebook.core.error_responses import error_body
from cinebook.core.errors import ErrorCode, Refusal

REASONS = {
    ErrorCode.SEAT_HELD: gettext_lazy("%(seat)s is held"),
    ErrorCode.SEAT_BOOKED: gettext_lazy("%(seat)s is sold"),
    ErrorCode.SEAT_BLOCKED: gettext_lazy("%(seat)s is blocked"),
    ErrorCode.UNKNOWN_SEAT: gettext_lazy("%(seat)s is no seat of this room"),
}
SENTENCES = {
    ErrorCode.HOLD_PAYING: gettext_lazy("It is being paid for at this moment: cancel its booking instead."),
    ErrorCode.SEAT_LOCKED: gettext_lazy("Somebody is busy with it at this very moment. Please try again."),
    ErrorCode.NOT_FOUND: gettext_lazy("It is not there any more."),
    ErrorCode.NOT_CANCELLABLE: gettext_lazy("It can no longer be cancelled."),
}


def in_words(refusal: Refusal) -> str:
    """Return why something was refused, as a sentence for the staff."""
    seats: dict[str, ErrorCode] = refusal.data.get("seats", {})
    told = [str(REASONS[reason]) % {"seat": code} for code, reason in seats.items() if reason in REASONS]
    if told:
        return gettext("Nothing was changed: %(reasons)s.") % {"reasons": ", ".join(told)}
    if refusal.detail:
        return str(refusal.detail)
    return str(SENTENCES.get(refusal.code) or error_body(refusal)["detail"])
