"""Requests that name themselves by an `Idempotency-Key`, so that whoever has lost an answer can ask for it again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from cinebook.core.error_responses import ERRORS, error_body
from cinebook.core.errors import ErrorCode, Refusal
from seating.api.authentication import see_holds
from seating.services import Answer, NamedRequest, answer_once

HEADER = "Idempotency-Key"
# A name that a client gives to its request.
KEY = re.compile(r"[\x20-\x7e]{1,200}")
IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    location=OpenApiParameter.HEADER,
    description=(
        "The caller's own name for this request, at most 200 plain characters, such as a UUID. Repeated within a day "
        "with the same key and body it is done once, and has the same answer; with another body it is "
        "`idempotency_mismatch`."
    ),
)


def answer_request(request: Request, said: Any, work: Callable[[NamedRequest | None], Answer]) -> Response:
    """Do what a request asks for; once, if it has named itself.

    Args:
        request: of somebody, since DRF's permissions have turned nobody away.
        said: its body, as far as it is heeded.
        work: does it for the named request, or for one without a name, and returns the answer.

    Raises:
        Refusal: `invalid_data` for a key that is none; what `answer_once` raises.
    """
    named = _named(request, said)
    answer = answer_once(named=named, work=lambda: work(named), refuse=refusal_answer) if named else work(None)
    return Response(answer.body, status=answer.status)


def refusal_answer(refusal: Refusal) -> Answer:
    """Return a refusal as what is kept, and answered again."""
    return Answer(status=ERRORS[refusal.code].status, body=error_body(refusal))


def _named(request: Request, said: Any) -> NamedRequest | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not KEY.fullmatch(key):
        # An empty one, too: who sends it believes that the request has a name.
        raise Refusal(ErrorCode.INVALID_DATA, errors={HEADER: ["1 to 200 plain characters."]})
    claimant, bearer = see_holds(request)
    # The bearer of a hold shares its holder's keys, but is told only what was said to a bearer of this hold.
    shown = [str(bearer.hold_id)] if bearer else []
    words = json.dumps([request.path, said, *shown], sort_keys=True)
    return NamedRequest(holder_id=claimant.holder_id, key=key, request_hash=hashlib.sha256(words.encode()).hexdigest())
