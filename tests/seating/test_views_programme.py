"""The pages of the programme: what they show, what they cost, and that nothing a visitor types breaks them."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from django.template import engines
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from seating.models import Seat, SeatStatus, Showtime, ShowtimeSales
from seating.selectors.programme import Fullness, fullness
from seating.templatetags.money import money
from seating.templatetags.static_files import static_if_there
from tests.factories import HoldFactory, MovieFactory, make_showtime

# A Friday, 12:00 in the cinema.
NOW = dt.datetime(2026, 11, 20, 11, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
MANIFEST = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noon, so that today has hours to come."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def page(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status
    return response.content.decode()


class TestHome:
    def test_lists_the_films_of_today_in_order_of_time(self, client: Client) -> None:
        late = make_showtime(movie=MovieFactory(title="Late"), starts_at=NOW + 8 * HOUR)
        early = make_showtime(movie=MovieFactory(title="Early"), starts_at=NOW + HOUR)
        make_showtime(movie=MovieFactory(title="Tomorrow"), starts_at=NOW + 24 * HOUR)
        html = page(client, "/")
        assert html.index("Early") < html.index("Late")
        assert "Tomorrow" not in html
        for showtime in (late, early):
            assert f'href="/showtimes/{showtime.pk}/"' in html
        assert '<time class="stub-time" datetime="2026-11-20T13:00:00+01:00">13:00</time>' in html

    def test_a_day_is_a_day_on_the_clock_of_the_cinema(self, client: Client) -> None:
        make_showtime(movie=MovieFactory(title="Night"), starts_at=dt.datetime(2026, 11, 20, 23, 30, tzinfo=dt.UTC))
        assert "Night" not in page(client, "/?day=2026-11-20")
        assert "Night" in page(client, "/?day=2026-11-21")

    def test_when_the_day_is_over_the_next_one_with_films_is_shown(self, client: Client) -> None:
        make_showtime(movie=MovieFactory(title="Over"), starts_at=NOW - 2 * HOUR)
        make_showtime(movie=MovieFactory(title="The next"), starts_at=NOW + 48 * HOUR)
        html = page(client, "/")
        assert "The next" in html
        assert re.search(r'href="/"\s+aria-current="date"', html)
        assert "The screen is dark" in page(client, "/?day=2026-11-20")

    def test_does_not_offer_what_no_longer_sells(self, client: Client) -> None:
        make_showtime(movie=MovieFactory(title="Begun"), starts_at=NOW - HOUR)
        make_showtime(movie=MovieFactory(title="Trailers"), starts_at=NOW - HOUR / 6)
        cancelled = make_showtime(movie=MovieFactory(title="Cancelled"))
        Showtime.objects.filter(pk=cancelled.pk).update(cancelled_at=NOW)
        html = page(client, "/")
        assert "Trailers" in html
        assert "Begun" not in html
        assert "Cancelled" not in html

    @pytest.mark.parametrize(
        "day", ["", "x", "2026-13-45", "1999-01-01", "9999-12-31", "2026-11-20T10", "\x00", "' --"]
    )
    def test_a_day_that_makes_no_sense_is_today(self, client: Client, day: str) -> None:
        make_showtime(movie=MovieFactory(title="Today’s"))
        response = client.get("/", {"day": day})
        assert response.status_code == 200
        assert "Today’s" in response.content.decode()

    def test_the_strip_marks_the_chosen_day(self, client: Client) -> None:
        html = page(client, "/?day=2026-11-22")
        assert html.count('aria-current="date"') == 1
        assert re.search(r'href="\?day=2026-11-22"\s+aria-current="date"', html)

    def test_an_empty_day_offers_the_next(self, client: Client) -> None:
        assert 'class="button" href="?day=2026-11-21"' in page(client, "/")
        assert 'class="button"' not in page(client, "/?day=2026-11-26")

    def test_says_in_words_how_full_it_is(self, client: Client) -> None:
        showtime = make_showtime()
        assert "Plenty of seats" in page(client, "/")
        sell(showtime, 18)
        assert "Sold out" in page(client, "/")

    def test_five_statements_however_long_the_bill(self, client: Client, django_assert_max_num_queries: Any) -> None:
        for number in range(5):
            make_showtime(starts_at=NOW + number * HOUR)
        with django_assert_max_num_queries(5):
            page(client, "/")


class TestMovie:
    def test_shows_the_facts_and_the_days(self, client: Client) -> None:
        movie = MovieFactory(title="Film & Friends", tagline="Two <b>", age_rating=12, director="Ida Example")
        make_showtime(movie=movie, starts_at=NOW + HOUR)
        make_showtime(movie=movie, starts_at=NOW + 25 * HOUR)
        html = page(client, movie.get_absolute_url())
        assert "Film &amp; Friends" in html
        assert "Two &lt;b&gt;" in html
        assert "Ida Example" in html
        assert html.count('class="calendar-day"') == 2
        assert html.count('class="stub"') == 2

    def test_without_a_poster_there_is_a_card(self, client: Client) -> None:
        html = page(client, MovieFactory(title="Bare").get_absolute_url())
        assert "poster-card-title" in html
        assert "No showtimes are planned" in html

    def test_four_statements(self, client: Client, django_assert_max_num_queries: Any) -> None:
        movie = MovieFactory()
        for number in range(5):
            make_showtime(movie=movie, starts_at=NOW + number * 20 * HOUR)
        with django_assert_max_num_queries(4):
            page(client, movie.get_absolute_url())

    def test_an_unknown_film_is_not_found(self, client: Client) -> None:
        assert "This reel is missing" in page(client, "/movies/nothing/", 404)


class TestShowtime:
    def test_every_seat_says_what_it_is(self, client: Client) -> None:
        html = page(client, make_showtime().get_absolute_url())
        assert 'aria-label="Seat A1, Standard, €12.00, available"' in html
        assert 'aria-label="Seat C6, Premium, €15.00, available"' in html
        assert 'aria-label="Seat B1, wheelchair place, €12.00, available"' in html
        assert 'aria-label="Seat B2, companion seat, €12.00, available"' in html
        assert html.count('class="seat"') == 18
        assert "18 seats free" in " ".join(html.split())

    def test_shows_how_every_seat_stands(self, client: Client) -> None:
        showtime = make_showtime()
        hold = HoldFactory(showtime=showtime)
        seats = Seat.objects.filter(showtime=showtime)
        # Its time is over, but nothing has said so yet: the row decides.
        seats.filter(code="A1").update(
            status=SeatStatus.RESERVED, hold=hold, reserved_at=NOW - 2 * HOUR, reserved_until=NOW - HOUR
        )
        seats.filter(code="A2").update(status=SeatStatus.SOLD, hold=hold, sold_at=NOW)
        seats.filter(code="A3").update(status=SeatStatus.BLOCKED, block_reason="broken")
        html = page(client, showtime.get_absolute_url())
        for code, status, words in (
            ("A1", "locked", "temporarily unavailable"),
            ("A2", "occupied", "sold"),
            ("A3", "blocked", "not on sale"),
            ("A4", "available", "available"),
        ):
            assert re.search(rf'id="seat-{code}" data-status="{status}".*?€12.00, {words}"', html)

    def test_a_seat_without_a_price_is_not_sold(self, client: Client) -> None:
        showtime = make_showtime()
        showtime.prices.filter(category="premium").delete()
        html = page(client, showtime.get_absolute_url())
        assert 'id="seat-C1" data-status="blocked"' in html
        assert "Seat C1, premium, not on sale" in html

    def test_carries_its_version(self, client: Client) -> None:
        showtime = make_showtime()
        ShowtimeSales.objects.filter(showtime=showtime).update(seq=7)
        assert 'data-version="7"' in page(client, showtime.get_absolute_url())

    def test_statements_of_a_first_visit_and_of_the_next(self, client: Client, django_assert_num_queries: Any) -> None:
        url = make_showtime().get_absolute_url()
        # Seven of the page; its layout, the guest and the session are made once.
        with django_assert_num_queries(14):
            page(client, url)
        with django_assert_num_queries(7):
            page(client, url)

    def test_seats_come_into_being_on_first_use(self, client: Client) -> None:
        showtime = make_showtime()
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()
        assert "Plenty of seats" in page(client, "/")
        assert page(client, showtime.get_absolute_url()).count('class="seat"') == 18

    def test_says_when_nothing_is_sold(self, client: Client) -> None:
        closed = make_showtime(starts_at=NOW - 2 * HOUR)
        not_yet = make_showtime(starts_at=NOW + 48 * HOUR, sales_open_at=NOW + 24 * HOUR)
        cancelled = make_showtime()
        Showtime.objects.filter(pk=cancelled.pk).update(cancelled_at=NOW)
        assert "not sold at the moment" in page(client, closed.get_absolute_url())
        assert "On sale from" in page(client, not_yet.get_absolute_url())
        assert "is cancelled" in page(client, cancelled.get_absolute_url())

    @pytest.mark.parametrize("number", ["0", "999999", "99999999999999999999999"])
    def test_an_unknown_showtime_is_not_found(self, client: Client, number: str) -> None:
        page(client, f"/showtimes/{number}/", 404)


class TestLayoutStylesheet:
    def test_places_every_seat_and_is_kept_for_ever(self, client: Client) -> None:
        html = page(client, make_showtime().get_absolute_url())
        [url] = re.findall(r'href="(/layouts/[^"]+)"', html)
        response = client.get(url)
        rules = response.content.decode()
        assert response["Content-Type"] == "text/css; charset=utf-8"
        assert "immutable" in response["Cache-Control"]
        for code in ("A1", "B4", "C6"):
            assert f"#seat-{code}{{--x:" in rules
        assert "#row-B-end{" in rules

    def test_of_another_version_is_not_kept(self, client: Client) -> None:
        showtime = make_showtime()
        response = client.get(reverse("layout_stylesheet", args=[showtime.layout_id, "old"]))
        assert response.status_code == 200
        assert response["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("number", ["0", "99999999999999999999999"])
    def test_of_no_layout_is_not_found(self, client: Client, number: str) -> None:
        page(client, f"/layouts/{number}-abc.css", 404)


class TestEveryPage:
    def test_needs_neither_inline_styles_nor_scripts(self, client: Client) -> None:
        movie = MovieFactory(poster="posters/moth-season.svg")
        showtime = make_showtime(movie=movie)
        for url in ("/", movie.get_absolute_url(), showtime.get_absolute_url()):
            html = page(client, url)
            assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", html)

    def test_only_reads(self, client: Client) -> None:
        assert client.post("/").status_code == 405
        assert client.head("/").status_code == 200

    @pytest.mark.parametrize("template", ["500.html", "400.html"])
    def test_what_says_that_something_is_wrong_needs_nothing(
        self, template: str, settings: Any, tmp_path: Path, django_assert_num_queries: Any
    ) -> None:
        settings.STATIC_ROOT = tmp_path
        settings.STORAGES = MANIFEST
        with django_assert_num_queries(0):
            html = engines["django"].get_template(template).render()
        assert "<h1" in html
        assert "stylesheet" not in html

    @pytest.mark.parametrize("template", ["403.html", "403_csrf.html", "404.html"])
    def test_what_is_not_allowed_looks_like_the_house(self, template: str) -> None:
        assert "site-header" in render_to_string(template, {"cinema_name": "CineBook"})


class TestTags:
    @pytest.mark.parametrize(
        ("amount", "currency", "expected"),
        [
            (1250, "EUR", "€12.50"),
            (0, "EUR", "€0.00"),
            (5, "USD", "$0.05"),
            (1250, "JPY", "¥1,250"),
            (1250, "KWD", "KWD\N{NO-BREAK SPACE}1.250"),
            (123456789, "CHF", "CHF\N{NO-BREAK SPACE}1,234,567.89"),
        ],
    )
    def test_money_knows_the_minor_units_of_its_currency(self, amount: int, currency: str, expected: str) -> None:
        assert money(amount, currency) == expected

    @pytest.mark.parametrize(
        "path", ["", "posters/typo.svg", "../../etc/passwd", "https://evil.example/x.svg", "/x", "?"]
    )
    def test_a_mistyped_poster_is_no_poster(self, path: str, settings: Any, tmp_path: Path) -> None:
        settings.STATIC_ROOT = tmp_path
        settings.STORAGES = MANIFEST
        settings.DEBUG = False
        assert static_if_there(path) == ""

    @pytest.mark.parametrize(
        ("seats", "available", "reserved", "expected"),
        [
            (0, 0, 0, Fullness.PLENTY),
            (100, 50, 0, Fullness.PLENTY),
            (100, 49, 0, Fullness.FILLING),
            (100, 15, 0, Fullness.FEW),
            (100, 0, 1, Fullness.NONE_FREE),
            (100, 0, 0, Fullness.SOLD_OUT),
        ],
    )
    def test_how_full_a_house_is(self, seats: int, available: int, reserved: int, expected: Fullness) -> None:
        showtime = make_showtime()
        assert fullness(showtime=showtime, seats=seats, available=available, reserved=reserved, now=NOW) is expected

    def test_a_stopped_sale_is_closed(self) -> None:
        showtime = make_showtime()
        showtime.sales.sales_open = False
        assert fullness(showtime=showtime, seats=9, available=9, reserved=0, now=NOW) is Fullness.CLOSED


def sell(showtime: Showtime, count: int) -> None:
    hold = HoldFactory(showtime=showtime)
    codes = list(showtime.seats.values_list("code", flat=True)[:count])
    showtime.seats.filter(code__in=codes).update(status=SeatStatus.SOLD, hold=hold, sold_at=NOW)
