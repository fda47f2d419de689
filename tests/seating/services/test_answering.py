"""A request that names itself is done once and answered once, and its record is there exactly if that was done."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from cinebook.core.errors import ErrorCode, Refusal
from seating.models import Holder, IdempotencyRecord, SeatCategory
from seating.services import (
    Answer,
    Begun,
    NamedRequest,
    Once,
    answer_once,
    answering,
    begin_request,
    forget_old_answers,
    idempotency,
    keep_answer,
    run_sale,
)
from tests.support.asking import refused

pytestmark = pytest.mark.django_db(transaction=True)


class Work:
    """What a request does: it writes a row, and ends as it was told the first times."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.done = 0

    def __call__(self) -> int:
        self.done += 1
        SeatCategory.objects.create(code=f"effect-{self.done}", name="Effect")
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        return self.done


def effects() -> int:
    """How often something was done, and not undone."""
    return SeatCategory.objects.filter(code__startswith="effect").count()


def named(holder: Holder, *, key: str = "one", request_hash: str = "a") -> NamedRequest:
    return NamedRequest(holder_id=holder.pk, key=key, request_hash=request_hash)


def told(number: int) -> Answer:
    return Answer(status=201, body={"z": number, "a": "é"})


def put(refusal: Refusal) -> Answer:
    """As a door puts a refusal."""
    return Answer(status=409, body={"code": refusal.code.value, **refusal.data})


def once(request: NamedRequest, work: Callable[[], Answer]) -> Answer:
    return answer_once(named=request, work=work, refuse=put)


def ask(holder: Holder, work: Work, **given: str) -> Answer:
    """Ask for something that takes one transaction."""
    request = named(holder, **given)
    return once(request, lambda: told(run_sale(work, once=Once(request, told))))


class Purchase:
    """Work that takes two transactions, with a call to somebody between them."""

    def __init__(self, *calls: Any) -> None:
        self.first = Work()
        self.calls = list(calls)
        self.resumed: list[str] = []

    def resume(self, begun: str) -> int:
        self.resumed.append(begun)
        return int(begun)

    def __call__(self, request: NamedRequest) -> Answer:
        begun = run_sale(self.first, once=Once(request, lambda number: Begun(str(number)), self.resume))
        outcome = self.calls.pop(0) if self.calls else None
        if isinstance(outcome, BaseException):
            raise outcome
        return keep_answer(named=request, answer=told(begun))


def buy(holder: Holder, purchase: Purchase, **given: str) -> Answer:
    request = named(holder, **given)
    return once(request, lambda: purchase(request))


@pytest.fixture(params=[ask, buy], ids=["one transaction", "two"])
def way(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    """Ask in either way, for something that works."""

    def done(holder: Holder, work: Work, **given: str) -> Answer:
        if request.param is ask:
            return ask(holder, work, **given)
        purchase = Purchase()
        purchase.first = work
        return buy(holder, purchase, **given)

    return done


def test_the_same_request_has_the_same_answer(ada: Holder, way: Any) -> None:
    work = Work()
    assert way(ada, work) == way(ada, work) == told(1)
    assert effects() == 1


def test_the_order_of_its_fields_too(ada: Holder, way: Any) -> None:
    way(ada, Work())
    assert list(way(ada, Work()).body) == ["z", "a"]


def test_another_key_and_another_holder_are_other_requests(ada: Holder, ben: Holder, way: Any) -> None:
    work = Work()
    assert [way(ada, work), way(ada, work, key="two"), way(ben, work)] == [told(1), told(2), told(3)]


def test_the_same_key_for_another_request_is_refused(ada: Holder, way: Any) -> None:
    work = Work()
    way(ada, work)
    with refused(ErrorCode.IDEMPOTENCY_MISMATCH):
        way(ada, work, request_hash="b")
    assert effects() == 1


def test_a_holder_who_is_no_more_is_told(ada: Holder, way: Any) -> None:
    ada.delete()
    with refused(ErrorCode.NOT_AUTHENTICATED):
        way(ada, Work())
    assert not IdempotencyRecord.objects.exists()


def test_a_refusal_is_an_answer_and_changes_nothing(ada: Holder) -> None:
    work = Work(Refusal(ErrorCode.SEAT_HELD, seats={"A1": ErrorCode.SEAT_HELD}))
    first = ask(ada, work)
    assert first == Answer(status=409, body={"code": "seat_held", "seats": {"A1": "seat_held"}})
    assert ask(ada, work) == first
    assert (work.done, effects()) == (1, 0)


def test_so_is_one_that_comes_before_any_transaction(ada: Holder) -> None:
    def refuse() -> Answer:
        raise Refusal(ErrorCode.HOLD_EXPIRED)

    first = once(named(ada), refuse)
    assert first == put(Refusal(ErrorCode.HOLD_EXPIRED))
    assert ask(ada, Work()) == first
    assert effects() == 0


PASSING = [
    Refusal(ErrorCode.UNAVAILABLE, retry_after=5),
    Refusal(ErrorCode.SERVER_ERROR),
    Refusal(ErrorCode.SEAT_LOCKED, retry_after=1),
    Refusal(ErrorCode.SEAT_LOCKED),
    Refusal(ErrorCode.NOT_AUTHENTICATED),
]


@pytest.mark.parametrize("failure", [*PASSING, ValueError("what nobody foresaw"), OperationalError("gone")])
def test_what_may_work_in_a_moment_is_no_answer(ada: Holder, failure: Exception) -> None:
    work = Work(failure)
    with pytest.raises(type(failure)):
        ask(ada, work)
    assert not IdempotencyRecord.objects.exists()
    assert ask(ada, work).status == 201
    assert effects() == 1


class Killed(BaseException):
    """The process dies here."""


def die(*_args: Any) -> None:
    raise Killed


def test_who_dies_before_the_answer_is_written_has_done_nothing(ada: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "keep", die)
    with pytest.raises(Killed):
        ask(ada, Work())
    assert (effects(), IdempotencyRecord.objects.count()) == (0, 0)
    monkeypatch.undo()
    assert ask(ada, Work()) == told(1)


def test_who_dies_right_after_the_commit_has_done_it_and_said_so(ada: Holder) -> None:
    with pytest.raises(Killed):
        once(named(ada), lambda: die(run_sale(Work(), once=Once(named(ada), told))))
    work = Work()
    assert ask(ada, work) == told(1)
    assert (work.done, effects()) == (0, 1)


class TestTwoTransactions:
    @pytest.mark.parametrize("failure", PASSING)
    def test_what_was_begun_is_gone_on_with_at_once(self, ada: Holder, failure: Refusal) -> None:
        purchase = Purchase(failure)
        with refused(failure.code):
            buy(ada, purchase)
        assert buy(ada, purchase) == buy(ada, purchase) == told(1)
        assert (effects(), purchase.resumed) == (1, ["1"])

    def test_a_refusal_after_the_call_is_the_answer(self, ada: Holder) -> None:
        purchase = Purchase(Refusal(ErrorCode.PAYMENT_DECLINED))
        assert buy(ada, purchase) == buy(ada, purchase) == put(Refusal(ErrorCode.PAYMENT_DECLINED))
        assert (effects(), purchase.resumed) == (1, [])

    def test_a_process_that_died_is_followed_after_a_moment(self, ada: Holder) -> None:
        purchase = Purchase(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            buy(ada, purchase)
        IdempotencyRecord.objects.update(attempted_at=timezone.now() - dt.timedelta(seconds=6))
        assert buy(ada, purchase) == told(1)
        assert (effects(), purchase.resumed) == (1, ["1"])

    def test_two_who_go_on_with_it_give_one_answer(self, ada: Holder) -> None:
        """The first was only slow: when it comes to its answer, there is one."""
        request = named(ada)
        purchase = Purchase()

        def slow() -> Answer:
            run_sale(purchase.first, once=Once(request, lambda number: Begun(str(number)), purchase.resume))
            IdempotencyRecord.objects.update(attempted_at=timezone.now() - dt.timedelta(seconds=6))
            assert buy(ada, purchase) == told(1)
            return keep_answer(named=request, answer=Answer(200, "what the slow one would have said"))

        assert once(request, slow) == told(1)
        assert effects() == 1

    def test_what_may_be_done_again_is_done_again(self, ada: Holder) -> None:
        """Such as cancelling: the record only keeps others waiting, and the answer."""
        request, work = named(ada), Work(KeyboardInterrupt())

        def cancel() -> Answer:
            begin_request(named=request, begun="BK-1")
            return keep_answer(named=request, answer=told(work()))

        with pytest.raises(KeyboardInterrupt):
            once(request, cancel)
        IdempotencyRecord.objects.update(attempted_at=timezone.now() - dt.timedelta(seconds=6))
        assert once(request, cancel) == once(request, cancel) == told(2)
        assert work.done == 2


class TestWaiting:
    @pytest.fixture
    def under_way(self, ada: Holder) -> IdempotencyRecord:
        """Somebody is between the two transactions."""
        return IdempotencyRecord.objects.create(holder=ada, key="one", request_hash="a", begun="7")

    def meanwhile(self, monkeypatch: pytest.MonkeyPatch, happening: Callable[[], object]) -> None:
        """Let something happen while a request waits."""
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: happening())
        monkeypatch.setattr(answering, "time", clock)

    def test_for_the_answer(self, ada: Holder, under_way: IdempotencyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
        answered = IdempotencyRecord.objects.filter(pk=under_way.pk)
        self.meanwhile(monkeypatch, lambda: answered.update(status=201, body='{"number": 7}'))
        assert buy(ada, Purchase()) == Answer(201, {"number": 7})
        assert effects() == 0

    def test_until_somebody_has_to_go_on(
        self, ada: Holder, under_way: IdempotencyRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.meanwhile(monkeypatch, lambda: idempotency.leave_to_others(named(ada)))
        purchase = Purchase()
        assert buy(ada, purchase) == told(7)
        assert (effects(), purchase.resumed) == (0, ["7"])

    def test_not_for_long(self, ada: Holder, under_way: IdempotencyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(answering, "PATIENCE", 0)
        with refused(ErrorCode.SEAT_LOCKED) as data:
            buy(ada, Purchase())
        assert data == {"retry_after": 1}
        with refused(ErrorCode.IDEMPOTENCY_MISMATCH):
            buy(ada, Purchase(), request_hash="b")
        assert effects() == 0


def test_answers_are_kept_for_a_day(ada: Holder) -> None:
    ask(ada, Work())
    IdempotencyRecord.objects.create(
        holder=ada, key="old", request_hash="a", created_at=timezone.now() - dt.timedelta(hours=24, seconds=1)
    )
    assert forget_old_answers() == 1
    assert IdempotencyRecord.objects.get().key == "one"
