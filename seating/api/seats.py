"""The seats of a showtime: how they stand, taking them, keeping them, letting them go."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse, HttpResponseNotModified
from django.utils import timezone
from django.utils.http import parse_etags
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from cinebook.core.api_views import ApiView
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.schema import ETAG, IF_NONE_MATCH, NOT_MODIFIED
from seating.api.authentication import act_on_seats, asking, shown_hold
from seating.api.named_requests import IDEMPOTENCY_KEY, answer_request
from seating.live.presence import mark_of, presence
from seating.selectors.best_seats import offered_seats
from seating.selectors.holds import HeldSeats, live_hold
from seating.selectors.seat_map import SaleState, SeatSnapshot, current_version, seat_snapshot, seats_changed_since
from seating.serializers import (
    BestSeatsRequest,
    BestSeatsSerializer,
    HoldSerializer,
    OptionalSeatsRequest,
    ReleaseRequest,
    ReleaseSerializer,
    SeatChangesSerializer,
    SeatsRequest,
    SeatStatusRequest,
    SeatStatusSerializer,
    instant,
    seat_changes,
    seat_status,
)
from seating.services import (
    Answer,
    HoldAnswer,
    NamedRequest,
    Once,
    check_quantity,
    extend_hold,
    hold_seats,
    hold_token,
    make_missing_seats,
    release_seats,
    still_there,
)


class SeatStatus(ApiView):
    """How the seats stand."""

    @extend_schema(
        operation_id="get_seat_status",
        tags=["seats"],
        parameters=[SeatStatusRequest, IF_NONE_MATCH, ETAG],
        responses={
            200: PolymorphicProxySerializer(
                component_name="SeatStatusOrChanges",
                serializers=[SeatStatusSerializer, SeatChangesSerializer],
                resource_type_field_name=None,
            ),
            304: NOT_MODIFIED,
        },
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        """Return every seat's status as the caller sees it, or only what has changed `since` a version.

        304 if nothing has changed since `If-None-Match`. All are returned if `since` is too long ago, or never was.
        """
        asked = SeatStatusRequest(data=request.query_params)
        asked.is_valid(raise_exception=True)
        since: int | None = asked.validated_data.get("since")
        holder_id, hold = _viewer(request, pk)
        known = parse_etags(request.headers.get("If-None-Match", ""))
        if hold and hold.left:
            # One of their pages was closed, but this one is open.
            still_there(hold_id=hold.hold_id)
        if known and since is None:
            tag = status_tag(*current_version(showtime_id=pk), hold)
            if is_one_of(known, tag):
                _viewers(pk, holder_id)
                return _kept_by_the_viewer(HttpResponseNotModified(), tag)
        changed = None if since is None else seats_changed_since(showtime_id=pk, holder_id=holder_id, version=since)
        shown = changed or _all_seats(pk, holder_id)
        viewers = _viewers(pk, holder_id)
        tag = status_tag(shown.version, shown.sale, hold)
        if is_one_of(known, tag):
            return _kept_by_the_viewer(HttpResponseNotModified(), tag)
        body = (
            seat_status(shown, hold, viewers=viewers)
            if since is None or not changed
            else seat_changes(shown, hold, since=since, viewers=viewers)
        )
        return _kept_by_the_viewer(Response(body), tag)


class BestSeats(ApiView):
    """Which seats to offer."""

    @extend_schema(
        operation_id="get_best_seats", tags=["seats"], parameters=[BestSeatsRequest], responses=BestSeatsSerializer
    )
    def get(self, request: Request, pk: int) -> Response:
        """Return the best free seats together, towards the middle, and some other groups."""
        asked = BestSeatsRequest(data=request.query_params)
        asked.is_valid(raise_exception=True)
        count = asked.validated_data["count"]
        check_quantity(count)
        groups = offered_seats(showtime_id=pk, count=count)
        best = groups[0] if groups else []
        return Response({"seats": best, "alternatives": groups[1:], "server_time": instant(timezone.now())})


class LockSeats(ApiView):
    """Take seats."""

    @extend_schema(
        operation_id="lock_seats",
        tags=["seats"],
        request=SeatsRequest,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: HoldSerializer, 200: HoldSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Hold seats, beside those that the caller has: all of them or none. 200 if all were theirs already."""
        asked = SeatsRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        return take_seats(request, pk, asked.validated_data["seats"], said=request.data)


class UnlockSeats(ApiView):
    """Let seats go."""

    @extend_schema(
        operation_id="unlock_seats", tags=["seats"], request=ReleaseRequest, responses={200: ReleaseSerializer}
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Release seats, or all that the caller has; seats that are not theirs are passed over."""
        asked = ReleaseRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        return let_go(request, pk, asked.validated_data.get("seats"))


class ExtendLock(ApiView):
    """Keep seats."""

    @extend_schema(operation_id="extend_lock", tags=["seats"], request=OptionalSeatsRequest, responses=HoldSerializer)
    def put(self, request: Request, pk: int) -> Response:
        """Renew the hold's time, as far as `max_expires_at`; seats that are named must all be the caller's."""
        asked = OptionalSeatsRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        claimant, bearer = act_on_seats(request, showtime_id=pk)
        hold = extend_hold(
            holder_id=claimant.holder_id,
            showtime_id=pk,
            codes=asked.validated_data.get("seats", ()),
            hold_id=bearer.hold_id if bearer else None,
        )
        return Response(HoldSerializer(hold).data)


class HoldOneSeat(ApiView):
    """One seat."""

    @extend_schema(
        operation_id="hold_seat",
        tags=["seats"],
        request=None,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: HoldSerializer, 200: HoldSerializer},
    )
    def post(self, request: Request, pk: int, code: str) -> Response:
        """Hold one seat, beside those that the caller has."""
        return take_seats(request, pk, [code], said=None)

    @extend_schema(operation_id="release_seat", tags=["seats"], request=None, responses={200: ReleaseSerializer})
    def delete(self, request: Request, pk: int, code: str) -> Response:
        """Release one seat."""
        return let_go(request, pk, [code])


def take_seats(request: Request, showtime_id: int, codes: list[str], *, said: Any) -> Response:
    """Hold seats for whoever is asking, and answer with the hold; 200 if all were theirs already.

    Args:
        said: the body, as far as it was heeded.
    """
    return take(
        request,
        functools.partial(hold_seats, showtime_id=showtime_id, codes=codes),
        said=said,
        status_of=lambda answer: 201 if answer.taken else 200,
    )


def take(
    request: Request,
    hold: Callable[..., HoldAnswer],
    *,
    said: Any,
    status_of: Callable[[HoldAnswer], int],
) -> Response:
    """Hold seats for whoever is asking, once if the request has named itself, and answer with the hold.

    Args:
        hold: does it for a holder and their user, as `hold_seats` does.
        said: the body, as far as it was heeded.
        status_of: the answer's status.
    """
    claimant, bearer = act_on_seats(request)
    # The bearer of a hold may keep it or let it go; new seats are its holder's business.
    if bearer:
        raise Refusal(ErrorCode.PERMISSION_DENIED)

    def tell(answer: HoldAnswer) -> Answer:
        return Answer(status=status_of(answer), body=_without_token(answer))

    def work(named: NamedRequest | None) -> Answer:
        once = Once(named, tell=tell) if named else None
        return tell(hold(holder_id=claimant.holder_id, user_id=claimant.user_id, once=once))

    response = answer_request(request, said, work)
    response.data = _with_token(response.data)
    return response


def let_go(
    request: Request, showtime_id: int, codes: list[str] | None, *, hold_id: uuid.UUID | None = None
) -> Response:
    """Release seats of whoever is asking, and answer with what is left."""
    claimant, bearer = act_on_seats(request, showtime_id=showtime_id)
    answer = release_seats(
        holder_id=claimant.holder_id,
        showtime_id=showtime_id,
        codes=codes,
        hold_id=bearer.hold_id if bearer else hold_id,
    )
    return Response(ReleaseSerializer(answer).data)


def _without_token(answer: HoldAnswer) -> dict[str, Any]:
    """Return the hold as it is told and kept; the token of a new one is only promised, for it is a secret."""
    told: dict[str, Any] = HoldSerializer(answer.hold, context={"token": answer.token}).data
    return {**told, "hold_token": None} if answer.token else told


def _with_token(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "hold_token": hold_token(uuid.UUID(told["hold_id"]))} if "hold_token" in told else told


def _viewer(request: Request, showtime_id: int) -> tuple[int | None, HeldSeats | None]:
    """Return who looks at the seats of a showtime and what they hold there; (None, None) for strangers."""
    claimant, shown = asking(request), shown_hold(request)
    if claimant is None:
        return None, None
    hold = live_hold(holder_id=claimant.holder_id, showtime_id=showtime_id)
    # The bearer of one hold has no business with another of its holder.
    if shown and (hold is None or hold.hold_id != shown.hold_id):
        return None, None
    return claimant.holder_id, hold


def _all_seats(showtime_id: int, holder_id: int | None) -> SeatSnapshot:
    snapshot = seat_snapshot(showtime_id=showtime_id, holder_id=holder_id)
    if not snapshot.seats and make_missing_seats(showtime_id=showtime_id):
        snapshot = seat_snapshot(showtime_id=showtime_id, holder_id=holder_id)
    return snapshot


def _viewers(showtime_id: int, holder_id: int | None) -> int:
    """Return how many people look at a showtime, with the one who is asking; strangers cannot be told apart."""
    if holder_id is not None:
        presence().ask(showtime_id, mark_of(holder_id))
    return presence().count(showtime_id)


def status_tag(version: int, sale: SaleState, hold: HeldSeats | None) -> str:
    """Return what tells one state of the map from the next: version, sale, and the viewer's hold with its end.

    It is weak, for `server_time` and `expires_in` go on by themselves.
    """
    state = f"{version}.{sale.value}"
    return f'W/"{state}.{hold.hold_id}.{hold.expires_at.timestamp():.6f}"' if hold else f'W/"{state}"'


def is_one_of(known: list[str], tag: str) -> bool:
    """Return whether a tag is among those that a request says it knows."""
    return tag in known or "*" in known


def _kept_by_the_viewer(response: Any, tag: str) -> HttpResponse:
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-cache"
    answer: HttpResponse = response
    return answer
