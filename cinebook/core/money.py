"""Money is a whole number of minor units and a currency; here is how many minor units a currency has."""

from __future__ import annotations

from decimal import Decimal

# ISO 4217 gives most currencies a hundredth. These are the others.
_EXPONENTS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"), 0
    ),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def exponent(currency: str) -> int:
    """Return how many decimal places a currency has by ISO 4217.

    Args:
        currency: its code; one that nobody knows has hundredths.
    """
    return _EXPONENTS.get(currency, 2)


def in_major_units(amount: int, currency: str) -> Decimal:
    """Return an amount as a decimal number with all its places, such as 12.50.

    Args:
        amount: in minor units.
        currency: its ISO 4217 code.
    """
    return Decimal(amount).scaleb(-exponent(currency))
