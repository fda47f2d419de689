"""The types of which the shapes of the API are made."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rest_framework import serializers

from cinebook.core.errors import ErrorCode
from cinebook.core.money import in_major_units


class UtcDateTimeField(serializers.DateTimeField):
    """An instant, told in UTC whatever the cinema's clock says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=dt.UTC, **kwargs)


class TextField(serializers.CharField):
    """Text that is text: DRF's own takes numbers and `true` for it too."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text.

        Raises:
            ValidationError: it is something else.
        """
        if not isinstance(data, str):
            self.fail("invalid")
        value: str = super().to_internal_value(data)
        return value


class WholeNumberField(serializers.IntegerField):
    """A number that is a number: DRF's own takes texts and `true` for it too."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number.

        Raises:
            ValidationError: it is something else.
        """
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class MoneySerializer(serializers.Serializer[dict[str, str]]):
    """An amount of money: a decimal number as text, and the ISO 4217 code of its currency."""

    amount = serializers.CharField()
    currency = serializers.CharField()


def money(amount: int, currency: str) -> dict[str, str]:
    """Return an amount as the API tells it.

    Args:
        amount: in minor units.
        currency: its ISO 4217 code.
    """
    return {"amount": str(in_major_units(amount, currency)), "currency": currency}


class ErrorSerializer(serializers.Serializer[dict[str, Any]]):
    """Any error. `detail` is a sentence to show a person; the rest is there where it helps."""

    code = serializers.ChoiceField([(code.value, code.name) for code in ErrorCode])
    detail = serializers.CharField()
    errors = serializers.JSONField(  # type: ignore[assignment] # the error's, not the form field's
        required=False, help_text="What is wrong with the data, field by field."
    )
    seats = serializers.DictField(child=serializers.CharField(), required=False, help_text="Why, seat by seat.")
    alternatives = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Free seats together and near, best first.",
    )
    limit = serializers.IntegerField(required=False, help_text="How many seats a hold may have.")
    retry_after = serializers.IntegerField(required=False, help_text="In seconds.")
