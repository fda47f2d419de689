"""What is on: films, showtimes and rooms, page by page."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from django.utils import timezone

from seating.models import Movie, Seat, SeatStatus, Showtime, ShowtimeSales
from tests.factories import AuditoriumFactory, HoldFactory, MovieFactory, make_showtime
from tests.support.api import ApiClient

pytestmark = pytest.mark.django_db

# A Friday, 12:00 in the cinema.
NOON = dt.datetime(2026, 11, 20, 11, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def found(answer: Any) -> list[int]:
    assert answer.status_code == 200
    return [row["id"] for row in answer.json()["results"]]


class TestMovies:
    def test_a_film(self, nobody: ApiClient) -> None:
        movie = MovieFactory(
            title="Kite Weather",
            tagline="Hold on.",
            synopsis="A kite.",
            director="A. Example",
            genre="Drama",
            language="English",
            age_rating=6,
        )

        assert nobody.ask("GET", f"movies/{movie.pk}").json() == {
            "id": movie.pk,
            "slug": movie.slug,
            "title": "Kite Weather",
            "tagline": "Hold on.",
            "synopsis": "A kite.",
            "director": "A. Example",
            "genre": "Drama",
            "language": "English",
            "age_rating": 6,
            "runtime_minutes": 100,
        }

    def test_all_films_by_title(self, nobody: ApiClient) -> None:
        second, first = MovieFactory(title="B"), MovieFactory(title="A")

        assert found(nobody.ask("GET", "movies")) == [first.pk, second.pk]

    @pytest.mark.parametrize("key", ["0", "999", "999999999999999999", "9" * 19, "-1", "abc", "1.0", "%00"])
    def test_no_film(self, nobody: ApiClient, key: str) -> None:
        answer = nobody.ask("GET", f"movies/{key}")

        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


class TestPages:
    @pytest.fixture(autouse=True)
    def films(self) -> list[Movie]:
        return [MovieFactory(title=title) for title in "ABC"]

    def test_lead_to_each_other(self, nobody: ApiClient) -> None:
        first = nobody.ask("GET", "movies?page_size=2").json()
        second = nobody.get(first["next"]).json()

        assert first["count"] == second["count"] == 3
        assert first["previous"] is None
        assert second["next"] is None
        assert [row["title"] for row in first["results"] + second["results"]] == ["A", "B", "C"]
        assert nobody.get(second["previous"]).json() == first

    @pytest.mark.parametrize("page", ["0", "3", "-1", "abc", "1.5", "9" * 30, "9" * 5000, "%00", "%F0%9F%8E%AC"])
    def test_that_are_not_there(self, nobody: ApiClient, page: str) -> None:
        assert nobody.ask("GET", f"movies?page_size=2&page={page}").status_code == 404

    @pytest.mark.parametrize("size", ["0", "-1", "abc", "9" * 30, "9" * 5000, "%00"])
    def test_of_no_size_have_one_all_the_same(self, nobody: ApiClient, size: str) -> None:
        assert len(found(nobody.ask("GET", f"movies?page_size={size}"))) == 3

    def test_have_at_most_200_rows(self, nobody: ApiClient) -> None:
        Movie.objects.bulk_create(Movie(title=f"M{n}", slug=f"m{n}", runtime_minutes=1) for n in range(250))

        assert len(found(nobody.ask("GET", "movies?page_size=1000"))) == 200
        assert len(found(nobody.ask("GET", "movies"))) == 50


class TestShowtimes:
    def test_a_showtime(self, nobody: ApiClient) -> None:
        showtime = make_showtime(starts_at=NOON + HOUR, sales_open_at=NOON - HOUR)
        hold = HoldFactory(showtime=showtime)
        showtime.seats.filter(code="A1").update(
            status=SeatStatus.RESERVED, hold=hold, reserved_at=NOON, reserved_until=NOON + HOUR
        )

        assert nobody.ask("GET", f"showtimes/{showtime.pk}").json() == {
            "id": showtime.pk,
            "movie": {"id": showtime.movie_id, "slug": showtime.movie.slug, "title": showtime.movie.title},
            "auditorium": {
                "id": showtime.auditorium_id,
                "slug": showtime.auditorium.slug,
                "name": showtime.auditorium.name,
            },
            "starts_at": "2026-11-20T12:00:00Z",
            "ends_at": "2026-11-20T14:10:00Z",
            "sales_open_at": "2026-11-20T10:00:00Z",
            "sales_close_at": "2026-11-20T12:15:00Z",
            "on_sale": True,
            "cancelled": False,
            "currency": "EUR",
            "total_seats": 18,
            "available_seats": 17,
        }

    def test_before_its_first_use_all_seats_are_free(self, nobody: ApiClient) -> None:
        showtime = make_showtime(starts_at=NOON + HOUR)
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()

        assert nobody.ask("GET", f"showtimes/{showtime.pk}").json()["available_seats"] == 18

    def test_the_list_and_the_one_say_the_same(self, nobody: ApiClient) -> None:
        showtime = make_showtime(starts_at=NOON + HOUR)

        assert nobody.ask("GET", "showtimes").json()["results"] == [
            nobody.ask("GET", f"showtimes/{showtime.pk}").json()
        ]

    def test_without_a_day_those_that_still_sell(self, nobody: ApiClient) -> None:
        later = make_showtime(starts_at=NOON + 30 * HOUR)
        sooner = make_showtime(starts_at=NOON + HOUR)
        make_showtime(starts_at=NOON - 10 * HOUR)
        cancelled = make_showtime(starts_at=NOON + 2 * HOUR)
        Showtime.objects.filter(pk=cancelled.pk).update(cancelled_at=NOON)

        assert found(nobody.ask("GET", "showtimes")) == [sooner.pk, later.pk]
        assert nobody.ask("GET", f"showtimes/{cancelled.pk}").json()["cancelled"] is True
        assert nobody.ask("GET", f"showtimes/{cancelled.pk}").json()["on_sale"] is False

    def test_of_a_day_on_the_clock_of_the_cinema(self, nobody: ApiClient) -> None:
        past = make_showtime(starts_at=NOON - 10 * HOUR)
        first = make_showtime(starts_at=dt.datetime(2026, 11, 19, 23, 0, tzinfo=dt.UTC))
        make_showtime(starts_at=dt.datetime(2026, 11, 20, 23, 0, tzinfo=dt.UTC))

        assert found(nobody.ask("GET", "showtimes?date=2026-11-20")) == [first.pk, past.pk]

    def test_of_a_film_and_of_a_room(self, nobody: ApiClient) -> None:
        movie, room = MovieFactory(), AuditoriumFactory()
        both = make_showtime(movie=movie, auditorium=room, starts_at=NOON + HOUR)
        film = make_showtime(movie=movie, starts_at=NOON + 2 * HOUR)
        here = make_showtime(auditorium=room, starts_at=NOON + 9 * HOUR)

        assert found(nobody.ask("GET", f"showtimes?movie={movie.pk}")) == [both.pk, film.pk]
        assert found(nobody.ask("GET", f"showtimes?auditorium={room.pk}")) == [both.pk, here.pk]
        assert found(nobody.ask("GET", f"showtimes?auditorium={room.pk}&movie={movie.pk}&date=2026-11-20")) == [both.pk]
        assert found(nobody.ask("GET", "showtimes?movie=&auditorium=&date=")) == [both.pk, film.pk, here.pk]

    @pytest.mark.parametrize(
        "query",
        [
            "date=tomorrow",
            "date=2026-13-01",
            "date=2026-11-20T12:00",
            "date=%00",
            "movie=abc",
            "movie=1.5",
            "movie=1e3",
            "movie=-1e999999999",
            "movie=NaN",
            "movie=Infinity",
            "movie=" + "9" * 5000,
            "movie=%00",
            "auditorium=1%27--",
            "auditorium=True",
        ],
    )
    def test_a_filter_that_makes_no_sense(self, nobody: ApiClient, query: str) -> None:
        answer = nobody.ask("GET", f"showtimes?{query}")

        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_data"
        assert set(answer.json()["errors"]) == {query.partition("=")[0]}

    @pytest.mark.parametrize(
        "query", ["movie=0", "movie=-5", f"movie={9 * 10**30}", "date=9999-12-31", "date=0001-01-01"]
    )
    def test_a_filter_that_nothing_fits(self, nobody: ApiClient, query: str) -> None:
        make_showtime(starts_at=NOON + HOUR)

        assert found(nobody.ask("GET", f"showtimes?{query}")) == []


class TestLayout:
    def test_rows_seats_and_prices(self, nobody: ApiClient, showtime: Showtime) -> None:
        layout = nobody.ask("GET", f"showtimes/{showtime.pk}/layout").json()

        assert set(layout) == {"showtime_id", "auditorium", "rows", "categories"}
        assert layout["showtime_id"] == showtime.pk
        assert layout["auditorium"]["name"] == showtime.auditorium.name
        assert layout["categories"] == [
            {"code": "standard", "name": "Standard", "price": {"amount": "12.00", "currency": "EUR"}},
            {"code": "premium", "name": "Premium", "price": {"amount": "15.00", "currency": "EUR"}},
        ]
        assert [row["label"] for row in layout["rows"]] == ["A", "B", "C"]
        wheelchair = layout["rows"][1]["seats"][0]
        assert wheelchair == {
            "code": "B1",
            "row": "B",
            "number": 1,
            "x": wheelchair["x"],
            "y": wheelchair["y"],
            "category": "standard",
            "kind": "wheelchair",
            "accessible": True,
        }
        xs = [seat["x"] for seat in layout["rows"][0]["seats"]]
        assert [right - left for left, right in itertools.pairwise(xs)] == [1, 1, 2, 1, 1]

    def test_may_be_kept_by_everybody_and_asked_for_again(self, nobody: ApiClient, showtime: Showtime) -> None:
        first = nobody.ask("GET", f"showtimes/{showtime.pk}/layout")

        assert set(first["Cache-Control"].split(", ")) == {"public", "max-age=60"}
        for known in (first["ETag"], f'"x", {first["ETag"]}', "*"):
            again = nobody.ask("GET", f"showtimes/{showtime.pk}/layout", If_None_Match=known)
            assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
            assert again["Cache-Control"] == first["Cache-Control"]

    def test_is_the_same_for_everybody(self, nobody: ApiClient, guest: ApiClient, showtime: Showtime) -> None:
        path = f"showtimes/{showtime.pk}/layout"

        assert nobody.ask("GET", path)["ETag"] == guest.ask("GET", path)["ETag"]

    def test_changes_its_tag_with_a_price(self, nobody: ApiClient, showtime: Showtime) -> None:
        old = nobody.ask("GET", f"showtimes/{showtime.pk}/layout")["ETag"]
        showtime.prices.filter(category="premium").update(amount=1600)

        new = nobody.ask("GET", f"showtimes/{showtime.pk}/layout", If_None_Match=old)

        assert new.status_code == 200
        assert new["ETag"] != old

    def test_of_no_showtime(self, nobody: ApiClient) -> None:
        assert nobody.ask("GET", "showtimes/999999999999999999/layout").status_code == 404
