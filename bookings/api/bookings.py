"""Buying, one's own bookings, and cancelling them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from bookings.models import Booking
from bookings.selectors.purchases import own_booking, own_bookings
from bookings.serializers import BookingRequest, BookingSerializer, ConfirmRequest, purchase_of
from bookings.services import BookingAnswer, cancel_booking, confirm_seats, start_booking
from cinebook.core.api_views import ApiView
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.rest import Pages
from seating.api.authentication import act_on_seats, see_holds
from seating.api.named_requests import IDEMPOTENCY_KEY, answer_request
from seating.services import Answer, NamedRequest, keep_answer


class Bookings(ApiView):
    """The caller's bookings."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(responses=BookingSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Return the bookings of the caller, newest first."""
        claimant, bearer = see_holds(request)
        own = own_bookings(holder_id=claimant.holder_id, hold_id=bearer.hold_id if bearer else None)
        pages = Pages()
        page = [_shown(request, booking) for booking in pages.paginate_queryset(own, request, view=self) or ()]
        return pages.get_paginated_response(page)

    @extend_schema(
        request=BookingRequest,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: BookingSerializer, 200: BookingSerializer},
    )
    def post(self, request: Request) -> Response:
        """Buy a hold. The same hold again is 200 and the same booking; after a decline it may be paid anew."""
        asked = BookingRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        claimant, bearer = act_on_seats(request)
        hold_id = asked.validated_data["hold_id"]
        if bearer and bearer.hold_id != hold_id:
            raise Refusal(ErrorCode.NOT_FOUND)
        return _bought(
            request,
            lambda named: start_booking(
                holder_id=claimant.holder_id,
                # Whoever was handed a hold is not told whose it is.
                user_id=None if bearer else claimant.user_id,
                hold_id=hold_id,
                purchase=purchase_of(asked.validated_data),
                named=named,
            ),
        )


class ConfirmSeats(ApiView):
    """Buy in one step."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(
        request=ConfirmRequest,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: BookingSerializer, 200: BookingSerializer},
    )
    def post(self, request: Request) -> Response:
        """Buy seats that the caller holds; the others of that hold are released."""
        asked = ConfirmRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        showtime_id = asked.validated_data["showtime_id"]
        claimant, bearer = act_on_seats(request, showtime_id=showtime_id)
        return _bought(
            request,
            lambda named: confirm_seats(
                holder_id=claimant.holder_id,
                user_id=None if bearer else claimant.user_id,
                showtime_id=showtime_id,
                codes=asked.validated_data["seats"],
                purchase=purchase_of(asked.validated_data),
                hold_id=bearer.hold_id if bearer else None,
                named=named,
            ),
        )


class BookingDetail(ApiView):
    """One booking."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(responses=BookingSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Return a booking of the caller."""
        claimant, bearer = see_holds(request)
        booking = own_booking(
            reference=reference, holder_id=claimant.holder_id, hold_id=bearer.hold_id if bearer else None
        )
        return Response(_shown(request, booking))


class CancelBooking(ApiView):
    """Undo a purchase."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(request=None, parameters=[IDEMPOTENCY_KEY], responses=BookingSerializer)
    def post(self, request: Request, reference: str) -> Response:
        """Cancel a booking and have the money back; again is the same."""
        claimant, bearer = act_on_seats(request)
        if bearer:
            raise Refusal(ErrorCode.PERMISSION_DENIED)

        def cancel(named: NamedRequest | None) -> Answer:
            booking = cancel_booking(holder_id=claimant.holder_id, reference=reference, named=named)
            return _kept(named, Answer(status=200, body=_shown(request, booking)))

        return answer_request(request, None, cancel)


def _bought(request: Request, buy: Callable[[NamedRequest | None], BookingAnswer]) -> Response:
    """Buy, once if the request has named itself, and answer with the booking."""

    def work(named: NamedRequest | None) -> Answer:
        bought = buy(named)
        return _kept(named, Answer(status=201 if bought.is_new else 200, body=_shown(request, bought.booking)))

    return answer_request(request, request.data, work)


def _kept(named: NamedRequest | None, answer: Answer) -> Answer:
    return keep_answer(named=named, answer=answer) if named else answer


def _shown(request: Request, booking: Booking) -> dict[str, Any]:
    return BookingSerializer(booking, context={"absolute": request.build_absolute_uri}).data
