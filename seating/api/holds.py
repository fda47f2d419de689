"""Holds, wherever their showtime is."""

from __future__ import annotations

import functools
import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from cinebook.core.api_views import ApiView
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rest import Pages
from seating.api.authentication import see_holds
from seating.api.named_requests import IDEMPOTENCY_KEY
from seating.api.seats import let_go, take, take_seats
from seating.selectors.holds import HeldSeats, live_holds, own_hold
from seating.serializers import HoldRequest, HoldSerializer, ReleaseSerializer
from seating.services import hold_best_seats


class Holds(ApiView):
    """The caller's holds."""

    permission_classes = (IsAuthenticated,)
    pagination_class = Pages

    @extend_schema(operation_id="list_holds", responses=HoldSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Return the live holds of the caller, oldest first."""
        claimant, bearer = see_holds(request)
        holds = live_holds(holder_id=claimant.holder_id)
        if bearer:
            holds = [hold for hold in holds if hold.hold_id == bearer.hold_id]
        pages = self.pagination_class()
        page: Any = pages.paginate_queryset(holds, request, view=self)
        return pages.get_paginated_response(HoldSerializer(page, many=True).data)

    @extend_schema(
        operation_id="create_hold",
        request=HoldRequest,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: HoldSerializer, 200: HoldSerializer},
    )
    def post(self, request: Request) -> Response:
        """Hold named seats of a showtime, or so many of the best together."""
        asked = HoldRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        showtime_id = asked.validated_data["showtime_id"]
        if "seats" in asked.validated_data:
            return take_seats(request, showtime_id, asked.validated_data["seats"], said=request.data)
        best = functools.partial(hold_best_seats, showtime_id=showtime_id, quantity=asked.validated_data["quantity"])
        return take(request, best, said=request.data, status_of=lambda _answer: 201)


class HoldDetail(ApiView):
    """One hold of the caller."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(operation_id="get_hold", responses=HoldSerializer)
    def get(self, request: Request, hold_id: uuid.UUID) -> Response:
        """Return the hold; 404 if it is somebody else's, 410 if it is over."""
        return Response(HoldSerializer(_shown(request, hold_id)).data)

    @extend_schema(operation_id="release_hold", request=None, responses={200: ReleaseSerializer})
    def delete(self, request: Request, hold_id: uuid.UUID) -> Response:
        """Release all its seats."""
        return let_go(request, _shown(request, hold_id).showtime_id, None, hold_id=hold_id)


def _shown(request: Request, hold_id: uuid.UUID) -> HeldSeats:
    claimant, bearer = see_holds(request)
    if bearer and bearer.hold_id != hold_id:
        raise Refusal(ErrorCode.NOT_FOUND)
    return own_hold(holder_id=claimant.holder_id, hold_id=hold_id)
