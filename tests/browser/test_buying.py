"""Somebody buys tickets in a real browser: without scripts, with the keyboard alone, after a decline, signing in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bookings.models import Booking, Ticket
from bookings.templatetags.tickets import in_fours
from cinebook.core.models import User
from seating.models import Hold, Showtime
from tests.factories import make_showtime

PASSWORD = "a long and winding road"
PHONE = {"width": 360, "height": 740}
# More keys than any page here has controls.
MOST_TABS = 80


@pytest.fixture
def showtime(live_server: Any) -> Showtime:
    return make_showtime()


@contextmanager
def visit(chromium: Browser, showtime: Showtime, address: str, **options: Any) -> Iterator[Page]:
    """Open the map in a browser of its own, on a telephone; afterwards nothing may have complained."""
    context = chromium.new_context(viewport=PHONE, base_url=address, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(showtime.get_absolute_url())
    try:
        yield page
        assert not complaints
    finally:
        context.close()


def pick(page: Page, *codes: str) -> None:
    """Pick seats on the map, one after the other, as each of them becomes one's own."""
    for code in codes:
        page.locator(f"#seat-{code} button").click()
        expect(page.locator(f"#seat-{code}")).to_have_attribute("data-status", "selected")


def go_to_checkout(page: Page) -> None:
    page.get_by_role("link", name=re.compile("checkout", re.IGNORECASE)).first.click()
    expect(page.get_by_role("heading", level=1, name="Checkout")).to_be_visible()


def fill_in(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("Ada Example")
    page.get_by_label("E-mail", exact=True).fill("ada@example.org")


def pay(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Pay ")).click()


def expect_tickets(page: Page, *codes: str) -> None:
    expect(page.get_by_role("heading", level=1, name="Your tickets")).to_be_visible()
    for code in codes:
        ticket = page.get_by_role("article", name=f"Ticket for seat {code}")
        expect(ticket).to_be_visible()
        expect(ticket).to_contain_text(in_fours(Ticket.objects.get(seat__code=code, cancelled_at=None).code))
        expect(ticket.get_by_role("img")).to_be_visible()


def expect_no_sideways_scrolling(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until something has the focus."""
    for _key in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
    raise AssertionError(f"no Tab leads to {selector}")


def test_without_any_script(chromium: Browser, live_server: Any, showtime: Showtime) -> None:
    with visit(chromium, showtime, live_server.url, java_script_enabled=False) as page:
        pick(page, "A1", "A2")
        go_to_checkout(page)
        expect(page.get_by_text("Held for you until")).to_be_visible()
        fill_in(page)
        page.get_by_text("Names on the tickets").click()
        page.get_by_role("group", name="Seat A2").get_by_label("First name").fill("Grace")
        pay(page)
        expect_tickets(page, "A1", "A2")
        expect(page.get_by_role("article", name="Ticket for seat A2")).to_contain_text("Grace")
        page.get_by_role("link", name="Cancel this booking").click()
        page.get_by_role("button", name="Yes, cancel it").click()
        expect(page.get_by_text("€24.00 were paid back")).to_be_visible()


def test_with_the_keyboard_alone(chromium: Browser, live_server: Any, showtime: Showtime) -> None:
    with visit(chromium, showtime, live_server.url, java_script_enabled=False) as page:
        tab_to(page, "#seat-A1 button")
        page.keyboard.press("Enter")
        expect(page.locator("#seat-A1")).to_have_attribute("data-status", "selected")
        tab_to(page, 'a[href^="/checkout/"]')
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1, name="Checkout")).to_be_visible()
        tab_to(page, "#id_name")
        page.keyboard.type("Ada Example")
        tab_to(page, "#id_email")
        page.keyboard.type("ada@example.org")
        tab_to(page, "[name=payment]")
        tab_to(page, "form[data-checkout] button[type=submit]")
        page.keyboard.press("Enter")
        expect_tickets(page, "A1")


def test_a_decline_then_another_way(chromium: Browser, live_server: Any, showtime: Showtime) -> None:
    with visit(chromium, showtime, live_server.url) as page:
        pick(page, "C6")
        go_to_checkout(page)
        fill_in(page)
        page.get_by_label("the payment is declined").check()
        pay(page)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The payment was declined. Your seats are still held")
        expect(alert).to_be_focused()
        expect(page.get_by_label("Name", exact=True)).to_have_value("Ada Example")
        expect_no_sideways_scrolling(page)
        page.get_by_label("the payment succeeds").check()
        pay(page)
        expect_tickets(page, "C6")
        expect_no_sideways_scrolling(page)


def test_the_page_of_a_bank_that_takes_its_time(chromium: Browser, live_server: Any, showtime: Showtime) -> None:
    with visit(chromium, showtime, live_server.url) as page:
        pick(page, "A1")
        go_to_checkout(page)
        fill_in(page)
        page.get_by_label("the bank takes its time").check()
        pay(page)
        expect(page.get_by_text("This is a demonstration.")).to_be_visible()
        bank = page.url
        page.get_by_role("button", name="Let it stall").click()
        expect(page.get_by_role("heading", level=1, name="Nearly there")).to_be_visible()
        # Somebody decides it elsewhere: the page hears of it by itself.
        other = page.context.new_page()
        other.goto(bank)
        other.get_by_role("button", name="Let it succeed").click()
        expect(other.get_by_role("heading", level=1, name="Your tickets")).to_be_visible()
        expect(page.get_by_role("heading", level=1, name="Your tickets")).to_be_visible(timeout=10_000)


def test_signing_in_at_the_checkout_keeps_the_seats(chromium: Browser, live_server: Any, showtime: Showtime) -> None:
    ada = User.objects.create_user("ada", "ada@example.org", PASSWORD, first_name="Ada")
    with visit(chromium, showtime, live_server.url) as page:
        pick(page, "A1", "A2")
        go_to_checkout(page)
        address = page.url
        page.get_by_role("main").get_by_role("link", name="sign in").click()
        page.get_by_label("Username").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("main").get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(address)
        expect(page.get_by_label("E-mail", exact=True)).to_have_value("ada@example.org")
        expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Ada")).to_be_visible()
        expect_no_sideways_scrolling(page)
        pay(page)
        expect_tickets(page, "A1", "A2")
        assert Booking.objects.get().holder.user == ada
        page.get_by_role("link", name="My bookings").first.click()
        expect(page.get_by_text(Booking.objects.get().reference)).to_be_visible()


def test_the_time_runs_down_in_sight_and_then_it_is_over(chromium: Browser, live_server: Any) -> None:
    with visit(chromium, make_showtime(hold_seconds=6), live_server.url) as page:
        pick(page, "A1")
        go_to_checkout(page)
        expect(page.get_by_role("timer")).to_have_text(re.compile(r"0:0[0-6]"))
        expect(page.get_by_role("heading", level=1, name="These seats are no longer held.")).to_be_visible(
            timeout=15_000
        )
        page.get_by_role("link", name="Back to the seats").click()
        expect(page.locator("#seat-A1 button")).to_be_visible()


def test_who_is_busy_at_the_checkout_keeps_the_seats(chromium: Browser, live_server: Any) -> None:
    """As on the map: the hold is renewed while somebody types, when that is worth a request."""
    with visit(chromium, make_showtime(hold_seconds=120), live_server.url) as page:
        page.clock.install()
        pick(page, "A1")
        go_to_checkout(page)
        # From then on the script counts.
        expect(page.get_by_role("timer")).to_be_visible()
        before = Hold.objects.get().expires_at
        page.clock.run_for(70_000)
        with page.expect_response("**/extend-lock"):
            page.get_by_label("Name", exact=True).fill("Ada")
        assert Hold.objects.get().expires_at > before
