"""A house is not prepared to give its tickets away, or to sell none, without anybody having said so."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings


def test_without_anybody_who_takes_the_money_nothing_begins(settings: Settings) -> None:
    settings.PAYMENT_PROVIDERS = []
    with pytest.raises(CommandError, match="Nobody takes the money"):
        call_command("prepare")
