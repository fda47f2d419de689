"""What a seat is called."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.utils.translation import gettext, gettext_lazy

from seating.layout import SeatKind
from seating.selectors.seat_map import MappedSeat, ViewedStatus
from seating.templatetags.money import money

register = template.Library()

KINDS = {
    SeatKind.WHEELCHAIR: gettext_lazy("wheelchair place"),
    SeatKind.COMPANION: gettext_lazy("companion seat"),
}


@register.simple_tag
def seat_name(seat: MappedSeat, currency: str) -> str:
    """Return a seat's accessible name, such as “Seat F6, Premium, €15.50, available”.

    Args:
        seat: the seat as the viewer sees it.
        currency: the ISO 4217 code of its price.
    """
    if seat.amount is None:
        return gettext("Seat %(code)s, %(sort)s, %(status)s") % {
            "code": seat.place.code,
            "sort": seat_sort(seat),
            "status": seat.status.label,
        }
    return gettext("Seat %(code)s, %(sort)s, %(price)s, %(status)s") % {
        "code": seat.place.code,
        "sort": seat_sort(seat),
        "price": money(seat.amount, currency),
        "status": seat.status.label,
    }


@register.filter
def seat_sort(seat: MappedSeat) -> str:
    """Return what sort of place it is: its category, or whom it is for."""
    return str(KINDS.get(seat.place.kind, seat.category))


@register.filter
def together(codes: Sequence[str]) -> str:
    """Return the codes of seats as a person says them, such as “A7, A8 and A9”."""
    if len(codes) < 2:  # noqa: PLR2004 - one, or none
        return "".join(codes)
    return gettext("%(seats)s and %(last)s") % {"seats": ", ".join(codes[:-1]), "last": codes[-1]}


@register.simple_tag
def seat_words() -> dict[str, str]:
    """Return the words for how a seat stands and what sort it is, for the page's script."""
    return {
        **{status.value: str(status.label) for status in ViewedStatus},
        **{kind.value: str(words) for kind, words in KINDS.items()},
    }
