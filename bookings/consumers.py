"""The socket, with what needs bookings: buying over the same connection on which the seats are live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bookings.serializers import BookingSerializer, ConfirmRequest, purchase_of
from bookings.services import confirm_seats
from seating.consumers import Action, SeatsConsumer
from seating.identity import Claimant


def _confirm(claimant: Claimant, asked: dict[str, Any]) -> dict[str, Any]:
    bought = confirm_seats(
        holder_id=claimant.holder_id,
        user_id=claimant.user_id,
        showtime_id=asked["showtime_id"],
        codes=asked["seats"],
        purchase=purchase_of(asked),
    )
    # A page of ours is named by its path: the client knows where its socket leads.
    return BookingSerializer(bought.booking).data


class BookingConsumer(SeatsConsumer):
    """One socket."""

    actions: ClassVar[Mapping[str, Action]] = {
        **SeatsConsumer.actions,
        "booking:confirm": Action(ConfirmRequest, _confirm, "booking:success", "booking:failed"),
    }
