"""Who opens a socket. A token speaks for itself; a session cookie speaks only from a page of our own.

Browsers send cookies with every socket that any page opens, and no other rule of theirs protects it: so the origin
decides whether the cookie counts. Without an origin nobody's browser vouches for the cookie, and it does not count.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, parse_cookie
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone

from cinebook.core.errors import ErrorCode, Refusal
from seating.identity import Claimant, claimant_of_session, claimant_until
from seating.live.sessions import SessionStore, ShownSession, shown_session
from seating.live.threads import service_threads

# With this name as its subprotocol, and the token as the next one, a browser can show a token: it cannot set headers.
SUBPROTOCOL = "bearer"
_BEARER = re.compile(r"bearer +([^ ]+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class SocketVisitor:
    """Who has opened a socket, `by` what (`token`, `session` or `nothing`).

    A token that runs out ends its right to act while the socket stays open. What a session says is asked again, before
    it acts and now and then: `session` is what it said.
    """

    by: str
    shown: Claimant | None = None
    until: dt.datetime | None = None
    subprotocol: str | None = None
    session: ShownSession | None = None

    @property
    def claimant(self) -> Claimant | None:
        """The holder that the visitor may act for now; None for nobody."""
        if self.until is not None and timezone.now() >= self.until:
            return None
        return self.shown


async def visitor_of(scope: Mapping[str, Any]) -> SocketVisitor:
    """Return who opens a socket.

    Args:
        scope: ASGI's, of a WebSocket.

    Raises:
        Refusal: `not_authenticated` for a bad token, `permission_denied` for a foreign page or host.
    """
    request = _Upgrade(scope)
    try:
        request.get_host()
    except DisallowedHost as error:
        raise Refusal(ErrorCode.PERMISSION_DENIED) from error
    subprotocols = [name.strip() for name in scope.get("subprotocols", ())]
    by_subprotocol = subprotocols[:1] == [SUBPROTOCOL]
    tokens = _tokens(request, subprotocols)
    if tokens:
        claimants = [claimant_until(token) for token in tokens]
        shown, until = claimants[0]
        if any(claimant != shown for claimant, _until in claimants):
            raise Refusal(ErrorCode.NOT_AUTHENTICATED)
        return SocketVisitor("token", shown, until, SUBPROTOCOL if by_subprotocol else None)
    if "HTTP_ORIGIN" not in request.META:
        return SocketVisitor("nothing")
    if not _origin_rule.holds_for(request):
        raise Refusal(ErrorCode.PERMISSION_DENIED)
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return SocketVisitor("nothing")
    return await service_threads().run(_visitor_of_cookie, request)


class _OriginRule(CsrfViewMiddleware):
    """The very rule that guards our forms: our own scheme and host, or one of CSRF_TRUSTED_ORIGINS."""

    def holds_for(self, request: HttpRequest) -> bool:
        """Return whether a request with an Origin comes from a page of ours."""
        verified: bool = self._origin_verified(request)  # type: ignore[attr-defined] # a step of Django's own check
        return verified


class _Upgrade(HttpRequest):
    """The request that asks for a socket, as far as Django's rules on hosts, origins and users look at it."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__()
        self._scheme = "https" if scope.get("scheme") == "wss" else "http"
        host, port = scope.get("server") or ("", None)
        self.META = {"SERVER_NAME": host, "SERVER_PORT": str(port or ""), **_meta(scope["headers"])}
        self.COOKIES = parse_cookie(self.META.get("HTTP_COOKIE", ""))

    def _get_scheme(self) -> str:
        return self._scheme


def _meta(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    meta: dict[str, str] = {}
    for name, value in headers:
        key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
        text = value.decode("latin-1")
        # As HTTP has it. Two of the headers that matter here make one that is no good.
        meta[key] = f"{meta[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{text}" if key in meta else text
    return meta


def _tokens(request: HttpRequest, subprotocols: list[str]) -> list[str]:
    """Return the tokens that are shown.

    Raises:
        Refusal: `not_authenticated` if something is shown that is none.
    """
    tokens = []
    if "HTTP_AUTHORIZATION" in request.META:
        shown = _BEARER.fullmatch(request.META["HTTP_AUTHORIZATION"].strip())
        tokens.append(shown[1] if shown else "")
    if subprotocols[:1] == [SUBPROTOCOL]:
        tokens.append(subprotocols[1] if len(subprotocols) == 2 else "")  # noqa: PLR2004 - a pair
    if "" in tokens:
        raise Refusal(ErrorCode.NOT_AUTHENTICATED)
    return tokens


def _visitor_of_cookie(request: HttpRequest) -> SocketVisitor:
    request.session = SessionStore(request.COOKIES[settings.SESSION_COOKIE_NAME])
    user = get_user(request)
    claimant = claimant_of_session(request.session, user)
    if claimant is None:
        return SocketVisitor("nothing")
    return SocketVisitor("session", claimant, session=shown_session(request.session, user))


def _no_response(request: HttpRequest) -> Any:
    raise AssertionError("only its rule is asked")


_origin_rule = _OriginRule(_no_response)
