"""How amounts of money look to a person."""

from __future__ import annotations

from django import template
from django.utils.formats import number_format
from django.utils.translation import pgettext

from cinebook.core.money import exponent, in_major_units

register = template.Library()

# Only signs that mean one currency to everybody. The rest keep their code, with a space that does not break.
SIGNS = {"EUR": "€", "GBP": "£", "USD": "$", "JPY": "¥", "INR": "₹", "KRW": "₩", "ILS": "₪", "NGN": "₦", "VND": "₫"}


@register.filter
def money(amount: int, currency: str) -> str:
    """Return an amount as a person reads it, such as €12.50.

    Args:
        amount: in minor units of the currency.
        currency: its ISO 4217 code.
    """
    number = number_format(in_major_units(amount, currency), decimal_pos=exponent(currency), force_grouping=True)
    # Translators say here whether the sign stands before the number or after it.
    pattern = pgettext("an amount of money", "%(sign)s%(number)s")
    return pattern % {"sign": SIGNS.get(currency, f"{currency}\N{NO-BREAK SPACE}"), "number": number}
