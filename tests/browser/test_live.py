"""The seat map while servers stop, sockets are blocked, machines sleep and time runs out."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Page, Response, WebSocketRoute, expect

from tests.browser.conftest import Visit
from tests.browser.house import House
from tests.browser.pages import QUICK_POLLS, live, seat, settled, stands, until, violations
from tests.support.proxy import running_proxy

# News of other processes, and the next heartbeat.
VIEWERS_MS = 20_000
WAKE = "dispatchEvent(new Event('online'))"
# Counts what a screen reader would be made to say.
LISTEN = """
window.said = [];
for (const region of document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]")) {
  new MutationObserver(() => said.push(region.id + ": " + region.textContent.trim()))
    .observe(region, { childList: true, characterData: true, subtree: true, attributes: true });
}
"""


def time_left(house: House, number: int, seconds: int, *, at_most: int = 900) -> None:
    """Let the live hold of a showtime have so many seconds, and no more than `at_most` with extensions."""
    house.sql(
        "UPDATE seating_hold SET expires_at = clock_timestamp() + make_interval(secs => %s),"
        " max_expires_at = clock_timestamp() + make_interval(secs => %s) WHERE showtime_id = %s AND ended_at IS NULL",
        *(seconds, at_most, number),
    )
    house.sql(
        "UPDATE seating_seat SET reserved_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE showtime_id = %s AND status = 'RESERVED'",
        *(seconds, number),
    )


def asks(page: Page) -> bool:
    return bool(page.locator("#warning").evaluate("element => element.matches(':modal')"))


def turn(page: Page) -> bool:
    """Let the page's events come in, which wait while this thread does anything else."""
    page.wait_for_timeout(0)
    return True


class Between:
    """Something between a browser and the house, which lets sockets through or not, and may lose what they are told."""

    def __init__(self, browser: Visit, *, blocks: bool = False) -> None:
        self.blocks = blocks
        self.loses = False
        self.lost = 0
        self._open: list[WebSocketRoute] = []
        browser.context.route_web_socket("**/ws/seats/", self._route)

    def block(self) -> None:
        """Let no socket through any more, and end those that there are."""
        self.blocks = True
        for socket in self._open:
            socket.close()
        self._open.clear()

    def _route(self, socket: WebSocketRoute) -> None:
        if self.blocks:
            socket.close()
            return
        self._open.append(socket)
        house = socket.connect_to_server()
        house.on_message(lambda frame: self._pass_on(socket, frame))

    def _pass_on(self, socket: WebSocketRoute, frame: str | bytes) -> None:
        if self.loses:
            self.lost += 1
        else:
            socket.send(frame)


class TestTheLine:
    def test_a_server_that_starts_anew(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        page = browser.open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        house.restart()
        house.hold(house.guest(), number, "C3")
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        stands(page, "C3", "locked")
        stands(page, "B2", "selected")
        # Nobody was told to do anything about it.
        expect(page.get_by_role("alert")).to_be_hidden()
        browser.complaints = [text for text in browser.complaints if "ERR_CONNECTION" not in text]

    def test_from_polls_to_the_socket_and_back(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        between = Between(browser, blocks=True)
        browser.context.add_init_script(QUICK_POLLS)
        answers: list[Response] = []
        page = browser.context.new_page()
        page.on("response", lambda answer: answers.append(answer) if "/seats/status?since=" in answer.url else None)
        page.goto(house.page(number))
        expect(page.locator("#connection")).to_have_text("Updating every 0.5 s")
        unchanged = len([answer for answer in answers if answer.status == 304])
        until(lambda: turn(page) and len([a for a in answers if a.status == 304]) > unchanged + 1, within=5)
        token = house.guest()
        house.hold(token, number, "B2")
        stands(page, "B2", "locked")
        between.blocks = False
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        polled = len(answers)
        house.let_go(token, number)
        stands(page, "B2", "available")
        assert len(answers) <= polled + 1, "with a socket nothing is polled"

        between.block()
        expect(page.locator("#connection")).to_have_text("Updating every 0.5 s")
        house.hold(token, number, "C3")
        stands(page, "C3", "locked")
        between.blocks = False
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)

    def test_what_was_lost_asleep_is_there_on_waking(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        between = Between(browser)
        page = browser.open(house.page(number))
        live(page)
        between.loses = True
        house.hold(house.guest(), number, "B2")
        until(lambda: turn(page) and between.lost > 0, within=5)
        between.loses = False
        stands(page, "B2", "available")
        page.evaluate(WAKE)
        # Not with the next heartbeat.
        expect(page.locator("#seat-B2")).to_have_attribute("data-status", "locked", timeout=1_500)
        live(page)

    def test_a_line_that_died_asleep_is_replaced_on_waking(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        with running_proxy(urlsplit(house.address).netloc) as line:
            page = visit().open(f"http://127.0.0.1:{line.port}/showtimes/{number}/")
            live(page)
            line.stall()
            house.hold(house.guest(), number, "B2")
            page.evaluate(WAKE)
            # Not after the silence of 13 s.
            expect(page.locator("#connection")).to_have_text("Reconnecting…", timeout=6_000)
            line.heal()
            stands(page, "B2", "locked")
            expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)

    def test_a_network_that_is_gone_is_told_of_wherever_on_the_map_one_is(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        browser = visit(viewport={"width": 360, "height": 740})
        page = browser.open(house.page(house.showtime()))
        live(page)
        page.mouse.wheel(0, 10_000)
        connection = page.locator("#connection")
        expect(connection).not_to_be_in_viewport()
        browser.context.set_offline(True)
        # Not after the silence of 13 s.
        expect(connection).to_have_text("Reconnecting…", timeout=6_000)
        expect(connection).to_be_visible()
        expect(connection).to_be_in_viewport()
        # A pick that comes to nothing is told of for as long as it is so.
        seat(page, "A1").click()
        expect(page.locator("#toast-words")).to_contain_text("We could not reach the cinema.", timeout=15_000)
        stands(page, "A1", "available")
        browser.context.set_offline(False)
        expect(connection).to_have_text("Live", timeout=20_000)
        expect(page.locator("#toast")).to_be_hidden()
        browser.complaints.clear()


class TestPeople:
    def test_tabs_agree_on_the_end_of_a_hold(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime(hold_seconds=3)
        browser = visit()
        one, two = browser.open(house.page(number)), browser.open(house.page(number))
        live(one)
        live(two)
        seat(one, "B2").click()
        stands(two, "B2", "selected")
        for page in (one, two):
            expect(page.locator("#lapsed-words")).to_have_text("Your time for B2 has run out.", timeout=8_000)
            stands(page, "B2", "available")
            expect(page.locator("#choice-none")).to_be_visible()
        two.get_by_role("button", name="Take B2 again").click()
        stands(one, "B2", "selected")
        expect(one.locator("#lapsed")).to_be_hidden()

    def test_what_others_do_is_not_said_aloud(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit().open(house.page(number))
        live(page)
        page.evaluate(LISTEN)
        token = house.guest()
        house.hold(token, number, "B2", "B3")
        stands(page, "B2", "locked")
        house.let_go(token, number)
        stands(page, "B2", "available")
        assert page.evaluate("said") == []
        seat(page, "C3").click()
        settled(page, "C3", "selected")
        assert any("C3 held for you" in words for words in page.evaluate("said"))

    def test_how_many_look_on(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        one = visit().open(house.page(number))
        live(one)
        expect(one.locator("#viewers")).to_be_empty()
        map_stands = one.locator("#seat-B2").bounding_box()
        two = visit().open(house.page(number))
        for page in (one, two):
            expect(page.locator("#viewers")).to_have_text("2 people are looking at this showtime", timeout=VIEWERS_MS)
        assert one.locator("#seat-B2").bounding_box() == map_stands


class TestTheWarning:
    def test_it_asks_in_the_end_and_takes_and_gives_back_the_focus(
        self, house: House, visit: Callable[..., Visit]
    ) -> None:
        number = house.showtime()
        page = visit(reduced_motion="reduce").open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        time_left(house, number, 36)
        page.reload()
        live(page)
        warning = page.get_by_role("dialog", name=re.compile("seconds left for your seats"))
        expect(warning).to_be_visible()
        assert not asks(page)
        seat(page, "D4").focus()
        keep = page.get_by_role("button", name="Keep my seats")
        expect(keep).to_be_focused(timeout=10_000)
        assert asks(page)
        assert violations(page) == []
        # Neither going through it nor closing it is an answer.
        page.keyboard.press("Tab")
        page.mouse.move(300, 300)
        page.keyboard.press("Escape")
        expect(warning).to_be_hidden()
        expect(seat(page, "D4")).to_be_focused()
        expect(page.locator("#clock")).to_have_text(re.compile(r"0:[012]\d"))

    def test_the_answer_keeps_the_seats(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit().open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        time_left(house, number, 25)
        page.reload()
        expect(page.get_by_role("button", name="Keep my seats")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page.locator("#clock")).to_have_text(re.compile(r"1[45]:\d\d"))
        expect(page.locator("#announcer")).to_have_text(re.compile("Your seats are held until"))

    def test_where_no_more_time_can_be_had_it_leads_on(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        browser = visit()
        page = browser.open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        time_left(house, number, 25, at_most=25)
        page.reload()
        dialog = page.get_by_role("dialog", name=re.compile("cannot be held longer"))
        on = dialog.get_by_role("link", name="Continue to checkout")
        expect(on).to_be_focused()
        on.click()
        page.wait_for_url("**/checkout/**")
        browser.complaints.clear()

    def test_the_last_extension_says_that_it_is_the_last(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        page = visit().open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        time_left(house, number, 25, at_most=70)
        page.reload()
        expect(page.get_by_role("button", name="Keep my seats")).to_be_focused()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name=re.compile("cannot be held longer"))
        expect(dialog.get_by_role("link", name="Continue to checkout")).to_be_visible()
        expect(page.locator("#announcer")).to_have_text(re.compile("cannot be held longer"))
        expect(page.locator("#clock")).to_have_text(re.compile(r"(1:0|0:[56])\d"))
        assert not asks(page)

    def test_an_open_offer_is_answered_first(self, house: House, visit: Callable[..., Visit]) -> None:
        number = house.showtime()
        house.hold(house.guest(), number, "C3")
        page = visit().open(house.page(number))
        live(page)
        seat(page, "B2").click()
        settled(page, "B2", "selected")
        time_left(house, number, 33, at_most=33)
        page.reload()
        live(page)
        seat(page, "C3").click()
        offer = page.get_by_role("dialog", name="C3 is taken")
        expect(offer).to_be_visible()
        expect(page.locator("#clock")).to_have_text(re.compile(r"0:2\d"), timeout=10_000)
        assert not asks(page)
        page.keyboard.press("Escape")
        expect(offer).to_be_hidden()
        expect(page.get_by_role("dialog", name=re.compile("cannot be held longer"))).to_be_visible()
        assert asks(page)
