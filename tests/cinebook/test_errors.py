"""Every error has a look, and the look is the contract's."""

from __future__ import annotations

import pytest

from cinebook.core.error_responses import ERRORS, MAX_NAMED, error_body
from cinebook.core.errors import SEAT_CODES, ErrorCode, Refusal, SeatsRefused

HELD, SOLD, BLOCKED, LOCKED = (
    ErrorCode.SEAT_HELD,
    ErrorCode.SEAT_BOOKED,
    ErrorCode.SEAT_BLOCKED,
    ErrorCode.SEAT_LOCKED,
)
STATUSES = {
    400: {"invalid_data", "unknown_seat", "too_many_seats"},
    401: {"not_authenticated"},
    402: {"payment_declined"},
    403: {"permission_denied", "csrf_failed"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    409: {
        "seat_locked", "seat_held", "seat_booked", "seat_blocked", "hold_paying", "not_on_sale", "not_cancellable",
    },
    410: {"hold_expired"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    422: {"idempotency_mismatch"},
    429: {"rate_limited"},
    500: {"server_error"},
    503: {"unavailable"},
}  # fmt: skip


def test_every_code_has_the_status_of_the_contract() -> None:
    assert {code.value: ERRORS[code].status for code in ErrorCode} == {
        code: status for status, codes in STATUSES.items() for code in codes
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_sentence_for_a_person(code: ErrorCode) -> None:
    body = error_body(Refusal(code))
    assert body["code"] == code.value
    assert body["detail"][0].isupper()
    assert body["detail"].endswith(".")


@pytest.mark.parametrize(
    ("reasons", "first"),
    [
        ([HELD, SOLD, BLOCKED, LOCKED], SOLD),
        ([LOCKED, HELD, BLOCKED], BLOCKED),
        ([LOCKED, HELD], HELD),
        ([LOCKED], LOCKED),
    ],
)
def test_of_several_reasons_the_first_of_the_contract_counts(reasons: list[ErrorCode], first: ErrorCode) -> None:
    refusal = SeatsRefused({f"A{number}": reason for number, reason in enumerate(reasons)})
    assert refusal.code is first


def test_the_order_is_the_contracts() -> None:
    assert SEAT_CODES == (SOLD, BLOCKED, HELD, LOCKED)


def test_the_sentence_names_the_seats_that_it_is_about() -> None:
    body = error_body(SeatsRefused({"A1": HELD, "A2": SOLD, "A3": SOLD}, [("B1", "B2")]))

    assert body["detail"].startswith("A2, A3: Already sold.")
    assert body["seats"] == {"A1": HELD, "A2": SOLD, "A3": SOLD}
    assert body["alternatives"] == [["B1", "B2"]]


def test_but_not_endlessly_many() -> None:
    body = error_body(SeatsRefused({f"A{number}": HELD for number in range(100)}))
    assert body["detail"].count("A") == MAX_NAMED


def test_a_sentence_of_its_own_wins() -> None:
    body = error_body(Refusal(HELD, "Come back tomorrow.", seats={"A1": HELD}, retry_after=3))
    assert body == {"code": "seat_held", "detail": "Come back tomorrow.", "seats": {"A1": HELD}, "retry_after": 3}
