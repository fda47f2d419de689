"""The pages of accounts and of buying."""

from __future__ import annotations

from django.urls import URLPattern, path

from bookings import accounts, views

urlpatterns: list[URLPattern] = [
    path("checkout/<uuid:hold_id>/", views.checkout, name="checkout"),
    path("payments/demo/<slug:reference>/", views.demo_page, name="demo_payment"),
    path("payments/<slug:reference>/made/", views.payment_made, name="payment_made"),
    path("payments/<slug:reference>/given-up/", views.payment_given_up, name="payment_given_up"),
    path("bookings/<slug:reference>/", views.booking, name="booking"),
    path("bookings/<slug:reference>/cancel/", views.cancel, name="cancel_booking"),
    path("bookings/<slug:reference>/seats/", views.take_instead, name="take_instead"),
    path("bookings/<slug:reference>/opened/<str:given>/", views.opened_booking, name="opened_booking"),
    path("my/bookings/", views.my_bookings, name="my_bookings"),
    path("accounts/login/", accounts.SignIn.as_view(), name="login"),
    path("accounts/signup/", accounts.SignUp.as_view(), name="signup"),
    path("accounts/logout/", accounts.SignOut.as_view(), name="logout"),
    path("accounts/password/", accounts.PasswordChange.as_view(), name="password_change"),
    path("accounts/password/forgotten/", accounts.ForgottenPassword.as_view(), name="password_reset"),
    path("accounts/password/sent/", accounts.ForgottenPasswordSent.as_view(), name="password_reset_done"),
    path("accounts/password/reset/<uidb64>/<token>/", accounts.PasswordReset.as_view(), name="password_reset_confirm"),
]
