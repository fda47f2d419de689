"""Each operation against each other one, both ways round and at the same moment: `matrix` says what may come of it.

First two rivals are lined up: at a row that both wait for, or so that the second comes when the first is about to
commit. Then both start at the same moment. After each race the seats, the ledger, the audit and the money must tell one
story, the reconciler must find nothing to repair, and nobody may have met a deadlock or waited for too long.
"""

from __future__ import annotations

import inspect
import itertools

import pytest
from pytest_django import Settings

import bookings.services
import seating.services
from tests.races.matrix import LINES, Line
from tests.races.operations import NO_OPERATION, OPERATIONS, STAGES
from tests.races.playing import assert_nothing_is_left_to_repair, at_the_same_moment, one_after_the_other
from tests.support.asking import NOWHERE
from tests.support.buying import FlakyDemo
from tests.support.cleaning import delete_everything

# These go over all showtimes.
SEE_EVERYTHING = {"let go", "reconcile", "window over"}


def leave_nothing_behind(line: Line) -> None:
    """Clear the stage, if one of the two would see what stands on another one."""
    if {line.first, line.second} & SEE_EVERYTHING:
        assert_nothing_is_left_to_repair()
        delete_everything(None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_race(line: Line, provider: FlakyDemo, settings: Settings) -> None:
    """With Redis at the same moment only: its locks would refuse most of those who come second before they meet."""
    with_redis = settings.REDIS_URL
    settings.REDIS_URL = NOWHERE
    if line.meet_at:
        assert one_after_the_other(line.stage, [line.first, line.second], line.meet_at, provider) in line.first_wins
        leave_nothing_behind(line)
        if line.first != line.second:
            told = one_after_the_other(line.stage, [line.second, line.first], line.meet_at, provider)
            assert told in line.second_wins
            leave_nothing_behind(line)
    settings.REDIS_URL = with_redis
    assert at_the_same_moment(line.stage, [line.first, line.second], provider) in line.either
    assert_nothing_is_left_to_repair()


class TestNothingIsLeftOut:
    def test_every_pair_of_operations_is_in_the_matrix(self) -> None:
        pairs = {frozenset(pair) for pair in itertools.combinations_with_replacement(OPERATIONS, 2)}
        assert {frozenset((line.first, line.second)) for line in LINES} == pairs

    def test_no_race_stands_there_twice(self) -> None:
        races = [(line.stage, frozenset((line.first, line.second))) for line in LINES]
        assert len(races) == len(set(races))

    def test_every_operation_is_tried_where_it_has_something_to_do(self) -> None:
        played = {(name, line.stage) for line in LINES for name in (line.first, line.second)}
        assert {(name, operation.stage) for name, operation in OPERATIONS.items()} <= played
        assert {stage for _name, stage in played} == set(STAGES)

    def test_every_public_service_is_an_operation_or_has_a_reason_not_to_be_one(self) -> None:
        services = {*seating.services.__all__, *bookings.services.__all__}
        raced = {service for operation in OPERATIONS.values() for service in operation.services}
        data = {
            name
            for name in services
            for module in (seating.services, bookings.services)
            if inspect.isclass(getattr(module, name, None))
        }
        assert raced | set(NO_OPERATION) | data == services
        assert not raced & set(NO_OPERATION)
