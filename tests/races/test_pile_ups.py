"""Three at once on one seat: whatever wins, nothing is lost, doubled or half done, and nobody deadlocks."""

from __future__ import annotations

import itertools

import pytest

from tests.races.playing import assert_nothing_is_left_to_repair, at_the_same_moment, one_after_the_other
from tests.support.buying import FlakyDemo
from tests.support.cleaning import delete_everything

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("threads")]

PILE_UPS = {
    ("lapsed", "hold", "expire", "pay"): {"Ben's", "free"},
    ("expired", "hold", "expire", "captured late"): {"Ben's, refunded", "sold to Ada, confirmed"},
    ("over", "hold", "window over", "captured"): {
        "Ben's, expired",
        "free, expired",
        "sold to Ada, confirmed",
    },
    # Who is halfway into a payment when the bookings are looked for is found by the next who looks.
    ("held", "call off", "pay", "hold"): {
        "free, called off",
        "free, cancelled, called off",
        "Ada's, paying, pending, called off",
    },
    ("held", "sign in", "pay", "release"): {"Dora's", "free", "Ada's, paying, pending"},
    ("held", "withdraw", "block", "buy a part"): {"free", "blocked", "sold to Ada, confirmed"},
    ("confirmed", "cancel", "hold", "block"): {"free, refunded", "Ben's, refunded", "blocked, refunded"},
    ("free", "hold", "remove", "stop"): {"Ben's, stopped", "Ben's", "gone", "free, stopped"},
}


@pytest.mark.parametrize(("stage", "works"), [(stage, works) for stage, *works in PILE_UPS], ids=str)
class TestPileUps:
    @pytest.mark.usefixtures("without_redis")
    def test_in_every_order(self, stage: str, works: list[str], provider: FlakyDemo) -> None:
        for order in itertools.permutations(works):
            told = one_after_the_other(stage, order, "seat", provider)
            assert told.partition(": ")[2] in PILE_UPS[stage, *works], (order, told)
            assert_nothing_is_left_to_repair()
            delete_everything(None)

    def test_at_the_same_moment(self, stage: str, works: list[str], provider: FlakyDemo) -> None:
        told = at_the_same_moment(stage, works, provider)
        assert told.partition(": ")[2] in PILE_UPS[stage, *works], told
        assert_nothing_is_left_to_repair()
