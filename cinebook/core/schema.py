"""What the OpenAPI schema says of every operation alike, so that no view has to say it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from cinebook.core.fields import ErrorSerializer

# For operations that answer 304 to whoever has the newest state already.
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    location=OpenApiParameter.HEADER,
    description="The `ETag` of the state that the caller knows: if it is still the newest, the answer is 304.",
)
ETAG = OpenApiParameter(
    "ETag", location=OpenApiParameter.HEADER, response=[200, 304], description="Tells this state from every other."
)
NOT_MODIFIED = OpenApiResponse(description="The caller knows this state already.")

_FAILURES = {
    "4XX": "The request cannot be granted; `code` says why.",
    "5XX": "It is not the caller's fault; with `unavailable`, repeat it after `Retry-After`.",
}
_FAILURE_HEADERS = {
    "Retry-After": {
        "schema": {"type": "integer"},
        "description": "In seconds; with `rate_limited`, `seat_locked` and `unavailable`.",
    }
}


class Schema(AutoSchema):
    """Describes one operation: with its errors, which look alike everywhere, and with the body of a DELETE."""

    def _get_request_body(self, direction: Any = "request") -> Any:
        if self.method != "DELETE":
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        # The library describes no body of a DELETE, and goes by the method's name.
        self.method = "POST"
        try:
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        finally:
            self.method = "DELETE"

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        failures = {
            status: {
                **self._get_response_for_code(  # type: ignore[no-untyped-call]
                    OpenApiResponse(ErrorSerializer, description=description), status
                ),
                "headers": _FAILURE_HEADERS,
            }
            for status, description in _FAILURES.items()
        }
        return {**super()._get_response_bodies(direction), **failures}
