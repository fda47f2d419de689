"""Front ends of other origins: those that the house names may call the API from a browser, with tokens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import ApiClient

pytestmark = pytest.mark.django_db

KIOSK = "https://kiosk.example"


@pytest.fixture(autouse=True)
def one_origin(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [KIOSK]


def cors_headers(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_a_named_origin_may_read_answers_and_their_headers(nobody: ApiClient) -> None:
    headers = cors_headers(nobody.ask("GET", "movies", Origin=KIOSK))

    assert headers["access-control-allow-origin"] == KIOSK
    assert {"ETag", "Retry-After"} <= set(headers["access-control-expose-headers"].split(", "))
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("path", ["holds", "nothing", "movies/x"])
def test_it_may_read_refusals_too(nobody: ApiClient, path: str) -> None:
    assert cors_headers(nobody.ask("GET", path, Origin=KIOSK))["access-control-allow-origin"] == KIOSK


def test_it_may_send_what_the_api_reads(nobody: ApiClient) -> None:
    answer = nobody.options(
        "/api/v1/holds",
        headers={
            "Origin": KIOSK,
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, x-hold-token",
        },
    )

    assert answer.status_code == 200
    headers = cors_headers(answer)
    assert headers["access-control-allow-origin"] == KIOSK
    assert {"DELETE", "GET", "POST", "PUT"} <= set(headers["access-control-allow-methods"].split(", "))
    assert {"authorization", "content-type", "idempotency-key", "if-none-match", "x-hold-token"} <= set(
        headers["access-control-allow-headers"].split(", ")
    )
    assert not answer.cookies


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://kiosk.example", f"{KIOSK}.evil.example", f"{KIOSK}:8443", "null", "é"]
)
def test_other_origins_may_read_nothing(nobody: ApiClient, origin: str) -> None:
    asked = nobody.ask("GET", "movies", Origin=origin)
    preflight = nobody.options("/api/v1/holds", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})

    assert cors_headers(asked) == cors_headers(preflight) == {}
    assert "origin" in asked["Vary"]


def test_pages_are_of_this_origin_alone(nobody: ApiClient) -> None:
    assert cors_headers(nobody.get("/", headers={"Origin": KIOSK})) == {}
