"""Who is asking through the API: a bearer of a token, of a hold's token, or a browser with its session."""

from __future__ import annotations

import re
from typing import Any, cast

from django.http import HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rate_limits import SEAT_OPERATIONS, count_request
from seating.identity import Claimant, HoldBearer, bearer_of_hold, claimant_of_session, claimant_of_token

_BEARER = re.compile(r"bearer +([^ ]+)", re.IGNORECASE)


class HolderAuthentication(BaseAuthentication):
    """Turns what a request shows into its `user`, a `Claimant`; `auth` is a `HoldBearer` if it showed a hold's token.

    Whatever is shown must be good: a token that is not is refused, never treated as nobody.
    """

    def authenticate(self, request: Request) -> tuple[Claimant, HoldBearer | None] | None:
        """Return who is asking; None for nobody.

        Raises:
            Refusal: `not_authenticated` for a bad token, `csrf_failed` for a session that cannot prove its page.
        """
        claimant = None
        if "HTTP_AUTHORIZATION" in request.META:
            shown = _BEARER.fullmatch(request.META["HTTP_AUTHORIZATION"].strip())
            if not shown:
                raise Refusal(ErrorCode.NOT_AUTHENTICATED)
            claimant = claimant_of_token(shown[1])
        if "HTTP_X_HOLD_TOKEN" in request.META:
            bearer = bearer_of_hold(request.META["HTTP_X_HOLD_TOKEN"])
            return bearer.claimant, bearer
        return (claimant, None) if claimant else _session(request)

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 asks for."""
        return 'Bearer realm="api"'


def asking(request: Request) -> Claimant | None:
    """Return who is asking; None for nobody."""
    return cast("Claimant | None", request.user)


def shown_hold(request: Request) -> HoldBearer | None:
    """Return the hold whose token was shown, if one was."""
    return cast("HoldBearer | None", request.auth)


def see_holds(request: Request) -> tuple[Claimant, HoldBearer | None]:
    """Return who is asking, and the hold whose token was shown.

    Args:
        request: of somebody, since DRF's permissions have turned nobody away.
    """
    claimant = asking(request)
    assert claimant is not None, "DRF's permissions have turned nobody away"  # noqa: S101
    return claimant, shown_hold(request)


def act_on_seats(request: Request, *, showtime_id: int | None = None) -> tuple[Claimant, HoldBearer | None]:
    """Return who wants to do something with seats, once that was counted against their limit.

    Args:
        request: of somebody, since DRF's permissions have turned nobody away.
        showtime_id: at which; the bearer of a hold may act at the hold's alone.

    Raises:
        Refusal: `rate_limited`, `permission_denied`.
    """
    claimant, bearer = see_holds(request)
    if bearer and showtime_id not in (None, bearer.showtime_id):
        raise Refusal(ErrorCode.PERMISSION_DENIED)
    count_request(SEAT_OPERATIONS, str(claimant.holder_id))
    return claimant, bearer


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check, asked for its reason and not for a page."""

    def _reject(self, request: Any, reason: str) -> str:
        return reason


def _no_view(*args: Any) -> HttpResponse:
    raise AssertionError("the check does not call the view")


def _session(request: Request) -> tuple[Claimant, None] | None:
    http = request._request  # noqa: SLF001 - DRF's own session authentication reads it so, too
    # Without its cookie a request has no session, and an answer to it is the same for everybody.
    if http.session.session_key is None:
        return None
    claimant = claimant_of_session(http.session, http.user)
    if claimant is None:
        return None
    # The header alone proves the page. Else the check would read the body as a form, however long it is.
    http.POST = QueryDict()
    check = _CsrfCheck(lambda _request: None)  # type: ignore[arg-type]
    check.process_request(http)
    if check.process_view(http, _no_view, (), {}):
        raise Refusal(ErrorCode.CSRF_FAILED)
    return claimant, None


class HolderAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes it."""

    target_class = HolderAuthentication
    name = ["token", "session", "holdToken"]  # the library takes several

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Return what a request must show: any of the three."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        """Return the three ways, in the order of `name`."""
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "With X-CSRFToken for changes."},
            {"type": "apiKey", "in": "header", "name": "X-Hold-Token", "description": "For that one hold alone."},
        ]
