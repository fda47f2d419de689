"""Where payment providers send their notices."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bookings.payments import demo
from bookings.serializers import NoticeTakenSerializer
from bookings.services import receive_notice
from cinebook.core.api_views import ApiView
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rest import MAX_BODY


class Webhook(ApiView):
    """A provider's notices. Their signature is all that they show."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        request=OpenApiTypes.OBJECT,
        parameters=[
            OpenApiParameter(
                demo.SIGNATURE_HEADER,
                location=OpenApiParameter.HEADER,
                description="Of `demo`: `t=<unix time>,v1=<HMAC-SHA256 of t, a dot and the body, in hex>`.",
            ),
            OpenApiParameter(
                "Stripe-Signature", location=OpenApiParameter.HEADER, description="Of `stripe`, in the same form."
            ),
        ],
        responses=NoticeTakenSerializer,
        auth=[],
    )
    def post(self, request: Request, provider: str) -> Response:
        """Take a notice. Repeated, late and unknown ones change nothing; a bad signature is 400."""
        # The signature is of the bytes, so they are not parsed first.
        http = request._request  # noqa: SLF001 - DRF gives no other way to the bytes
        if int(http.META.get("CONTENT_LENGTH") or 0) > MAX_BODY:
            raise Refusal(ErrorCode.PAYLOAD_TOO_LARGE)
        receive_notice(provider=provider, body=http.body, headers=request.headers)
        return Response({"received": True})
