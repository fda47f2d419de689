"""A request that names itself is answered once."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from bookings.models import IdempotencyRecord
from bookings.services import Answer, answer_once, forget_old_answers, idempotency
from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder
from tests.support.asking import refused

pytestmark = pytest.mark.django_db(transaction=True)


class Work:
    """What a request does; it counts, and does what it was told the first times."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.done = 0

    def __call__(self) -> Answer:
        self.done += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        return Answer(status=201, body={"number": self.done})


def ask(holder: Holder, work: Work, *, key: str = "one", request_hash: str = "a") -> Answer:
    return answer_once(holder_id=holder.pk, key=key, request_hash=request_hash, work=work)


def test_the_same_request_has_the_same_answer(ada: Holder) -> None:
    work = Work()
    assert ask(ada, work) == ask(ada, work) == Answer(201, {"number": 1})
    assert work.done == 1


def test_another_key_and_another_holder_are_other_requests(ada: Holder, ben: Holder) -> None:
    work = Work()
    assert [ask(ada, work).body, ask(ada, work, key="two").body, ask(ben, work).body] == [
        {"number": number} for number in (1, 2, 3)
    ]


def test_the_same_key_for_another_request_is_refused(ada: Holder) -> None:
    work = Work()
    ask(ada, work)
    with refused(ErrorCode.IDEMPOTENCY_MISMATCH):
        ask(ada, work, request_hash="b")
    assert work.done == 1


def test_a_refusal_is_an_answer(ada: Holder) -> None:
    work = Work(Refusal(ErrorCode.PAYMENT_DECLINED))
    first = ask(ada, work)
    assert (first.status, first.body["code"]) == (402, "payment_declined")
    assert ask(ada, work) == first
    assert work.done == 1


@pytest.mark.parametrize(
    "failure",
    [
        Refusal(ErrorCode.UNAVAILABLE, retry_after=5),
        Refusal(ErrorCode.SERVER_ERROR),
        Refusal(ErrorCode.SEAT_LOCKED, retry_after=1),
        ValueError("what nobody foresaw"),
    ],
)
def test_what_may_work_in_a_moment_is_forgotten(ada: Holder, failure: Exception) -> None:
    work = Work(failure)
    with pytest.raises(type(failure)):
        ask(ada, work)
    assert not IdempotencyRecord.objects.exists()
    assert ask(ada, work).status == 201


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return what sets something that happens while a request waits."""

    def set_up(happening: Callable[[], object]) -> None:
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: happening())
        monkeypatch.setattr(idempotency, "time", clock)

    return set_up


def test_a_second_request_waits_for_the_answer_of_the_first(ada: Holder, meanwhile: Any) -> None:
    first = IdempotencyRecord.objects.create(holder=ada, key="one", request_hash="a")
    work = Work()
    meanwhile(lambda: IdempotencyRecord.objects.filter(pk=first.pk).update(status=201, body={"number": 7}))
    assert ask(ada, work) == Answer(201, {"number": 7})
    assert work.done == 0


def test_when_the_first_comes_to_nothing_the_second_does_it(ada: Holder, meanwhile: Any) -> None:
    first = IdempotencyRecord.objects.create(holder=ada, key="one", request_hash="a")
    meanwhile(first.delete)
    assert ask(ada, Work()).status == 201


def test_nobody_waits_long(ada: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE", 0)
    IdempotencyRecord.objects.create(holder=ada, key="one", request_hash="a")
    with refused(ErrorCode.SEAT_LOCKED) as data:
        ask(ada, Work())
    assert data == {"retry_after": 1}
    with refused(ErrorCode.IDEMPOTENCY_MISMATCH):
        ask(ada, Work(), request_hash="b")


def test_the_request_of_a_process_that_died_is_taken_over(ada: Holder) -> None:
    IdempotencyRecord.objects.create(
        holder=ada, key="one", request_hash="a", attempted_at=timezone.now() - dt.timedelta(seconds=6)
    )
    assert ask(ada, Work()).status == 201
    assert IdempotencyRecord.objects.get().status == 201


def test_who_was_overtaken_and_fails_leaves_the_key_to_whoever_is_at_it(ada: Holder) -> None:
    def overtaken() -> Answer:
        IdempotencyRecord.objects.update(attempted_at=timezone.now())
        raise Refusal(ErrorCode.SEAT_LOCKED, retry_after=1)

    with refused(ErrorCode.SEAT_LOCKED):
        answer_once(holder_id=ada.pk, key="one", request_hash="a", work=overtaken)
    with refused(ErrorCode.IDEMPOTENCY_MISMATCH):
        ask(ada, Work(), request_hash="b")


def test_answers_are_kept_for_a_day(ada: Holder) -> None:
    ask(ada, Work())
    ask(ada, Work(), key="old")
    IdempotencyRecord.objects.filter(key="old").update(created_at=timezone.now() - dt.timedelta(hours=24, seconds=1))

    assert forget_old_answers() == 1
    assert IdempotencyRecord.objects.get().key == "one"
