"""What a visitor sees when a request fails outside the views of the API: JSON below /api/, a page elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults
from django.views.csrf import csrf_failure

from cinebook.core.error_responses import ERRORS, error_body
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rest import RETRY_AFTER_OUTAGE, error_json, is_api

log = structlog.get_logger(__name__)

Handler = Callable[..., HttpResponse]


class OutageMiddleware:
    """Answers 503 instead of 500 while PostgreSQL is away or has no connection left, and says when to come back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        try:
            return self.get_response(request)
        except (OperationalError, InterfaceError) as error:
            # Raised by a middleware, such as the session's.
            return _unavailable(request, error)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for a view."""
        return _unavailable(request, exception) if isinstance(exception, OperationalError | InterfaceError) else None


class RefusalMiddleware:
    """Turns what a service refuses into a page with the refusal's own status and sentence, if the view does not."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for a view."""
        return refusal_page(request, exception) if isinstance(exception, Refusal) else None


def refusal_page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Return the page of a refused request; JSON below /api/."""
    if is_api(request):
        return error_json(refusal)
    if refusal.code is ErrorCode.NOT_FOUND:
        return defaults.page_not_found(request, refusal)
    status = ERRORS[refusal.code].status
    response = render(request, "refused.html", {"status": status, "error": error_body(refusal)}, status=status)
    if "retry_after" in refusal.data:
        response["Retry-After"] = str(refusal.data["retry_after"])
    return response


def _unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("request.database_away", exc_info=error)
    if is_api(request):
        return error_json(Refusal(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER_OUTAGE))
    response = render(None, "503.html", status=503)  # without what asks the database
    response["Cache-Control"] = "no-store"
    response["Retry-After"] = str(RETRY_AFTER_OUTAGE)
    return response


def _failure(code: ErrorCode, page: Handler) -> Handler:
    def handle(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return error_json(Refusal(code)) if is_api(request) else page(request, *args, **kwargs)

    return handle


bad_request = _failure(ErrorCode.INVALID_DATA, defaults.bad_request)
permission_denied = _failure(ErrorCode.PERMISSION_DENIED, defaults.permission_denied)
not_found = _failure(ErrorCode.NOT_FOUND, defaults.page_not_found)
server_error = _failure(ErrorCode.SERVER_ERROR, defaults.server_error)
csrf_failed = _failure(ErrorCode.CSRF_FAILED, csrf_failure)
