"""Which seats are offered: free, together, towards the middle, and nobody is left alone."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinebook.core.errors import ErrorCode
from seating.layout import PlacedSeat, SeatingLayout, SeatKind
from seating.models import Holder, Seat, Showtime, ShowtimeSales
from seating.selectors.best_seats import (
    ALTERNATIVES,
    BEST_DEPTH,
    ROW_WEIGHT,
    STRANDED_PENALTY,
    best_seats,
    offered_seats,
)
from tests import factories
from tests.support.asking import hold, refused

LEGEND = {
    "s": ("standard", SeatKind.SEAT),
    "l": ("standard", SeatKind.LOVESEAT),
    "w": ("standard", SeatKind.WHEELCHAIR),
    "c": ("standard", SeatKind.COMPANION),
}
# Rows of seats and gaps, as people draw them; at least one seat.
ROWS = st.text("sssssss.wcl", min_size=1, max_size=14).filter(lambda row: row.strip("."))
ROOMS = st.lists(ROWS, min_size=1, max_size=7)


def room(rows: list[str]) -> SeatingLayout:
    return SeatingLayout.from_drawing(
        "\n".join(f"{chr(ord('A') + number)} {row}" for number, row in enumerate(rows)), LEGEND
    )


def touching(layout: SeatingLayout, count: int, free: set[str]) -> list[tuple[PlacedSeat, ...]]:
    """Return every group that may be offered, found the plain way."""
    return [
        group
        for row in layout.rows
        for start in range(len(row.seats) - count + 1)
        for group in [row.seats[start : start + count]]
        if all(seat.code in free and seat.kind in {SeatKind.SEAT, SeatKind.LOVESEAT} for seat in group)
        and all(right.x - left.x == 1 for left, right in itertools.pairwise(group))
    ]


def stranded(layout: SeatingLayout, group: tuple[PlacedSeat, ...], free: set[str]) -> int:
    """Return how many free seats a group leaves alone, with nobody free on their other side."""
    offered = {seat.code for (seat,) in touching(layout, 1, free)}
    at = {(seat.row, seat.x): seat.code for seat in layout.seats}

    def is_free(seat: PlacedSeat, offset: int) -> bool:
        return at.get((seat.row, seat.x + offset)) in offered

    left, right = group[0], group[-1]
    return (is_free(left, -1) and not is_free(left, -2)) + (is_free(right, 1) and not is_free(right, 2))


def distance(layout: SeatingLayout, group: tuple[PlacedSeat, ...]) -> float:
    xs, ys = [seat.x for seat in layout.seats], [seat.y for seat in layout.seats]
    best_x, best_y = (min(xs) + max(xs)) / 2, min(ys) + (max(ys) - min(ys)) * BEST_DEPTH
    middle = sum(seat.x for seat in group) / len(group)
    return math.hypot(middle - best_x, (group[0].y - best_y) * ROW_WEIGHT)


def cost(layout: SeatingLayout, group: tuple[PlacedSeat, ...], free: set[str]) -> float:
    return distance(layout, group) + STRANDED_PENALTY * stranded(layout, group, free)


@st.composite
def asked(draw: st.DrawFn) -> tuple[SeatingLayout, set[str], int]:
    layout = room(draw(ROOMS))
    return layout, draw(st.sets(st.sampled_from(layout.codes))), draw(st.integers(1, 6))


class TestEveryRoom:
    @given(asked())
    @settings(max_examples=150, deadline=None)
    def test_groups_are_free_together_apart_from_each_other_and_best_first(
        self, case: tuple[SeatingLayout, set[str], int]
    ) -> None:
        layout, free, count = case
        groups = best_seats(layout, free, count)
        possible = touching(layout, count, free)

        assert bool(groups) == bool(possible)
        assert len(groups) <= 1 + ALTERNATIVES
        by_codes = {tuple(seat.code for seat in group): group for group in possible}
        chosen = [by_codes[tuple(codes)] for codes in groups]
        codes = list(itertools.chain.from_iterable(groups))
        assert len(codes) == len(set(codes))
        costs = [cost(layout, group, free) for group in chosen]
        assert costs == sorted(costs)
        if possible:
            cheapest = min(
                distance(layout, group) + STRANDED_PENALTY * stranded(layout, group, free) for group in possible
            )
            assert costs[0] == pytest.approx(cheapest)

    @given(asked())
    @settings(max_examples=100, deadline=None)
    def test_nobody_is_left_alone_when_there_is_another_way_nearby(
        self, case: tuple[SeatingLayout, set[str], int]
    ) -> None:
        layout, free, count = case
        groups = best_seats(layout, free, count)
        if not groups:
            return
        best = tuple(layout.by_code[code] for code in groups[0])
        if stranded(layout, best, free):
            kind = [group for group in touching(layout, count, free) if not stranded(layout, group, free)]
            assert all(distance(layout, group) >= distance(layout, best) + STRANDED_PENALTY - 1e-9 for group in kind)


class TestOneRoom:
    @pytest.mark.parametrize("count", [2, 4, 6])
    def test_the_middle_of_a_symmetrical_room_a_little_behind_its_middle(self, count: int) -> None:
        layout = room(["ssssssssss"] * 7)
        group = best_seats(layout, set(layout.codes), count)[0]

        assert {code[0] for code in group} == {"E"}
        assert sum(layout.by_code[code].x for code in group) / count == 4.5

    def test_a_group_moves_aside_rather_than_leave_one_seat_alone(self) -> None:
        layout = room(["ssssss"])
        # Two in the middle leave two on either side; three in the middle of five would leave two people alone.
        assert best_seats(layout, {"A1", "A2", "A3", "A4", "A5", "A6"}, 2)[0] == ["A3", "A4"]
        assert best_seats(layout, {"A2", "A3", "A4", "A5", "A6"}, 3)[0] in (["A2", "A3", "A4"], ["A4", "A5", "A6"])

    def test_nobody_sits_across_an_aisle(self) -> None:
        layout = room(["sss.sss"])
        assert best_seats(layout, set(layout.codes), 4) == []
        assert sorted(best_seats(layout, set(layout.codes), 3)) == [["A1", "A2", "A3"], ["A4", "A5", "A6"]]

    def test_places_for_wheelchairs_are_not_offered(self) -> None:
        layout = room(["wcss"])
        assert best_seats(layout, set(layout.codes), 2) == [["A3", "A4"]]
        assert best_seats(layout, {"A1", "A2"}, 1) == []

    def test_near_means_near(self) -> None:
        layout = room(["ssssssssss"] * 7)
        free = set(layout.codes) - {"A1", "A2"}
        assert best_seats(layout, free, 2, near=["A1", "A2"])[0] == ["B1", "B2"]


@pytest.mark.django_db(transaction=True)
class TestOffered:
    @pytest.fixture
    def showtime(self) -> Showtime:
        return factories.make_showtime()

    @pytest.fixture
    def ada(self) -> Holder:
        return factories.HolderFactory()

    def test_only_what_is_free_now(self, showtime: Showtime, ada: Holder) -> None:
        first = offered_seats(showtime_id=showtime.pk, count=3)
        hold(showtime, ada, *first[0])
        second = offered_seats(showtime_id=showtime.pk, count=3)

        assert set(first[0]).isdisjoint(itertools.chain.from_iterable(second))

    def test_a_full_room_offers_nothing(self, showtime: Showtime) -> None:
        Seat.objects.filter(showtime=showtime).update(status="BLOCKED", block_reason="broken")
        assert offered_seats(showtime_id=showtime.pk, count=1) == []

    def test_before_its_first_use_all_of_a_room_is_free(self, showtime: Showtime) -> None:
        before = offered_seats(showtime_id=showtime.pk, count=2)
        Seat.objects.filter(showtime=showtime).delete()
        ShowtimeSales.objects.filter(showtime=showtime).delete()
        assert offered_seats(showtime_id=showtime.pk, count=2) == before

    def test_what_has_no_price_is_not_offered(self, showtime: Showtime) -> None:
        showtime.prices.filter(category="premium").delete()
        groups = offered_seats(showtime_id=showtime.pk, count=3)
        assert groups
        assert not any(code.startswith("C") for group in groups for code in group)
        showtime.prices.all().delete()
        assert offered_seats(showtime_id=showtime.pk, count=3) == []

    def test_a_showtime_that_there_is_not(self) -> None:
        with refused(ErrorCode.NOT_FOUND):
            offered_seats(showtime_id=987_654_321, count=1)
