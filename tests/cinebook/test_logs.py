"""What must not stand in a log."""

from __future__ import annotations

import logging

import pytest
import structlog

from cinebook.core import logs


def test_the_key_in_the_link_of_a_mail_is_not_logged() -> None:
    line = logs.without_secrets(None, "info", {"request": "GET /bookings/BK-0123456789/opened/c5x-8a9b7c/"})
    assert line == {"request": "GET /bookings/BK-0123456789/opened/…/"}


def test_the_secret_of_a_link_for_a_new_password_is_not_logged() -> None:
    line = logs.without_secrets(None, "info", {"request": "GET /accounts/password/reset/MQ/c5x-8a9b7c/", "code": 302})

    assert line == {"request": "GET /accounts/password/reset/MQ/…/", "code": 302}


def test_every_line_goes_that_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert logs.without_secrets in logs.SHARED
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    assert logs.without_secrets in handler.formatter.foreign_pre_chain
