"""Reads the data files of the demo cinema. Knows no database."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from seating.layout import SeatingLayout, SeatKind

HERE = Path(__file__).resolve().parent
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A time in the week at which a room shows a film."""

    weekday: int
    time: dt.time
    auditorium: str
    movie: str
    tariff: str


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """An auditorium of the demo cinema."""

    slug: str
    name: str
    description: str
    layout: SeatingLayout


def movies() -> list[dict[str, Any]]:
    """Return the films, each as the fields of a `Movie`."""
    films: list[dict[str, Any]] = _read("movies")["movie"]
    return films


def rooms() -> list[Room]:
    """Return the auditoriums with their layouts.

    Raises:
        LayoutError: a drawing makes no sense.
    """
    document = _read("auditoriums")
    legend = {letter: (place["category"], SeatKind(place["kind"])) for letter, place in document["legend"].items()}
    return [
        Room(
            slug=room["slug"],
            name=room["name"],
            description=room["description"],
            layout=SeatingLayout.from_drawing(room["drawing"], legend, curve=room["curve"]),
        )
        for room in document["auditorium"]
    ]


def categories() -> list[dict[str, Any]]:
    """Return the categories of seats, each as the fields of a `SeatCategory`."""
    classes: list[dict[str, Any]] = _read("programme")["category"]
    return classes


def prices() -> dict[str, dict[str, int]]:
    """Return, for each tariff, what a seat of each category costs in minor units."""
    tariffs: dict[str, dict[str, int]] = _read("programme")["prices"]
    return tariffs


def slots() -> list[Slot]:
    """Return the week, in no particular order."""
    document = _read("programme")
    return [
        Slot(
            weekday=WEEKDAYS.index(day),
            time=dt.time.fromisoformat(time),
            auditorium=week["auditorium"],
            movie=movie,
            tariff=tariff,
        )
        for week in document["week"]
        for day in week["days"]
        for tariff in document["prices"]
        for time, movie in week.get(tariff, {}).items()
    ]


def starts(slots: list[Slot], *, first_day: dt.date, days: int, zone: ZoneInfo) -> Iterator[tuple[dt.datetime, Slot]]:
    """Yield every start of the slots on the given days, in order of time.

    An hour that a change of the clocks skips becomes the hour after it. Starts that the change moves together still
    come out; whoever books the rooms sees that they overlap.

    Args:
        slots: the week.
        first_day: the first day, on the cinema's clock.
        days: how many days.
        zone: the cinema's clock.
    """
    dates = [first_day + dt.timedelta(days=number) for number in range(days)]
    planned = [
        # By way of UTC: a wall time that does not exist comes back as the one that the clock shows then.
        (dt.datetime.combine(date, slot.time, tzinfo=zone).astimezone(dt.UTC), slot)
        for date in dates
        for slot in slots
        if slot.weekday == date.weekday()
    ]
    yield from sorted(planned, key=lambda start: (start[0], start[1].auditorium))


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
