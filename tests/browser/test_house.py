"""What the house does to a showtime while moviegoers look at it, and every page of theirs before axe."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, Visit
from tests.browser.house import House
from tests.browser.pages import PHONE, live, seat, settled, stands, violations


def staff(house: House, browser: Visit) -> Page:
    """Sign in to the admin."""
    page = browser.open(f"{house.address}/admin/")
    page.get_by_label("Username").fill("staff")
    page.get_by_label("Password").fill("staff")
    page.get_by_role("button", name="Log in").click()
    return page


def checkout(page: Page) -> None:
    page.get_by_role("link", name="Continue to checkout").first.click()
    expect(page.get_by_role("heading", level=1, name="Checkout")).to_be_visible()


def buy(page: Page, *, outcome: str) -> None:
    page.get_by_label("Name", exact=True).fill("Ada Example")
    page.get_by_label("E-mail", exact=True).fill("ada@example.org")
    page.get_by_label(outcome).check()
    page.get_by_role("button", name=re.compile("^Pay ")).click()


class TestStaff:
    def test_takes_back_a_hold_and_its_open_page_says_so(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit().open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        office = staff(house, visit())
        office.goto(f"{house.address}/admin/seating/showtime/{number}/seats/")
        office.get_by_role("checkbox", name=re.compile("^B2,")).check(force=True)
        office.get_by_role("button", name="Take back the holds").click()
        expect(page.get_by_role("alert")).to_have_text(re.compile("B2: no longer held for you."))
        stands(page, "B2", "available")
        expect(page.locator("#choice-none")).to_be_visible()
        seat(page, "B3").click()
        settled(page, "B3", "selected")
        expect(page.get_by_role("alert")).to_be_hidden()

    def test_cancels_a_showtime_and_nobody_is_left_with_its_map(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        number = house.showtime()
        browsers = [visit() for _visitor in range(3)]
        holding, looking, paying = (browser.open(house.page(number)) for browser in browsers)
        for page in (holding, looking, paying):
            live(page)
        seat(holding, "B2").click()
        settled(holding, "B2", "selected")
        seat(paying, "B3").click()
        settled(paying, "B3", "selected")
        checkout(paying)
        office = staff(house, visit())
        office.goto(f"{house.address}/admin/seating/showtime/cancel/?showtime={number}")
        office.locator("[name=confirmed]").click()
        expect(office.get_by_text("holds taken back: 2")).to_be_visible()
        # Everybody is told at once, on the open page.
        for page in (holding, looking):
            expect(page.locator("#sale")).to_have_text(re.compile("This showtime is cancelled."))
            expect(seat(page, "B5")).to_have_attribute("aria-disabled", "true")
            expect(page.get_by_role("button", name="Find them")).to_be_hidden()
        stands(holding, "B2", "available")
        expect(holding.locator("#choice-none")).to_have_text("You hold no seats here.")
        seat(looking, "B5").click(force=True)
        stands(looking, "B5", "available")
        assert violations(looking) == []
        # A checkout learns of it when it is sent, if it has not before.
        expect(paying.get_by_text("The showtime is cancelled. Nothing was charged.")).to_be_visible(timeout=15_000)
        for browser in browsers:
            # Chromium itself notes what is gone.
            browser.complaints = [text for text in browser.complaints if "status of 410" not in text]

    def test_stops_and_resumes_sales_and_every_open_page_follows(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        """Each page is served by whichever of the two processes took it."""
        number = house.showtime()
        holding, looking = (visit().open(house.page(number)) for _visitor in range(2))
        for page in (holding, looking):
            live(page)
        seat(holding, "B2").click()
        settled(holding, "B2", "selected")
        office = staff(house, visit())

        def press(action: str) -> None:
            office.goto(f"{house.address}/admin/seating/showtime/?id__exact={number}")
            office.locator(f'[name=_selected_action][value="{number}"]').check()
            office.locator("select[name=action]").select_option(action)
            office.get_by_role("button", name="Go").click()
            expect(office.locator(".messagelist")).to_be_visible()

        press("stop_sales")
        for page in (holding, looking):
            expect(page.locator("#sale")).to_have_text("Seats for this showtime are not sold at the moment.")
            expect(seat(page, "B5")).to_have_attribute("aria-disabled", "true")
            expect(page.get_by_role("button", name="Find them")).to_be_hidden()
            assert violations(page) == []
        seat(looking, "B5").click(force=True)
        # What is held may still be let go, and paid.
        expect(holding.get_by_role("link", name="Continue to checkout").first).to_be_visible()
        press("resume_sales")
        for page in (holding, looking):
            expect(page.locator("#sale")).to_be_hidden()
            expect(page.get_by_role("button", name="Find them")).to_be_visible()
        stands(looking, "B5", "available")
        seat(looking, "B5").click()
        settled(looking, "B5", "selected")
        stands(holding, "B2", "selected")


class TestTwoTabs:
    def test_a_checkout_follows_what_the_other_tab_picks(self, house: House, visit: Callable[..., Visit]) -> None:
        browser = visit()
        page = browser.open(house.page(house.showtime()))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        address = page.url
        checkout(page)
        page.get_by_label("Name", exact=True).fill("Ada Example")
        other = browser.open(address)
        seat(other, "B3").click()
        settled(other, "B3", "selected")
        expect(page.locator(".order-seats li")).to_have_count(2, timeout=15_000)


class TestNoBarrier:
    @pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_is_found_from_the_programme_to_the_tickets(
        self, house: House, visit: Callable[..., Visit], size: dict[str, int], scheme: str
    ) -> None:
        browser = visit(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        page = browser.open(house.address)

        def see(address: str = "") -> None:
            if address:
                page.goto(address if address.startswith("http") else house.address + address)
            assert violations(page) == [], page.url
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], page.url

        see()
        see(str(page.locator(".feature-words a").first.get_attribute("href")))
        for path in ("/accounts/login/", "/accounts/signup/", "/accounts/password/forgotten/", "/my/bookings/"):
            see(path)
        number = house.showtime()
        page.goto(house.page(number))
        live(page)
        page.get_by_role("button", name="Find them").click()
        expect(page.locator("#chosen-seats li")).to_have_count(2)
        checkout(page)
        see()
        buy(page, outcome="the payment is declined")
        expect(page.get_by_role("alert")).to_be_visible()
        see()
        buy(page, outcome="the bank takes its time")
        expect(page.get_by_role("button", name="Let it succeed")).to_be_visible()
        see()
        bank = page.url
        page.get_by_role("button", name="Let it stall").click()
        expect(page.get_by_role("heading", level=1, name="Nearly there")).to_be_visible()
        see()
        page.goto(bank)
        page.get_by_role("button", name="Let it succeed").click()
        expect(page.get_by_role("heading", level=1, name="Your tickets")).to_be_visible()
        see()
        page.get_by_role("link", name="Cancel this booking").click()
        see()
        see("/my/bookings/")
        see("/no/such/page/")
        # Chromium itself notes what was not found, and what was not paid.
        browser.complaints = [text for text in browser.complaints if not re.search("status of 40[24]", text)]
