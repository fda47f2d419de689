"""The OpenAPI schema as a judge: does an answer look as the documentation promises?"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import jsonschema
import referencing
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from referencing.jsonschema import DRAFT202012

ROOT = "urn:cinebook"
OPERATION_KEYS = {"get", "post", "put", "delete"}


@functools.cache
def openapi() -> dict[str, Any]:
    """The schema as clients read it."""
    document: dict[str, Any] = json.loads(OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True)))
    return document


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Return what the schema says of a request; None if it knows no such operation."""
    for pattern, methods in _paths():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = methods.get("get" if method == "HEAD" else method.lower())
            return found
    return None


def check_answer(method: str, path: str, response: HttpResponse) -> None:
    """Fail unless an answer is one that its operation documents, field by field and with nothing beside."""
    operation = operation_of(method, path)
    if operation is None:
        return
    status, responses = str(response.status_code), operation["responses"]
    documented = responses.get(status) or responses.get(f"{status[0]}XX")
    assert documented, f"{method} {path} documents no {status}"
    undocumented = {"ETag", "Retry-After"} & set(response.headers) - set(documented.get("headers", {}))
    assert not undocumented, f"{method} {path} {status} documents no {undocumented}"
    if "content" not in documented or method == "HEAD":
        assert response.content == b""
        return
    media_type = response["Content-Type"].partition(";")[0]
    validator = jsonschema.Draft202012Validator(
        _closed(documented["content"][media_type]["schema"]),
        registry=_registry(),
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    )
    validator.validate(json.loads(response.content))


@functools.cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), found) for path, found in openapi()["paths"].items()]


@functools.cache
def _registry() -> Any:
    resource = referencing.Resource(contents=_closed(openapi()), specification=DRAFT202012)
    return referencing.Registry().with_resource(ROOT, resource)


def _closed(schema: Any) -> Any:
    """Return a schema in which no object has properties that are not named, and every reference is absolute."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(part) for key, part in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    if isinstance(closed.get("$ref"), str):
        closed["$ref"] = ROOT + closed["$ref"]
    return closed
