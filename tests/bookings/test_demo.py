"""The demo cinema: its files make sense, and loading them makes everything once."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from bookings.demo import loader, programme
from bookings.demo.loader import Loaded, load_demo
from bookings.tasks import top_up_demo_showtimes
from seating.models import Auditorium, Movie, Seat, SeatCategory, Showtime
from seating.services.programme import TURNAROUND

BERLIN = ZoneInfo("Europe/Berlin")
A_FRIDAY = dt.datetime(2026, 11, 20, 9, tzinfo=dt.UTC)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days of showtimes are as good as eight."""
    monkeypatch.setattr(loader, "DAYS", 2)


class TestFiles:
    """What the data files say, without a database."""

    def test_every_slot_names_a_room_a_film_and_a_tariff(self) -> None:
        rooms = {room.slug for room in programme.rooms()}
        films = {film["slug"] for film in programme.movies()}
        for slot in programme.slots():
            assert slot.auditorium in rooms
            assert slot.movie in films
            assert slot.tariff in programme.prices()

    def test_every_category_has_a_price_in_every_tariff(self) -> None:
        there = {code for room in programme.rooms() for code in room.layout.categories}
        assert there == {category["code"] for category in programme.categories()}
        for prices in programme.prices().values():
            assert set(prices) == there

    def test_no_room_shows_two_films_at_once_in_an_ordinary_week(self) -> None:
        minutes = {film["slug"]: film["runtime_minutes"] for film in programme.movies()}
        used = defaultdict(list)
        for start, slot in _starts(days=8):
            used[slot.auditorium].append((start, start + dt.timedelta(minutes=minutes[slot.movie]) + TURNAROUND))
        for spans in used.values():
            for (_start, end), (next_start, _end) in itertools.pairwise(spans):
                assert end <= next_start

    def test_something_begins_within_three_hours_at_any_hour_of_the_week(self) -> None:
        starts = [start for start, _slot in _starts(days=9)]
        for hour in range(7 * 24):
            now = A_FRIDAY + dt.timedelta(hours=hour)
            assert any(now < start <= now + dt.timedelta(hours=3) for start in starts)

    def test_rooms_are_of_real_sizes(self) -> None:
        seats = {room.slug: room.layout.seats for room in programme.rooms()}
        assert {slug: len(places) for slug, places in seats.items()} == {
            "grand-hall": 348,
            "atelier": 175,
            "nonstop": 56,
            "boiler-house": 128,
        }
        assert {place.kind.value for place in seats["boiler-house"]} == {"seat", "wheelchair", "companion", "loveseat"}

    @pytest.mark.parametrize("film", programme.movies(), ids=lambda film: film["slug"])
    def test_every_film_has_a_poster_of_its_own(self, film: dict[str, str]) -> None:
        path = Path(settings.BASE_DIR) / "static" / film["poster"]
        text = path.read_text(encoding="utf-8")
        assert len(text.encode()) < 15_000
        root = ET.fromstring(text)  # noqa: S314 - our own file
        _x, _y, width, height = map(float, root.attrib["viewBox"].split())
        assert width / height == pytest.approx(2 / 3)
        assert not any(element.tag.endswith(("script", "image", "style")) for element in root.iter())


class TestClocks:
    """Wall times on days that have 23 or 25 hours."""

    def test_an_hour_that_is_skipped_becomes_the_next(self) -> None:
        slot = programme.Slot(6, dt.time(2, 30), "nonstop", "kite-weather", "matinee")
        [(start, _slot)] = programme.starts([slot], first_day=dt.date(2027, 3, 28), days=1, zone=BERLIN)
        assert start.astimezone(BERLIN).time() == dt.time(3, 30)

    @pytest.mark.django_db
    @pytest.mark.usefixtures("short")
    @pytest.mark.parametrize("day", [dt.date(2027, 3, 28), dt.date(2027, 10, 31)])
    def test_a_day_of_23_or_25_hours_loads(self, day: dt.date) -> None:
        load_demo(now=dt.datetime.combine(day, dt.time(), tzinfo=BERLIN))
        starts = Showtime.objects.filter(auditorium__slug="grand-hall").values_list("starts_at", flat=True)
        times = [start.astimezone(BERLIN).time() for start in starts if start.astimezone(BERLIN).date() == day]
        assert times == [dt.time(11), dt.time(13, 15), dt.time(15, 45), dt.time(18, 30), dt.time(21), dt.time(23, 30)]


@pytest.mark.django_db
class TestLoading:
    """What a run makes, and what it leaves alone."""

    def test_makes_everything_once(self) -> None:
        now = timezone.now()
        made = load_demo(now=now)
        assert made == Loaded(categories=3, auditoriums=4, movies=10, users=0, showtimes=made.showtimes)
        assert made.showtimes > 120
        assert Seat.objects.count() > 20_000
        today = now.astimezone(BERLIN).date()
        starts = Showtime.objects.values_list("starts_at", flat=True)
        days = {start.astimezone(BERLIN).date() for start in starts}
        assert days >= {today + dt.timedelta(days=number) for number in range(1, 7)}
        assert min(starts) <= now + dt.timedelta(hours=3)
        assert load_demo(now=now) == Loaded(categories=0, auditoriums=0, movies=0, users=0, showtimes=0)

    @pytest.mark.usefixtures("short")
    def test_only_what_is_to_come_is_made(self) -> None:
        load_demo(now=A_FRIDAY)
        assert not Showtime.objects.filter(starts_at__lte=A_FRIDAY).exists()

    @pytest.mark.usefixtures("short")
    def test_the_next_day_adds_a_day(self) -> None:
        load_demo(now=A_FRIDAY)
        before = Showtime.objects.count()
        made = load_demo(now=A_FRIDAY + dt.timedelta(days=1))
        assert made.showtimes > 10
        assert Showtime.objects.count() == before + made.showtimes

    @pytest.mark.usefixtures("short")
    def test_edits_of_the_staff_stay(self) -> None:
        load_demo(now=A_FRIDAY)
        Movie.objects.filter(slug="moth-season").update(title="Moth Season (restored)", poster="")
        Auditorium.objects.filter(slug="atelier").update(slug="studio")
        SeatCategory.objects.filter(code="premium").update(name="Armchair")
        assert load_demo(now=A_FRIDAY) == Loaded(0, 0, 0, 0, 0)
        assert Movie.objects.get(slug="moth-season").title == "Moth Season (restored)"
        assert SeatCategory.objects.get(code="premium").name == "Armchair"

    @pytest.mark.usefixtures("short")
    def test_a_cancelled_showtime_stays_cancelled(self) -> None:
        load_demo(now=A_FRIDAY)
        Showtime.objects.filter(pk=Showtime.objects.earliest("starts_at").pk).update(cancelled_at=A_FRIDAY)
        assert load_demo(now=A_FRIDAY).showtimes == 0

    @pytest.mark.usefixtures("short")
    def test_the_database_has_the_last_word_on_a_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load_demo(now=A_FRIDAY)
        # As if all of them had been planned by the staff after we looked.
        monkeypatch.setattr(loader, "_taken", lambda _now: defaultdict(list))
        assert load_demo(now=A_FRIDAY).showtimes == 0

    @pytest.mark.usefixtures("short")
    def test_users_only_on_an_explicit_word(self, settings: object) -> None:
        load_demo(now=A_FRIDAY)
        users = get_user_model().objects
        assert not users.exists()
        settings.DEMO_USERS = True  # type: ignore[attr-defined]
        assert load_demo(now=A_FRIDAY).users == 2
        demo, staff = users.get(username="demo"), users.get(username="staff")
        assert demo.check_password("demo")
        assert (demo.is_staff, demo.is_superuser) == (False, False)
        assert (staff.is_staff, staff.is_superuser) == (True, True)
        staff.set_password("something better")
        staff.save()
        assert load_demo(now=A_FRIDAY).users == 0
        assert users.get(username="staff").check_password("something better")

    @pytest.mark.usefixtures("short")
    def test_the_command_says_what_it_made(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("load_demo")
        assert capsys.readouterr().out.startswith("Demo cinema: made 3 categories, 4 auditoriums, 10 movies, ")
        call_command("load_demo")
        assert capsys.readouterr().out == "Demo cinema: everything is there.\n"

    @pytest.mark.usefixtures("short")
    def test_the_daily_task_leaves_a_real_cinema_alone(self, settings: object) -> None:
        settings.DEMO_CINEMA = False  # type: ignore[attr-defined]
        top_up_demo_showtimes()
        assert not Movie.objects.exists()
        settings.DEMO_CINEMA = True  # type: ignore[attr-defined]
        top_up_demo_showtimes()
        assert Movie.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("short")
def test_two_that_start_together_make_everything_once() -> None:
    made: list[Loaded] = []
    together = threading.Barrier(2)

    def start() -> None:
        together.wait()
        made.append(load_demo(now=A_FRIDAY))
        connection.close()

    threads = [threading.Thread(target=start) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.movies for run in made) == [0, 10]
    assert sorted(run.showtimes for run in made) == [0, Showtime.objects.count()]


def _starts(*, days: int) -> list[tuple[dt.datetime, programme.Slot]]:
    friday = A_FRIDAY.astimezone(BERLIN).date()
    return list(programme.starts(programme.slots(), first_day=friday, days=days, zone=BERLIN))
