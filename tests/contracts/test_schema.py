"""The OpenAPI schema: valid, complete, and in the words of the contract. That answers keep to it, each test sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from cinebook.core.errors import ErrorCode
from tests.support.openapi import check_answer, openapi, operation_of

# Operations as the contract names them.
OPERATIONS = {
    "sign_in": "POST auth/token",
    "refresh_token": "POST auth/token/refresh",
    "become_guest": "POST auth/guest",
    "list_movies": "GET movies",
    "get_movie": "GET movies/{id}",
    "list_showtimes": "GET showtimes",
    "get_showtime": "GET showtimes/{id}",
    "get_layout": "GET showtimes/{id}/layout",
    "get_seat_status": "GET showtimes/{id}/seats/status",
    "get_best_seats": "GET showtimes/{id}/seats/best",
    "lock_seats": "POST showtimes/{id}/seats/lock",
    "extend_lock": "PUT showtimes/{id}/seats/extend-lock",
    "unlock_seats": "DELETE showtimes/{id}/seats/unlock",
    "hold_seat": "POST showtimes/{id}/seats/{code}/hold",
    "release_seat": "DELETE showtimes/{id}/seats/{code}/hold",
    "create_hold": "POST holds",
    "list_holds": "GET holds",
    "get_hold": "GET holds/{hold_id}",
    "release_hold": "DELETE holds/{hold_id}",
    "get_health": "GET health",
}
# These describe the API rather than belong to it.
UNDESCRIBED = {"/api/v1/schema", "/api/v1/docs"}


def operations() -> dict[str, dict[str, Any]]:
    """Every operation by its id, with its method and path."""
    return {
        operation["operationId"]: {**operation, "at": f"{method.upper()} {path.removeprefix('/api/v1/')}"}
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    }


def test_is_valid_and_draws_no_warning(tmp_path: Path) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yaml"))


def test_is_served_as_openapi_3_1() -> None:
    answer = Client().get("/api/v1/schema")

    assert answer.status_code == 200
    assert answer.json() == openapi()
    assert answer.json()["openapi"].startswith("3.1")


def test_names_every_operation() -> None:
    named = {name: operation["at"] for name, operation in operations().items()}

    assert OPERATIONS.items() <= named.items()


def test_leaves_no_address_of_the_api_out() -> None:
    routes = {route for route in addresses(get_resolver()) if route.startswith("/api/v1/")} - UNDESCRIBED

    assert routes == set(openapi()["paths"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_and_how_it_fails(name: str) -> None:
    operation = operations()[name]

    assert operation["description"].endswith(".")
    assert len(operation["tags"]) == 1
    for status in ("4XX", "5XX"):
        failure = operation["responses"][status]
        assert failure["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
        assert "Retry-After" in failure["headers"]


def test_lists_every_code_of_an_error() -> None:
    assert openapi()["components"]["schemas"]["ErrorCode"]["enum"] == [code.value for code in ErrorCode]


def test_describes_the_body_of_an_unlock() -> None:
    body = operations()["unlock_seats"]["requestBody"]
    schema = openapi()["components"]["schemas"]["ReleaseRequest"]

    assert body["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/ReleaseRequest"}}}
    assert not body.get("required")
    assert list(schema["properties"]) == ["seats"]
    for name in ("release_seat", "release_hold"):
        assert "requestBody" not in operations()[name]


@pytest.mark.parametrize("name", ["get_seat_status", "get_layout"])
def test_describes_how_to_ask_for_news_only(name: str) -> None:
    operation = operations()[name]

    assert ("If-None-Match", "header") in {(found["name"], found["in"]) for found in operation["parameters"]}
    assert "content" not in operation["responses"]["304"]
    for status in ("200", "304"):
        assert "ETag" in operation["responses"][status]["headers"]


def test_any_one_way_to_say_who_asks_is_enough() -> None:
    ways: list[dict[str, list[str]]] = [{"token": []}, {"session": []}, {"holdToken": []}]

    assert operations()["lock_seats"]["security"] == ways
    assert operations()["get_seat_status"]["security"] == [*ways, {}]
    assert "security" not in operations()["sign_in"]
    assert set(openapi()["components"]["securitySchemes"]) == {"token", "session", "holdToken"}


def test_ids_of_rows_are_numbers() -> None:
    parameters = {found["name"]: found["schema"] for found in operations()["lock_seats"]["parameters"]}

    assert parameters["id"]["type"] == "integer"


class TestTheJudge:
    """The tests of the API lean on `check_answer`: it must be able to say no."""

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, '{"access": "a", "refresh": "b", "more": 1}'),
            (200, '{"access": "a"}'),
            (200, '{"access": "a", "refresh": 1}'),
            (302, "{}"),
            (401, '{"code": "strange", "detail": "x"}'),
            (401, '{"code": "not_authenticated"}'),
        ],
    )
    def test_refuses_what_is_not_documented(self, status: int, body: str) -> None:
        with pytest.raises(
            Exception, match=r"documents no|is not one of|is not of type|required property|Additional properties"
        ):
            check_answer("POST", "/api/v1/auth/token", response(status, body))

    def test_refuses_an_undocumented_header(self) -> None:
        answer = response(200, '{"access": "a", "refresh": "b"}')
        check_answer("POST", "/api/v1/auth/token", answer)
        answer["ETag"] = '"x"'
        with pytest.raises(AssertionError, match="ETag"):
            check_answer("POST", "/api/v1/auth/token", answer)

    def test_looks_into_what_is_referred_to(self) -> None:
        page = '{"count": 0, "next": null, "previous": null, "results": [{"id": 1}]}'
        with pytest.raises(Exception, match="required property"):
            check_answer("GET", "/api/v1/movies", response(200, page))

    def test_knows_operations_by_their_address(self) -> None:
        assert (
            operation_of("DELETE", "/api/v1/showtimes/12/seats/A5/hold")
            == openapi()["paths"]["/api/v1/showtimes/{id}/seats/{code}/hold"]["delete"]
        )
        assert operation_of("PATCH", "/api/v1/movies") is None


def response(status: int, body: str) -> Any:
    return HttpResponse(body, status=status, content_type="application/json")


def addresses(resolver: URLResolver, prefix: str = "/") -> set[str]:
    """Every address below a resolver, with its parameters as OpenAPI writes them."""
    found: set[str] = set()
    for pattern in resolver.url_patterns:
        route = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern)).replace("{pk}", "{id}")
        if isinstance(pattern, URLPattern):
            found.add(route)
        else:
            found |= addresses(pattern, route)
    return found


def test_each_post_that_changes_something_says_that_it_may_be_named() -> None:
    named = {
        operation["at"]
        for operation in operations().values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    }
    posts = {operation["at"] for operation in operations().values() if operation["at"].startswith("POST ")}
    # Nobody is asking yet whose key it could be, or a notice has an id of its own.
    assert posts - named == {
        "POST auth/token",
        "POST auth/token/refresh",
        "POST auth/guest",
        "POST payments/{provider}/webhook",
    }
    assert named <= posts
