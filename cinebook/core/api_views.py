"""What every view of the API does. It stands apart from `rest`, which DRF's settings name while DRF itself loads."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView

from cinebook.core.errors import ErrorCode, Refusal


class ApiMixin:
    """What every view of the API does."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a body of unknown length: DRF would take it for no body at all, and so for another request.

        Raises:
            Refusal: `invalid_data`.
        """
        if "HTTP_TRANSFER_ENCODING" in request.META and "CONTENT_LENGTH" not in request.META:
            raise Refusal(ErrorCode.INVALID_DATA, "Please send the body with a Content-Length.")
        super().initial(request, *args, **kwargs)  # type: ignore[misc] # a view stands behind it

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Let nobody keep an answer that does not say so itself."""
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        response.setdefault("Cache-Control", "no-store")
        return response


class ApiView(ApiMixin, APIView):
    """The base of the API's views."""
