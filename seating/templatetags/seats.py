"""What a seat is called."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext, gettext_lazy

from seating.layout import SeatKind
from seating.selectors.seat_map import MappedSeat
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
    sort = KINDS.get(seat.place.kind, seat.category)
    if seat.amount is None:
        return gettext("Seat %(code)s, %(sort)s, %(status)s") % {
            "code": seat.place.code,
            "sort": sort,
            "status": seat.status.label,
        }
    return gettext("Seat %(code)s, %(sort)s, %(price)s, %(status)s") % {
        "code": seat.place.code,
        "sort": sort,
        "price": money(seat.amount, currency),
        "status": seat.status.label,
    }
