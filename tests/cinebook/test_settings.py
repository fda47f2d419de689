"""Nonsense in the environment is refused at the start, by name and in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cinebook import settings

ROOT = Path(settings.__file__).parent.parent


def start_with(look: str = "print('started')", **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process of their own with nothing else in the environment, and look at them."""
    return subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {look}"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "cinebook.settings",
            "CINEBOOK_DATA_DIR": "/nonexistent",
            "SECRET_KEY": "some-key",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_defaults_start() -> None:
    assert start_with().stdout == "started\n"


def test_a_secret_may_contain_anything() -> None:
    look = "from django.conf import settings; print(settings.SECRET_KEY)"

    assert start_with(look, SECRET_KEY="$tart #1 'now'").stdout == "$tart #1 'now'\n"


def test_what_is_empty_counts_as_not_set() -> None:
    assert start_with(SEAT_HOLD_SECONDS="", ALLOWED_HOSTS="", TIME_ZONE="").stdout == "started\n"


def test_the_key_of_make_run_is_not_used_for_another_database(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("made-once\n")
    data = {"SECRET_KEY": "", "CINEBOOK_DATA_DIR": str(tmp_path)}

    assert start_with(**data).stdout == "started\n"
    refusal = start_with(**data, DATABASE_URL="postgresql://db.example/house")
    assert "SECRET_KEY is not set" in refusal.stderr


@pytest.mark.parametrize(("process", "pooled"), [({"CINEBOOK_PROCESS": "web"}, "True"), ({}, "False")])
def test_only_web_processes_pool_their_connections(process: dict[str, str], pooled: str) -> None:
    look = "from django.conf import settings; print('pool' in settings.DATABASES['default']['OPTIONS'])"

    assert start_with(look, **process).stdout == f"{pooled}\n"
    assert start_with(look, DATABASE_POOL="off", **process).stdout == "False\n"


STRIPE = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRETS": "whsec_old, whsec_new"}
LIVE = {**STRIPE, "STRIPE_SECRET_KEY": "sk_live_1", "SITE_URL": "https://tickets.example"}


@pytest.mark.parametrize(
    ("environment", "offered"),
    [
        ({}, []),
        ({"DEMO_CINEMA": "on"}, ["demo"]),
        ({"PAYMENT_PROVIDERS": "demo"}, ["demo"]),
        (STRIPE, ["stripe"]),
        ({**STRIPE, "DEMO_CINEMA": "on"}, ["stripe", "demo"]),
        ({**STRIPE, "PAYMENT_PROVIDERS": "demo, stripe"}, ["demo", "stripe"]),
        (LIVE, ["stripe"]),
        ({**LIVE, "DEMO_CINEMA": "on"}, ["stripe"]),
    ],
)
def test_nobody_gives_tickets_away_without_having_said_so(environment: dict[str, str], offered: list[str]) -> None:
    look = "from django.conf import settings; print(settings.PAYMENT_PROVIDERS)"

    assert start_with(look, **environment).stdout == f"{offered}\n"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"PAYMENT_PROVIDERS": "cash"}, "PAYMENT_PROVIDERS may name demo and stripe, not 'cash'"),
        ({"PAYMENT_PROVIDERS": "demo,demo"}, "PAYMENT_PROVIDERS may name demo and stripe"),
        ({"PAYMENT_PROVIDERS": "stripe"}, "STRIPE_SECRET_KEY must be set"),
        ({**LIVE, "PAYMENT_PROVIDERS": "stripe,demo"}, "beside a live key"),
        ({**STRIPE, "STRIPE_SECRET_KEY": "pk_test_1"}, "STRIPE_SECRET_KEY must be a secret key"),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRETS": " , "}, "STRIPE_WEBHOOK_SECRETS must say"),
        ({**LIVE, "SITE_URL": "http://tickets.example"}, "wants SITE_URL to be where buyers come back"),
        ({**STRIPE, "PAYMENT_SECONDS": "82801"}, "PAYMENT_SECONDS must be at most 82800"),
        ({"STRIPE_API_BASE": "api.stripe.com"}, "STRIPE_API_BASE must be an address"),
        ({"SITE_URL": "tickets.example"}, "SITE_URL must be an address"),
    ],
)
def test_payments_that_could_not_work_are_refused(environment: dict[str, str], reason: str) -> None:
    assert reason in start_with(**environment).stderr


@pytest.mark.parametrize(
    ("environment", "leads"), [({}, "['self']"), (STRIPE, "['self', 'https://checkout.stripe.com']")]
)
def test_a_form_may_lead_to_stripe_where_it_is_offered(environment: dict[str, str], leads: str) -> None:
    look = (
        "from django.conf import settings;"
        "print([to.strip(chr(39)) for to in settings.CONTENT_SECURITY_POLICY['DIRECTIVES']['form-action']])"
    )

    assert start_with(look, **environment).stdout == f"{leads}\n"


def test_a_hold_may_be_as_short_as_two_seconds() -> None:
    assert start_with(SEAT_HOLD_SECONDS="2", SEAT_HOLD_MAX_SECONDS="6").stdout == "started\n"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SEAT_HOLD_SECONDS", "1", "SEAT_HOLD_SECONDS must be a whole number from 2"),
        ("SEAT_HOLD_SECONDS", "soon", "SEAT_HOLD_SECONDS must be a whole number"),
        ("SEAT_HOLD_SECONDS", "5000", "SEAT_HOLD_MAX_SECONDS (2700) must not be below SEAT_HOLD_SECONDS (5000)"),
        ("PAYMENT_SECONDS", "-3", "PAYMENT_SECONDS must be a whole number"),
        ("MAX_SEATS_PER_HOLD", "0", "MAX_SEATS_PER_HOLD must be a whole number from 1"),
        ("RATE_LIMITS", "perhaps", "RATE_LIMITS must be on or off"),
        ("DEBUG", "2", "DEBUG must be on or off"),
        ("CURRENCY", "euro", "CURRENCY must be an ISO 4217 code"),
        ("TIME_ZONE", "Mars/Olympus", "TIME_ZONE must be a name such as Europe/Berlin"),
        ("SITE_URL", "tickets.example", "SITE_URL must be an address such as https://tickets.example"),
        ("SITE_URL", "https://tickets.example/cinema", "SITE_URL must be an address"),
        ("CORS_ORIGINS", "tickets.example", "CORS_ORIGINS holds origins such as https://"),
        ("DATABASE_URL", "sqlite:///house.db", "DATABASE_URL must begin with postgresql://"),
        ("REDIS_URL", "memcached://host", "REDIS_URL must begin with redis://"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be"),
        ("SECRET_KEY", "", "SECRET_KEY is not set"),
    ],
)
def test_nonsense_is_refused(name: str, value: str, reason: str) -> None:
    refusal = start_with(**{name: value})

    assert refusal.returncode != 0
    assert f"ImproperlyConfigured: {reason}" in refusal.stderr
