"""A notice counts only if whoever shares the secret signed these very bytes, just now."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from bookings.payments.signatures import TOLERANCE, is_signed, signature

SECRET, BODY, NOW = "s3cret", b'{"id": "evt_1"}', 1_800_000_000
GOOD = signature(secret=SECRET, body=BODY, at=NOW)


def good(header: str = GOOD, *, secret: str = SECRET, body: bytes = BODY, now: float = NOW) -> bool:
    return is_signed(header, secret=secret, body=body, now=now)


def test_it_is_stripe_s_scheme() -> None:
    digest = hmac.new(b"s3cret", b'1800000000.{"id": "evt_1"}', hashlib.sha256).hexdigest()
    assert f"t=1800000000,v1={digest}" == GOOD
    assert good()


def test_one_of_several_signatures_is_enough() -> None:
    timestamp, _comma, v1 = GOOD.partition(",")
    assert good(f"{timestamp}, v1={'0' * 64}, {v1}, v0=old")


@pytest.mark.parametrize(("age", "fresh"), [(TOLERANCE, True), (TOLERANCE + 1, False), (-TOLERANCE - 1, False)])
def test_it_must_be_fresh(age: int, *, fresh: bool) -> None:
    assert good(now=NOW + age) is fresh


def test_another_secret_body_or_time_is_another_signature() -> None:
    assert not good(secret="other")
    assert not good(body=BODY + b" ")
    assert not good(GOOD.replace(f"t={NOW}", f"t={NOW + 1}"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        f"t={NOW}",
        f"t={NOW},v1=",
        f"t={NOW},v1=ümlaut",
        "t=soon,v1=0",
        f"t=-{NOW},v1=0",
        f"t=٣,{GOOD.partition(',')[2]}",
        f"t={'9' * 5000},v1=0",
        GOOD.partition(",")[2],
        GOOD.replace("v1", "v0"),
    ],
)
def test_what_is_no_signature_is_none(header: str) -> None:
    assert not good(header)
