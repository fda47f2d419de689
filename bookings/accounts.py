"""Signing up, in and out, and passwords: Django's own views and forms, in the clothes of the house.

Not allauth: it brings much that nobody here asked for, and its rate limits sit in the cache and fail with it. They are
here, and not in the core, because who signs in brings along what they held and bought as a guest.
"""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.contrib.auth import login, views
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from bookings.forms import NewPasswordForm, SignInForm, SignUpForm
from bookings.identity import visitor
from cinebook.core.rate_limits import PASSWORD_MAILS, SIGN_INS, count_request
from seating.identity import claimant_of_session
from seating.services import leave, stay

# The id of a showtime, as PostgreSQL can compare it.
A_SHOWTIME = re.compile(r"[0-9]{1,18}", re.ASCII)


class StayingMixin:
    """Who goes on to sign in has not left the seats that they held."""

    request: HttpRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Note it, and answer the request."""
        claimant = claimant_of_session(request.session, request.user)
        if claimant:
            stay(holder_id=claimant.holder_id)
        return super().dispatch(request, *args, **kwargs)  # type: ignore[misc] # a view stands behind it


class SignIn(StayingMixin, views.LoginView):
    """Sign in, and come back to where `next` says if that is ours."""

    template_name = "bookings/accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign the person in, with what they held as a guest."""
        response = super().form_valid(form)
        visitor(self.request.session, form.get_user())
        return response


@method_decorator([sensitive_post_parameters(), never_cache, login_not_required], name="dispatch")
class SignUp(StayingMixin, views.RedirectURLMixin, FormView):  # type: ignore[type-arg] # Django knows no brackets here
    """Make an account, and be signed in."""

    template_name = "bookings/accounts/sign_up.html"
    form_class = SignUpForm
    next_page = "home"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Send on whoever has an account and is signed in."""
        if request.user.is_authenticated:
            return HttpResponseRedirect(self.get_success_url())
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Make the account, unless too many were asked for from this address."""
        count_request(SIGN_INS, f"{request.META['REMOTE_ADDR']} signs up")
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        """Sign the new person in, with what they held as a guest."""
        user = form.save_unless_taken()
        if user is None:
            return self.form_invalid(form)
        login(self.request, user)
        visitor(self.request.session, user)
        return super().form_valid(form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add where to go afterwards."""
        return super().get_context_data(**{self.redirect_field_name: self.get_redirect_url(), **kwargs})


class SignOut(views.LogoutView):
    """Sign out: the session ends, and the browser is a stranger again. What the user holds elsewhere stays theirs."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Sign out; who does so on a seat map leaves that, too, and its own goodbye would be a stranger's."""
        claimant = claimant_of_session(request.session, request.user)
        left = request.POST.get("leaves", "")
        if claimant and A_SHOWTIME.fullmatch(left):
            leave(holder_id=claimant.holder_id, showtime_id=int(left), visited_at=None)
        return super().post(request, *args, **kwargs)


class PasswordChange(views.PasswordChangeView):
    """A new password for somebody who knows the old one."""

    template_name = "bookings/accounts/password_change.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("my_bookings")

    def form_valid(self, form: Any) -> HttpResponse:
        """Keep this session signed in; Django ends the others."""
        messages.success(self.request, _("Your password has been changed."))
        return super().form_valid(form)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Change it, unless the old one is being guessed."""
        count_request(SIGN_INS, f"{request.META['REMOTE_ADDR']} {request.user.get_username()}")
        return super().post(request, *args, **kwargs)


class ForgottenPassword(views.PasswordResetView):
    """Ask for a link by mail. The answer is the same whether there is such an account or not."""

    template_name = "bookings/accounts/password_forgotten.html"
    email_template_name = "bookings/accounts/password_mail.txt"
    subject_template_name = "bookings/accounts/password_mail_subject.txt"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send it, unless too many were asked for from this address."""
        count_request(SIGN_INS, f"{request.META['REMOTE_ADDR']} forgot")
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Send it, unless the mailbox has got enough of them."""
        count_request(PASSWORD_MAILS, form.cleaned_data["email"].casefold())
        return super().form_valid(form)


class ForgottenPasswordSent(views.PasswordResetDoneView):
    """Look into your mail."""

    template_name = "bookings/accounts/password_mail_sent.html"


class PasswordReset(views.PasswordResetConfirmView):
    """A new password for somebody who shows the link from the mail."""

    template_name = "bookings/accounts/password_reset.html"
    success_url = reverse_lazy("login")

    def form_valid(self, form: Any) -> HttpResponse:
        """Say that it worked."""
        messages.success(self.request, _("Your password has been changed. Please sign in with the new one."))
        return super().form_valid(form)
