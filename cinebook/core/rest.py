"""What all of the REST API has in common: how bodies are read, lists are cut, and errors are answered."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from cinebook.core.error_responses import ERRORS, error_body
from cinebook.core.errors import ErrorCode, Refusal

log = structlog.get_logger(__name__)

# The longest body of a request, in bytes: ten seats with their attendees need a hundredth of it.
MAX_BODY = 256 * 1024
RETRY_AFTER_OUTAGE = 2


class BoundedJSONParser(JSONParser):
    """Reads JSON that is neither too long nor too deep."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return what the body says.

        Raises:
            Refusal: `payload_too_large`, or `invalid_data` when it is nested beyond reason.
        """
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise Refusal(ErrorCode.PAYLOAD_TOO_LARGE)
        try:
            return super().parse(io.BytesIO(body), media_type, dict(parser_context or {}))
        except RecursionError as error:
            raise Refusal(ErrorCode.INVALID_DATA) from error


class OneRenderer(DefaultContentNegotiation):
    """Answers in the one language that a view speaks, whatever the caller would rather accept: there is no other."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type


class Pages(PageNumberPagination):
    """Lists in pages: `{count, next, previous, results}`."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return what a page looks like, given what the list does; DRF's own is in the words of OpenAPI 3.0."""
        link = {"type": ["string", "null"], "format": "uri"}
        fields = {"count": {"type": "integer"}, "next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(fields), "properties": fields}


def exception_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of an API view with the contract's error. DRF calls it."""
    return error_response(as_refusal(error))


def error_response(refusal: Refusal) -> Response:
    """Return the answer to a refused request."""
    response = Response(error_body(refusal), status=ERRORS[refusal.code].status)
    for name, value in error_headers(refusal).items():
        response[name] = value
    return response


def error_json(refusal: Refusal) -> JsonResponse:
    """The same without DRF, for requests that no view of the API was found for."""
    return JsonResponse(error_body(refusal), status=ERRORS[refusal.code].status, headers=error_headers(refusal))


# What DRF and Django raise, as the contract calls it; the first that fits.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], ErrorCode], ...] = (
    ((RequestDataTooBig,), ErrorCode.PAYLOAD_TOO_LARGE),
    ((exceptions.ParseError, SuspiciousOperation, UnreadablePostError), ErrorCode.INVALID_DATA),
    ((exceptions.NotAuthenticated, exceptions.AuthenticationFailed), ErrorCode.NOT_AUTHENTICATED),
    ((exceptions.PermissionDenied, PermissionDenied), ErrorCode.PERMISSION_DENIED),
    ((exceptions.NotFound, Http404), ErrorCode.NOT_FOUND),
    ((exceptions.MethodNotAllowed,), ErrorCode.METHOD_NOT_ALLOWED),
    ((exceptions.UnsupportedMediaType,), ErrorCode.UNSUPPORTED_MEDIA_TYPE),
)


def as_refusal(error: Exception) -> Refusal:
    """Return what an exception means to the client.

    What nobody foresaw becomes `server_error`, and goes into the log with its traceback.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, exceptions.ValidationError):
        return Refusal(ErrorCode.INVALID_DATA, errors=error.detail)
    if isinstance(error, OperationalError | InterfaceError):
        log.error("api.database_away", exc_info=error)
        return Refusal(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER_OUTAGE)
    for kinds, code in _MEANINGS:
        if isinstance(error, kinds):
            return Refusal(code)
    log.error("api.server_error", exc_info=error)
    return Refusal(ErrorCode.SERVER_ERROR)


def is_api(request: HttpRequest) -> bool:
    """Return whether a request was meant for the API."""
    return request.path.startswith("/api/")


def error_headers(refusal: Refusal) -> dict[str, str]:
    """Return what an answer to a refused request says beside its body."""
    headers = {"Cache-Control": "no-store"}
    if "retry_after" in refusal.data:
        headers["Retry-After"] = str(refusal.data["retry_after"])
    if refusal.code is ErrorCode.NOT_AUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return headers
