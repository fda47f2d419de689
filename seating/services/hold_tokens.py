"""The token of a hold: whoever has it may read, extend, release and buy that hold, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import uuid

from django.utils.crypto import salted_hmac

# How many bytes of it are told.
TOKEN_BYTES = 24


def hold_token(hold_id: uuid.UUID) -> str:
    """Return the token of a hold that was made under the secret key of now.

    It is drawn from the hold's id, which is no secret, by HMAC under SECRET_KEY: to whoever lacks that key it is as
    good as chance, and whoever has it can sign sessions and tokens anyway. So nothing but its hash is stored, and an
    answer that tells it can be told again. Holds from before have tokens by chance, which are good as well; those
    cannot be told again, nor can those from before a change of SECRET_KEY.
    """
    drawn = salted_hmac("seating.hold_token", hold_id.bytes, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(drawn[:TOKEN_BYTES]).decode()


def token_hash(token: str) -> str:
    """Return what is stored of a hold token: it cannot be guessed, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
