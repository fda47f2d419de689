"""What a test looks for on the page of a showtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

AXE = (Path(__file__).parent / "axe-core/axe.min.js").read_text()
PHONE = {"width": 360, "height": 780}
# Polls every half second, and not every ten; set before the page's script runs.
QUICK_POLLS = """
document.addEventListener("readystatechange", () => {
  const map = document.getElementById("seat-map");
  if (map) map.dataset.pollSeconds = "0.5";
});
"""


def seat(page: Page, code: str) -> Locator:
    return page.locator(f'button.place[value="{code}"]')


def stands(page: Page, code: str, status: str) -> None:
    expect(page.locator(f"#seat-{code}")).to_have_attribute("data-status", status)


def settled(page: Page, code: str, status: str) -> None:
    stands(page, code, status)
    expect(page.locator(f"#seat-{code}[data-pending]")).to_have_count(0)


def live(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Live")


def until(true: Callable[[], bool], *, within: float) -> float:
    """Wait until something is so; return how many seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within, "it did not come to that in time"
        time.sleep(0.1)
    return time.monotonic() - began


def violations(page: Page, *, without: tuple[str, ...] = ()) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate(
        """(without) => axe.run(document, {
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
            rules: Object.fromEntries(without.map((rule) => [rule, { enabled: false }])),
        })""",
        list(without),
    )
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found["violations"] for node in rule["nodes"]]
