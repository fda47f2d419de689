"""A mutant that changes nothing is found out: it cannot be disarmed by a refactoring."""

from __future__ import annotations

import pytest
from django.db import connection

from seating.models import Holder, Showtime
from seating.services import hold_seats, holding
from tests.support.asking import hold
from tests.support.mutants import CATALOGUE, OF_THE_RACES, MutantLost, planted
from tests.support.planting import Function, Part, Script, Statement
from tests.support.planting import planted as planted_parts

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", CATALOGUE | OF_THE_RACES)
def test_what_nobody_comes_by_is_lost(name: str) -> None:
    with pytest.raises(MutantLost, match="nothing came by"), planted(name):
        pass


@pytest.mark.parametrize(
    "part",
    [
        Function("seating.services.holding.no_such_name", lambda original: original),
        Function("seating.services.nowhere.hold_seats", lambda original: original),
        Script("settle.lua", "no such clause", ""),
    ],
)
def test_what_is_not_there_is_lost(part: Part) -> None:
    with pytest.raises(MutantLost), planted_parts("lost", (part,)):
        pass


def test_a_statement_without_its_clause_is_lost(showtime: Showtime, ada: Holder) -> None:
    part = Statement("UPDATE seating_showtimesales", "no such clause", "")
    with pytest.raises(MutantLost, match="no such clause"), planted_parts("lost", (part,)):
        hold(showtime, ada, "A1")


def test_a_function_is_replaced_wherever_it_is_known_and_comes_back() -> None:
    part = Function("seating.services.holding.hold_seats", lambda _: lambda: "mutated")
    with planted_parts("replaced", (part,)):
        assert holding.hold_seats() == "mutated"
        assert hold.__globals__["hold_seats"]() == "mutated"
    assert hold.__globals__["hold_seats"] is hold_seats is holding.hold_seats


def test_a_statement_is_changed_and_comes_back() -> None:
    def answer() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 + %s", [1])
            return int(cursor.fetchone()[0])

    with planted_parts("changed", (Statement(r"^SELECT 1", "1", "2"),)):
        assert answer() == 3
    assert answer() == 2
