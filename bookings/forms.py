"""What people type on the pages of accounts and of buying."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UserCreationForm
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from cinebook.core.models import User
from cinebook.core.rate_limits import SIGN_INS, count_request

# No name of an account is longer; what is longer counts as the same guess.
LONGEST_NAME = 150


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
        self.fields["password1"].help_text = _("At least 8 characters, not only digits, and nothing that many others use.")

    def save_unless_taken(self) -> User | None:
        """Make the account; None, and an error at its name, if somebody else was quicker to take it."""
        try:
            with transaction.atomic():
                return self.save()
        except IntegrityError:
            self.add_error("username", _("A user with that username already exists."))
            return None


class NewPasswordForm(PasswordChangeForm):  # type: ignore[type-arg]
    """The old password, and a new one, twice."""

    error_messages = {
        **PasswordChangeForm.error_messages,
        "password_incorrect": _("That is not your old password. Please try again."),
    }
