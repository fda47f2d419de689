"""Tokens for users and for guests."""

from __future__ import annotations

from django.contrib.auth import authenticate
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cinebook.core.api_views import ApiView
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.fields import TextField, UtcDateTimeField
from cinebook.core.models import User
from cinebook.core.rate_limits import NEW_GUESTS, SIGN_INS, SIGN_INS_OF_ADDRESS, count_request
from seating.identity import fresh_access_token, token_for_guest, tokens_for_user

WRONG = "That name and password do not belong together. Please check both."


class CredentialsRequest(serializers.Serializer[None]):
    """A name and its password."""

    username = TextField(max_length=150)
    password = TextField(max_length=1000, trim_whitespace=False)


class RefreshRequest(serializers.Serializer[None]):
    """A refresh token."""

    refresh = TextField(max_length=4000)


class TokensAnswer(serializers.Serializer[None]):
    """A token for requests, and one to get the next."""

    access = serializers.CharField()
    refresh = serializers.CharField()


class AccessAnswer(serializers.Serializer[None]):
    """A token for requests."""

    access = serializers.CharField()


class GuestAnswer(serializers.Serializer[None]):
    """A token for requests, and its end."""

    access = serializers.CharField()
    expires_at = UtcDateTimeField()


class TokenView(ApiView):
    """Sign in."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=CredentialsRequest, responses={200: TokensAnswer}, operation_id="sign_in", tags=["auth"])
    def post(self, request: Request) -> Response:
        """Exchange a name and its password for tokens."""
        asked = CredentialsRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        name = asked.validated_data["username"]
        address = request.META["REMOTE_ADDR"]
        count_request(SIGN_INS_OF_ADDRESS, address)
        count_request(SIGN_INS, f"{address} {name}")
        user = authenticate(request, username=name, password=asked.validated_data["password"])
        if not isinstance(user, User):
            raise Refusal(ErrorCode.NOT_AUTHENTICATED, WRONG)
        return Response(tokens_for_user(user))


class TokenRefreshView(ApiView):
    """Stay signed in."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=RefreshRequest, responses={200: AccessAnswer}, operation_id="refresh_token", tags=["auth"])
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for a new access token."""
        asked = RefreshRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response({"access": fresh_access_token(asked.validated_data["refresh"])})


class GuestView(ApiView):
    """Be a guest."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=None, responses={201: GuestAnswer}, operation_id="become_guest", tags=["auth"])
    def post(self, request: Request) -> Response:
        """Make a guest, for kiosks and other front ends."""
        count_request(NEW_GUESTS, request.META["REMOTE_ADDR"])
        return Response(token_for_guest(), status=201)
