"""The seats of one showtime: who has which, and the boxes to tick for blocking, unblocking and taking back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from cinebook.core.errors import ErrorCode, Refusal
from seating.admin.refusing import in_words
from seating.live.presence import presence
from seating.models import BlockReason, SeatStatus, Showtime
from seating.selectors.house import holds_on, house_seats, showtime_state
from seating.selectors.layout_stylesheets import layout_stylesheet
from seating.selectors.layouts import parsed_layout
from seating.services import block_seats, make_missing_seats, unblock_seats, withdraw_hold

# What each button does, and the permission that it takes.
ACTIONS = {
    "block": "seating.change_seat",
    "unblock": "seating.change_seat",
    "withdraw": "seating.change_hold",
}
NOT_HELD = _("None of these seats is held.")


def seats_page(model_admin: Any, request: HttpRequest, showtime_id: int) -> HttpResponse:
    """Return the page of a showtime's seats, or do what one of its buttons says.

    Raises:
        Http404: there is no such showtime.
        PermissionDenied: the person may not see it, or not do that.
    """
    showtime = Showtime.objects.select_related("movie", "auditorium", "sales").filter(pk=showtime_id).first()
    if not model_admin.has_view_permission(request, showtime):
        raise PermissionDenied
    if showtime is None:
        raise Http404
    chosen: list[str] = []
    if request.method == "POST":
        chosen = request.POST.getlist("seats")
        action = request.POST.get("action", "")
        if action not in ACTIONS or not request.user.has_perm(ACTIONS[action]):
            raise PermissionDenied
        try:
            done = _act(action, showtime.pk, chosen, request.POST.get("reason", ""))
        except Refusal as refusal:
            messages.error(request, in_words(refusal))
        else:
            model_admin.log_change(request, showtime, done)
            messages.success(request, done)
            return HttpResponseRedirect(reverse("admin:seating_showtime_seats", args=[showtime.pk]))
    return _page(model_admin, request, showtime, set(chosen))


def _act(action: str, showtime_id: int, codes: list[str], reason: str) -> str:
    if action == "withdraw":
        return _withdraw(showtime_id, codes)
    if action == "unblock":
        return _told(unblock_seats(showtime_id=showtime_id, codes=codes), gettext("Unblocked %s."))
    if reason not in BlockReason.values:
        raise Refusal(ErrorCode.INVALID_DATA, _("Choose a reason."))
    words = gettext("Blocked %s, {reason}.").format(reason=BlockReason(reason).label)
    return _told(block_seats(showtime_id=showtime_id, codes=codes, reason=BlockReason(reason)), words)


def _told(changed: tuple[str, ...], words: str) -> str:
    return words % ", ".join(changed) if changed else gettext("Nothing to do: they were so already.")


def _withdraw(showtime_id: int, codes: list[str]) -> str:
    """Take back every hold on the seats. One that cannot be taken back does not keep the others."""
    freed: list[str] = []
    kept: list[str] = []
    holds = holds_on(showtime_id=showtime_id, codes=codes)
    if not holds:
        raise Refusal(ErrorCode.INVALID_DATA, NOT_HELD)
    for hold_id, seats in holds.items():
        try:
            freed += withdraw_hold(hold_id=hold_id)
        except Refusal as refusal:
            kept.append(f"{', '.join(seats)}: {in_words(refusal)}")
    if not freed and kept:
        raise Refusal(ErrorCode.HOLD_PAYING, " ".join(kept))
    told = ngettext(
        "Took back %(count)d hold; free again: %(seats)s.",
        "Took back %(count)d holds; free again: %(seats)s.",
        len(holds) - len(kept),
    )
    return " ".join([told % {"count": len(holds) - len(kept), "seats": ", ".join(freed)}, *kept])


def _page(model_admin: Any, request: HttpRequest, showtime: Showtime, chosen: set[str]) -> HttpResponse:
    seats = house_seats(showtime.pk)
    if not seats:
        make_missing_seats(showtime_id=showtime.pk)
        seats = house_seats(showtime.pk)
    by_code = {seat.code: seat for seat in seats}
    rows = [
        (
            row.label,
            [(place, by_code[place.code], place.code in chosen) for place in row.seats if place.code in by_code],
        )
        for row in parsed_layout(showtime.layout_id).rows
    ]
    state = showtime_state(showtime, timezone.now())
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Seats"),
        "subtitle": str(showtime),
        "showtime": showtime,
        "state": state,
        "rows": rows,
        "taken": [seat for seat in seats if seat.status is not SeatStatus.AVAILABLE],
        "counts": [(status.label, sum(seat.status is status for seat in seats)) for status in SeatStatus],
        "viewers": presence().count(showtime.pk),
        "layout_digest": layout_stylesheet(showtime.layout_id).digest,
        "reasons": BlockReason.choices,
        "may": {action: request.user.has_perm(permission) for action, permission in ACTIONS.items()},
        "may_see_holds": request.user.has_perm("seating.view_hold"),
    }
    return TemplateResponse(request, "admin/seating/seats.html", context)
