"""The page on which the API can be browsed works under our own Content-Security-Policy."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

DOCS = "/api/v1/docs"


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says against a page."""
    return []


@pytest.fixture
def docs(chromium: Browser, live_server: Any, complaints: list[str]) -> Any:
    page = chromium.new_page()

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url} failed"))
    page.on(
        "request",
        lambda request: None if request.url.startswith((live_server.url, "data:")) else complaints.append(request.url),
    )
    page.goto(live_server.url + DOCS)
    yield page
    page.close()


def test_shows_every_operation_without_a_complaint(docs: Page, complaints: list[str]) -> None:
    expect(docs.get_by_role("heading", name="CineBook")).to_be_visible()
    expect(docs.locator("#operations-seats-lock_seats")).to_be_visible()
    docs.locator("#operations-seats-unlock_seats").get_by_role("button").first.click()
    expect(docs.locator("#operations-seats-unlock_seats").get_by_text("Request body")).to_be_visible()

    assert complaints == []


def test_sends_a_request(docs: Page, complaints: list[str]) -> None:
    operation = docs.locator("#operations-movies-list_movies")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table tbody .response-col_status")).to_contain_text("200")
    assert complaints == []


def test_alone_may_set_styles_from_its_script() -> None:
    def styles(path: str) -> str:
        policy = Client().get(path)["Content-Security-Policy"]
        return next(part.strip() for part in policy.split(";") if part.strip().startswith("style-src"))

    assert styles(DOCS) == "style-src 'self' 'unsafe-inline'"
    for path in ("/api/v1/schema", "/api/v1/nothing", "/nothing/"):
        assert styles(path) == "style-src 'self'"
    assert "script-src 'self'" in [part.strip() for part in Client().get(DOCS)["Content-Security-Policy"].split(";")]
