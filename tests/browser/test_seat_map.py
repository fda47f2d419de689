"""The seat map as moviegoers use it, in a real browser before the real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, Visit
from tests.browser.house import House
from tests.browser.pages import PHONE, QUICK_POLLS, live, seat, settled, stands, until, violations

# What the contract promises, and what the machine of a test may take besides.
LEAVING_SECONDS = 15


class TestPicking:
    def test_a_click_holds_and_another_lets_go(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit().open(house.page(number))
        live(page)
        seat(page, "B3").click()
        settled(page, "B3", "selected")
        expect(page.locator("#chosen-seats li")).to_have_text([re.compile(r"B3\s+Standard\s+€")])
        assert house.status(number)["B3"] == "locked"
        seat(page, "B4").click()
        settled(page, "B4", "selected")
        expect(page.get_by_role("link", name="Continue to checkout")).to_have_attribute(
            "href", re.compile(r"^/checkout/(?!0{8})[0-9a-f-]{36}/$")
        )
        seat(page, "B3").click()
        settled(page, "B3", "available")
        assert house.status(number)["B3"] == "available"
        page.get_by_role("button", name="Let B4 go").click()
        expect(page.locator("#choice-none")).to_be_visible()
        stands(page, "B4", "available")

    def test_quick_picks_all_arrive(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit().open(house.page(number))
        for code in ("B1", "B2", "B3", "B4", "B5"):
            seat(page, code).click(no_wait_after=True)
        seat(page, "B2").click(no_wait_after=True)
        for code, status in (("B1", "selected"), ("B2", "available"), ("B5", "selected")):
            settled(page, code, status)
        expect(page.locator("#chosen-seats li")).to_have_count(4)
        assert [code for code, status in house.status(number).items() if status == "locked"] == ["B1", "B3", "B4", "B5"]

    def test_the_best_seats(self, house: House, visit: Callable[..., Visit]) -> None:
        page = visit().open(house.page(house.showtime()))
        page.get_by_label("Best seats for").select_option("3")
        page.get_by_role("button", name="Find them").click()
        expect(page.locator("#chosen-seats li")).to_have_count(3)
        expect(page.locator('.seat[data-status="selected"]')).to_have_count(3)
        page.get_by_role("button", name="Let all go").click()
        expect(page.locator('.seat[data-status="selected"]')).to_have_count(0)

    def test_by_keys_alone(self, house: House, visit: Callable[..., Visit]) -> None:
        page = visit().open(house.page(house.showtime()))
        live(page)
        seat(page, "A1").focus()
        for key in ("ArrowDown", "End", "ArrowLeft"):
            page.keyboard.press(key)
        code = page.evaluate("document.activeElement.value")
        assert code.startswith("B")
        page.keyboard.press("Space")
        settled(page, code, "selected")
        expect(page.locator("#announcer")).to_contain_text(f"{code} held for you. Total €")
        page.keyboard.press("Enter")
        settled(page, code, "available")
        expect(page.locator("#announcer")).to_have_text(f"{code} let go.")
        page.keyboard.press("Space")
        settled(page, code, "selected")
        # The whole map is one stop: Tab leads out of it, and back to where one was.
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "best-quantity"
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.value") == code

    def test_a_taken_seat_offers_others(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        house.hold(house.guest(), number, "C3")
        page = visit().open(house.page(number))
        expect(seat(page, "C3")).to_have_attribute("aria-label", re.compile("temporarily unavailable$"))
        seat(page, "C3").click()
        dialog = page.get_by_role("dialog", name="C3 is taken")
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("Held by somebody else")
        page.keyboard.press("Escape")
        expect(seat(page, "C3")).to_be_focused()
        stands(page, "C3", "locked")
        seat(page, "C3").click()
        offer = dialog.get_by_role("button", name=re.compile("^Take .* instead")).first
        [code] = re.findall(r"Take ([A-Z]\d+) instead", offer.text_content() or "")
        expect(offer).to_be_focused()
        offer.click()
        expect(dialog).to_be_hidden()
        settled(page, code, "selected")
        expect(seat(page, code)).to_be_focused()

    def test_a_pick_that_came_too_late_is_rolled_back(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        browser.context.route_web_socket("**/ws/seats/", lambda socket: socket.close())
        page = browser.open(house.page(number))
        # It has asked how the seats stand, and asks again in 10 s.
        expect(page.locator("#connection")).to_have_text("Updating every 10 s")
        house.hold(house.guest(), number, "D2")
        stands(page, "D2", "available")
        seat(page, "D2").click()
        expect(page.get_by_role("dialog", name="D2 is taken")).to_be_visible()
        settled(page, "D2", "locked")

    def test_a_broken_line_is_told_and_what_was_picked_comes_through(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        number = house.showtime()
        browser = visit()
        page = browser.open(house.page(number))
        live(page)
        broken = []

        def cut(route: Any) -> None:
            broken.append(route)
            route.abort() if len(broken) < 3 else route.continue_()

        page.route("**/seats/lock", cut)
        seat(page, "B3").click()
        expect(page.locator("#seat-B3")).to_have_attribute("data-pending", "hold")
        expect(seat(page, "B3")).to_have_attribute("aria-busy", "true")
        expect(page.get_by_role("alert")).to_contain_text("trying again")
        settled(page, "B3", "selected")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert house.status(number)["B3"] == "locked"
        browser.complaints = [text for text in browser.complaints if "ERR_FAILED" not in text]


class TestTheModules:
    def test_every_file_is_kept_by_its_hash_and_nothing_is_loaded_twice(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        loaded: list[str] = []
        page = visit().context.new_page()
        page.on("request", lambda request: loaded.append(request.url) if request.url.endswith(".js") else None)
        page.goto(house.page(house.showtime()))
        live(page)
        assert len(loaded) > 10
        assert len(loaded) == len(set(loaded))
        assert [url for url in loaded if not re.search(r"\.[0-9a-f]{12}\.js$", url)] == []


class TestTogether:
    def test_two_browsers_see_each_other(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        one, two = visit().open(house.page(number)), visit().open(house.page(number))
        live(one)
        live(two)
        seat(one, "B2").click()
        stands(one, "B2", "selected")
        stands(two, "B2", "locked")
        expect(seat(two, "B2")).to_have_attribute("aria-label", re.compile(", temporarily unavailable$"))
        seat(one, "B2").click()
        stands(two, "B2", "available")

    def test_without_a_socket_it_polls(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        browser.context.add_init_script(QUICK_POLLS)
        browser.context.route_web_socket("**/ws/seats/", lambda socket: socket.close())
        page = browser.open(house.page(number))
        expect(page.locator("#connection")).to_have_text("Updating every 0.5 s")
        token = house.guest()
        house.hold(token, number, "B2")
        stands(page, "B2", "locked")
        house.let_go(token, number)
        stands(page, "B2", "available")

    def test_tabs_of_one_person_agree(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        one, two = browser.open(house.page(number)), browser.open(house.page(number))
        live(one)
        live(two)
        seat(one, "B2").click()
        stands(two, "B2", "selected")
        expect(two.locator("#chosen-seats li")).to_have_count(1)
        two.get_by_role("button", name="Let B2 go").click()
        stands(one, "B2", "available")
        expect(one.locator("#choice-none")).to_be_visible()


class TestTheClock:
    def test_time_runs_out_and_the_same_seats_can_be_had_again(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime(hold_seconds=3)
        page = visit().open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        # A house whose holds are that short is not asked about each of them.
        expect(page.get_by_role("dialog", name="seconds left for your seats")).to_be_visible()
        assert not page.locator("#warning").evaluate("element => element.matches(':modal')")
        expect(page.get_by_role("timer", name="Time left")).to_have_text(re.compile(r"^0:0[0-3]$"))
        expect(page.locator("#lapsed-words")).to_have_text("Your time for B2 has run out.", timeout=8_000)
        expect(page.locator("#choice-none")).to_be_visible()
        stands(page, "B2", "available")
        page.get_by_role("button", name="Take B2 again").click()
        settled(page, "B2", "selected")
        expect(page.locator("#lapsed")).to_be_hidden()

    def test_the_person_keeps_their_seats(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime(hold_seconds=6)
        page = visit().open(house.page(number))
        seat(page, "B2").click()
        keep = page.get_by_role("button", name="Keep my seats")
        expect(page.locator("#clock")).to_have_text(re.compile("0:0[12]"), timeout=8_000)
        expect(keep).to_be_visible()
        keep.click()
        expect(page.locator("#clock")).to_have_text(re.compile("0:0[56]"))
        stands(page, "B2", "selected")


class TestLeaving:
    def held(self, house: House, number: int) -> bool:
        return house.status(number)["B2"] == "locked"

    def pick(self, house: House, browser: Visit, number: int) -> Page:
        page = browser.open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        return page

    def left_at(self, house: House, number: int) -> Any:
        [(left_at,)] = house.sql("SELECT left_at FROM seating_hold WHERE showtime_id = %s", number)
        return left_at

    def test_closing_the_page_lets_go(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = self.pick(house, visit(), number)
        page.close(run_before_unload=True)
        assert until(lambda: not self.held(house, number), within=LEAVING_SECONDS) > 3

    def test_going_elsewhere_and_coming_back_keeps(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = self.pick(house, visit(), number)
        page.goto(house.address)
        until(lambda: self.left_at(house, number) is not None, within=3)
        page.go_back()
        stands(page, "B2", "selected")
        until(lambda: self.left_at(house, number) is None, within=5)

    def test_a_reload_keeps(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = self.pick(house, visit(), number)
        page.reload()
        live(page)
        stands(page, "B2", "selected")
        assert self.left_at(house, number) is None
        expect(page.locator("#clock")).to_be_visible()

    def test_another_tab_keeps_and_the_last_one_lets_go(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        older = browser.open(house.page(number))
        live(older)
        newer = self.pick(house, browser, number)
        newer.close(run_before_unload=True)
        until(lambda: self.left_at(house, number) is not None, within=3)
        until(lambda: self.left_at(house, number) is None, within=6)
        stands(older, "B2", "selected")
        older.close(run_before_unload=True)
        until(lambda: not self.held(house, number), within=LEAVING_SECONDS)

    def test_going_on_is_no_leaving(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        page = self.pick(house, browser, number)
        page.get_by_role("link", name="Continue to checkout").click()
        page.wait_for_url("**/checkout/**")
        assert self.left_at(house, number) is None
        browser.complaints.clear()


class TestWithoutJavaScript:
    def test_the_forms_do_everything(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        house.hold(house.guest(), number, "C3")
        page = visit(java_script_enabled=False, viewport=PHONE).open(house.page(number))
        page.get_by_text("Close up").click()
        seat(page, "B2").click()
        assert page.url.endswith("?zoom=close#seat-B2")
        stands(page, "B2", "selected")
        expect(page.locator("#chosen-seats li")).to_have_count(1)
        expect(page.locator("#held-until")).to_have_text(re.compile(r"^\s*\d\d:\d\d\s*$"))
        page.get_by_role("button", name="Find them").click()
        expect(page.locator("#chosen-seats li")).to_have_count(3)
        page.get_by_role("button", name="Let B2 go").click()
        stands(page, "B2", "available")
        page.get_by_role("button", name="Let all go").click()
        expect(page.locator("#chosen-seats li")).to_have_count(0)

    def test_a_seat_that_went_meanwhile_is_refused_with_others(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit(java_script_enabled=False).open(house.page(number))
        house.hold(house.guest(), number, "B2")
        seat(page, "B2").click()
        refusal = page.get_by_role("alert")
        expect(refusal).to_contain_text("B2: Held by somebody else.")
        refusal.get_by_role("button", name=re.compile("^Take .* instead$")).first.click()
        expect(page.locator("#chosen-seats li")).to_have_count(1)


class TestEverybody:
    @pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_no_barrier_is_found(
        self, house: House, visit: Callable[..., Visit], size: dict[str, int], scheme: str
    ) -> None:
        number = house.showtime()
        house.hold(house.guest(), number, "C3")
        page = visit(viewport=size, color_scheme=scheme, reduced_motion="reduce").open(house.page(number))
        live(page)
        # In the whole room seats are small on a phone; close up, which this page offers, does the same at full size.
        assert violations(page, without=("target-size",) if size is PHONE else ()) == []
        if size is PHONE:
            page.get_by_text("Close up").click()
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        assert violations(page) == []
        seat(page, "C3").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []

    @pytest.mark.parametrize("width", [320, 360, 768, 1152])
    def test_the_page_never_scrolls_sideways(self, house: House, visit: Callable[..., Visit], width: int) -> None:
        [(hall,)] = house.sql(
            "SELECT s.id FROM seating_showtime s JOIN seating_auditorium a ON a.id = s.auditorium_id"
            " WHERE a.slug = 'grand-hall' AND starts_at > now() + '1 day' ORDER BY s.id LIMIT 1"
        )
        page = visit(viewport={"width": width, "height": 780}).open(house.page(hall))
        live(page)
        page.get_by_label("Best seats for").select_option("10")
        page.get_by_role("button", name="Find them").click()
        expect(page.locator("#chosen-seats li")).to_have_count(10)
        if width < 700:
            page.get_by_text("Close up").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_a_finger_brings_a_small_seat_near_and_then_picks_it(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        page = visit(viewport=PHONE, has_touch=True, is_mobile=True).open(house.page(house.showtime()))
        live(page)
        small = page.locator("#seat-B2").evaluate("element => element.offsetWidth") < 24
        seat(page, "B2").tap()
        if small:
            expect(page.locator("#zoom-close")).to_be_checked()
            stands(page, "B2", "available")
            seat(page, "B2").tap()
        settled(page, "B2", "selected")

    def test_nothing_moves_when_the_panel_fills(self, house: House, visit: Callable[..., Visit]) -> None:
        page = visit().open(house.page(house.showtime()))
        live(page)
        before = page.locator("#seat-B2").bounding_box()
        for code in ("B2", "B3", "B4"):
            seat(page, code).click()
            settled(page, code, "selected")
        assert page.locator("#seat-B2").bounding_box() == before
