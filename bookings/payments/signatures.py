"""Signed notices, as Stripe signs its own: `t=<unix time>,v1=<HMAC-SHA256 of "<t>.<body>", in hex>`."""

from __future__ import annotations

import hmac

# How old a notice may be, and how far ahead of our clock, in seconds: an old one may have been overheard.
TOLERANCE = 300


def signature(*, secret: str, body: bytes, at: int) -> str:
    """Return the header that signs a body.

    Args:
        secret: shared with whoever sends it.
        body: to the byte.
        at: the time, in seconds since 1970.
    """
    return f"t={at},v1={_digest(secret, body, str(at))}"


def is_signed(header: str, *, secret: str, body: bytes, now: float) -> bool:
    """Return whether a header is a good and fresh signature of a body.

    Args:
        header: as it came. It may have several `v1`, while a secret is being changed.
        secret: shared with whoever sends it.
        body: to the byte.
        now: the time, in seconds since 1970.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")]
    at = next((value for name, _equals, value in pairs if name == "t"), "")
    if not (at.isascii() and at.isdigit() and len(at) <= len(str(2**63)) and abs(now - int(at)) <= TOLERANCE):
        return False
    wanted = _digest(secret, body, at).encode()
    shown = [value.encode() for name, _equals, value in pairs if name == "v1"]
    return any(hmac.compare_digest(wanted, one) for one in shown)


def _digest(secret: str, body: bytes, at: str) -> str:
    return hmac.digest(secret.encode(), at.encode() + b"." + body, "sha256").hex()
