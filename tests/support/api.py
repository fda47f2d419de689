"""A client of the REST API that holds every answer to the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.test import Client, TestCase

from cinebook.core.error_responses import ERRORS
from cinebook.core.errors import ErrorCode
from tests.support.openapi import check_answer

BASE = "/api/v1/"


class ApiClient(Client):
    """Speaks JSON; runs what follows a commit also inside a test's transaction; checks what is true of every answer.

    Args:
        token: a JSON web token to show.
        hold_token: the token of a hold to show.
    """

    def __init__(self, *, token: str = "", hold_token: str = "", **options: Any) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if hold_token:
            headers["X-Hold-Token"] = hold_token
        super().__init__(headers=headers, raise_request_exception=False, **options)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request.

        Args:
            method: its method.
            path: below /api/v1/, with its query.
            body: what is sent as JSON; bytes are sent as they are; none for None.
            headers: names with underscores.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content_type = named.pop("Content-Type", "application/json")
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.generic(method, BASE + path, data, content_type, headers=named)

    def request(self, **request: Any) -> Any:
        """Send a request as Django's client does, and check the answer."""
        nobody = not self.cookies
        with TestCase.captureOnCommitCallbacks(execute=True):
            response = super().request(**request)
        preflight = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request
        if request["PATH_INFO"].startswith("/api/") and not preflight:
            check_answer(request["REQUEST_METHOD"], request["PATH_INFO"], response)
            _check_error(response, head=request["REQUEST_METHOD"] == "HEAD")
            assert response["Cache-Control"]
            if nobody:
                assert not response.cookies
        return response


def _check_error(response: Any, *, head: bool) -> None:
    """Fail unless an error looks as the contract's table says."""
    if response.status_code < 400 or head or response.json().get("status") == "down":
        return
    error = response.json()
    assert ERRORS[ErrorCode(error["code"])].status == response.status_code
    assert error["detail"].endswith(".")
    assert response.headers.get("Retry-After") == (str(error["retry_after"]) if "retry_after" in error else None)
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    assert response["Cache-Control"] == "no-store"


def until_limited(ask: Callable[[], Any], *, at_most: int) -> list[Any]:
    """Ask until the answer is 429, for tokens flow in meanwhile; return all answers.

    Args:
        ask: sends one request.
        at_most: how often; more is a failure.
    """
    answers = []
    for _ in range(at_most):
        answers.append(ask())
        if answers[-1].status_code == 429:
            return answers
    raise AssertionError(f"{at_most} requests, and no limit")
