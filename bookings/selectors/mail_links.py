"""The links of mails: whoever has the mail may see the booking, though their browser is a stranger."""

from __future__ import annotations

from django.core.signing import BadSignature, Signer

_signer = Signer(salt="bookings.mail_links")


def seal(reference: str) -> str:
    """Return what makes the address of a booking one that only its mail can have told."""
    return _signer.signature(reference)


def is_sealed(*, reference: str, given: str) -> bool:
    """Return whether this is a booking's seal, by the secret key or one of its fallbacks."""
    try:
        _signer.unsign(f"{reference}:{given}")
    except BadSignature:
        return False
    return True
