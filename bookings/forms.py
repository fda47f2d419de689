"""What people type on the pages of accounts and of buying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UserCreationForm
from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from cinebook.core.models import User
from cinebook.core.rate_limits import SIGN_INS, count_request

# No name of an account is longer; what is longer counts as the same guess.
LONGEST_NAME = 150
# As long as the columns of a booking and of a ticket.
LONGEST_CONTACT = 200
LONGEST_ADDRESS = 254
LONGEST_ATTENDEE = 100
ONE_LINE = RegexValidator(r"\A[^\x00-\x1f\x7f]*\Z", _("This must be a single line of text."))

# The ways to pay that each provider has, by the name of their choice: its token, and what the buyer reads.
WAYS_TO_PAY = {
    "stripe": {"stripe": ("", _("Card and more, on the page of Stripe"))},
    "demo": {
        "succeed": ("succeed", _("Demonstration: the payment succeeds")),
        "decline": ("decline", _("Demonstration: the payment is declined")),
        "stall": ("stall", _("Demonstration: the bank takes its time")),
    },
}


class SignInForm(AuthenticationForm):
    """A name and its password."""

    error_messages = {
        "invalid_login": _("That name and password do not belong together. Please check both."),
        "inactive": _("This account is closed."),
    }

    def clean(self) -> dict[str, Any]:
        """Compare both, unless too many were tried.

        Raises:
            Refusal: `rate_limited`; counted together with the sign-ins of the API.
        """
        name = self.cleaned_data.get("username")
        if name and self.request:
            count_request(SIGN_INS, f"{self.request.META['REMOTE_ADDR']} {name[:LONGEST_NAME]}")
        return super().clean()


class SignUpForm(UserCreationForm):  # type: ignore[type-arg] # Django knows no brackets here
    """A name, an address for the tickets, and a password, twice."""

    email = forms.EmailField(
        label=_("E-mail"),
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text=_("For your tickets, and if you forget your password."),
    )

    class Meta(UserCreationForm.Meta):
        model = User
        fields = ("username", "email")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].help_text = _("Letters, digits and @ . + - _")
        self.fields["password2"].label = _("The same password again")
        self.fields["password2"].help_text = ""
        # Django's own help is a list; this says it in a sentence.
        self.fields["password1"].help_text = _(
            "At least 8 characters, not only digits, and nothing that many others use."
        )

    def save_unless_taken(self) -> User | None:
        """Make the account; None, and an error at its name, if somebody else was quicker to take it."""
        try:
            with transaction.atomic():
                user: User = self.save()
                return user
        except IntegrityError:
            self.add_error("username", _("A user with that username already exists."))
            return None


class NewPasswordForm(PasswordChangeForm):
    """The old password, and a new one, twice."""

    error_messages = {
        **PasswordChangeForm.error_messages,
        "password_incorrect": _("That is not your old password. Please try again."),
    }


class CheckoutForm(forms.Form):
    """Who the tickets are for, and how they are paid: there is a choice where the house offers several ways.

    Args:
        seats: the codes of the seats that are bought; each may get the name of who will sit there.
    """

    # The codes that the buyer saw when they pressed the button.
    shown = forms.CharField(required=False)
    name = forms.CharField(
        label=_("Name"),
        max_length=LONGEST_CONTACT,
        validators=[ONE_LINE],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    email = forms.EmailField(
        label=_("E-mail"),
        max_length=LONGEST_ADDRESS,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        help_text=_("So that the house can write to you if something changes."),
    )

    def __init__(self, *args: Any, seats: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ways = {
            choice: (provider, token, label)
            for provider in settings.PAYMENT_PROVIDERS
            for choice, (token, label) in WAYS_TO_PAY[provider].items()
        }
        self.fields["payment"] = forms.ChoiceField(
            label=_("Payment"),
            choices=[(choice, label) for choice, (_provider, _token, label) in self._ways.items()],
            initial=next(iter(self._ways), None),
            # Where there is one way, it need not be said.
            required=len(self._ways) != 1,
            widget=forms.RadioSelect,
        )
        self.seats = tuple(seats)
        for code in self.seats:
            for part, label in (("first", _("First name")), ("last", _("Last name"))):
                # Nobody's browser can know who sits where.
                self.fields[f"{part}-{code}"] = forms.CharField(
                    label=label,
                    required=False,
                    max_length=LONGEST_ATTENDEE,
                    validators=[ONE_LINE],
                    widget=forms.TextInput(attrs={"autocomplete": "off"}),
                )

    def clean(self) -> dict[str, Any]:
        """Nobody pays for seats that they were not shown: another tab may have changed the hold meanwhile."""
        cleaned: dict[str, Any] = super().clean() or {}
        shown = cleaned.get("shown", "").split()
        if shown and shown != list(self.seats):
            raise forms.ValidationError(_("Your seats have changed meanwhile. Please look at them, and pay again."))
        return cleaned

    @property
    def is_demonstration(self) -> bool:
        """Whether no way to pay moves money."""
        return all(provider == "demo" for provider, _token, _label in self._ways.values())

    @property
    def ways_to_pay(self) -> int:
        """How many there are."""
        return len(self._ways)

    @property
    def provider_and_token(self) -> tuple[str, str]:
        """Who takes the money, and what is told to them; of a form that is valid."""
        choice = self.cleaned_data["payment"] or next(iter(self._ways))
        provider, token, _label = self._ways[choice]
        return provider, token

    @property
    def attendee_fields(self) -> list[tuple[str, forms.BoundField, forms.BoundField]]:
        """Each seat's code with its two fields."""
        return [(code, self[f"first-{code}"], self[f"last-{code}"]) for code in self.seats]

    @property
    def attendees_wrong(self) -> bool:
        """Whether a name of somebody is the matter."""
        return any(name.startswith(("first-", "last-")) for name in self.errors)

    @property
    def attendees(self) -> list[dict[str, str]]:
        """Who sits where, for those seats for which somebody was named; of a form that is valid."""
        named = [
            {
                "seat": code,
                "first_name": self.cleaned_data[f"first-{code}"],
                "last_name": self.cleaned_data[f"last-{code}"],
            }
            for code in self.seats
        ]
        return [names for names in named if names["first_name"] or names["last_name"]]
