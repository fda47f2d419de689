"""How amounts of money look to a person."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.utils.formats import number_format
from django.utils.translation import pgettext

register = template.Library()

# ISO 4217 gives most currencies a hundredth. These are the others.
EXPONENTS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"), 0
    ),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
# Only signs that mean one currency to everybody. The rest keep their code, with a space that does not break.
SIGNS = {"EUR": "€", "GBP": "£", "USD": "$", "JPY": "¥", "INR": "₹", "KRW": "₩", "ILS": "₪", "NGN": "₦", "VND": "₫"}


@register.filter
def money(amount: int, currency: str) -> str:
    """Return an amount as a person reads it, such as €12.50.

    Args:
        amount: in minor units of the currency.
        currency: its ISO 4217 code.
    """
    exponent = EXPONENTS.get(currency, 2)
    number = number_format(Decimal(amount).scaleb(-exponent), decimal_pos=exponent, force_grouping=True)
    # Translators say here whether the sign stands before the number or after it.
    pattern = pgettext("an amount of money", "%(sign)s%(number)s")
    return pattern % {"sign": SIGNS.get(currency, f"{currency}\N{NO-BREAK SPACE}"), "number": number}
