"""Controls: the same races with a guard removed, which must be seen to be lost: so the matrix can fail."""

from __future__ import annotations

import pytest
from django.db import DatabaseError

from tests.races.matrix import LINES
from tests.races.operations import OPERATIONS
from tests.races.playing import assert_nothing_is_left_to_repair, one_after_the_other
from tests.support.buying import FlakyDemo
from tests.support.mutants import MutantLost, planted

# The guard that is removed; the stage; who comes first, and who comes second and must notice; where they meet.
CONTROLS = (
    ("redis_lock_is_proof", "free", "hold", "hold best", "seat"),
    ("redis_lock_is_proof", "free", "block", "hold", "seat"),
    ("takeover_of_a_paying_seat", "over", "hold", "window over", "seat"),
    ("change_of_a_paying_hold", "held", "pay", "pick", "hold"),
    ("change_of_a_paying_hold", "held", "pay", "extend", "hold"),
    ("change_of_a_paying_hold", "held", "buy a part", "release", "hold"),
    ("leaving_a_paying_hold", "paying", "leave", "declined", "commit"),
    ("let_go_without_looking_again", "held", "visit", "let go", "hold"),
    ("let_go_without_looking_again", "held", "seen", "let go", "commit"),
    ("expiry_of_a_paying_hold", "over", "expire", "window over", "seat"),
    ("sign_in_moves_what_is_paid", "held", "pay", "sign in", "hold"),
    ("notice_heard_twice", "paying", "captured", "captured", "payment"),
    ("change_of_a_paying_hold", "paying", "release", "declined", "seat"),
    ("change_of_a_paying_hold", "paying", "release", "give up", "seat"),
    ("notice_heard_twice", "paying", "captured", "ask", "payment"),
    ("settled_without_looking_again", "confirmed", "cancel", "house cancels", "commit"),
    ("late_payment_takes_anothers_seat", "expired", "hold", "captured late", "seat"),
    ("refund_carried_out_twice", "due", "refund", "refund", "payment"),
    ("refund_carried_out_twice", "due", "refund", "reconcile", "commit"),
    ("seats_read_without_their_lock", "free", "hold", "block", "commit"),
    ("seats_read_without_their_lock", "free", "unblock", "unblock", "commit"),
    ("hold_withdrawn_unlocked", "held", "pay", "withdraw", "commit"),
    ("sale_at_a_closed_counter", "free", "stop", "hold", "counter"),
    ("sale_at_a_closed_counter", "free", "call off", "hold", "counter"),
    ("showtime_unlocked", "free", "call off", "resume", "commit"),
    ("showtime_unlocked", "free", "call off", "change", "commit"),
    ("counter_unlocked", "free", "hold", "change film", "counter"),
    ("counter_unlocked", "bare", "hold", "remove", "commit"),
    ("seats_made_while_the_showtime_goes", "bare", "remove", "make seats", "commit"),
)


def play(stage: str, first: str, second: str, meet_at: str, provider: FlakyDemo) -> None:
    told = one_after_the_other(stage, [first, second], meet_at, provider)
    assert_nothing_is_left_to_repair()
    line = next(line for line in LINES if (line.stage, {line.first, line.second}) == (stage, {first, second}))
    assert told in (line.first_wins if line.first == first else line.second_wins)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("threads", "without_redis")
@pytest.mark.parametrize("control", CONTROLS, ids=", ".join)
class TestControls:
    def test_with_the_guard_it_is_as_the_matrix_says(self, control: tuple[str, ...], provider: FlakyDemo) -> None:
        _mutant, *race = control
        play(*race, provider)

    def test_without_it_somebody_notices(self, control: tuple[str, ...], provider: FlakyDemo) -> None:
        mutant, *race = control
        # By a wrong outcome or a broken invariant; or by the other guard, a constraint that knows nothing of this one.
        with planted(mutant), pytest.raises((AssertionError, DatabaseError)) as noticed:
            play(*race, provider)
        assert not isinstance(noticed.value, MutantLost)


def test_no_operation_is_without_a_control() -> None:
    assert {name for control in CONTROLS for name in control[2:4]} == set(OPERATIONS)
