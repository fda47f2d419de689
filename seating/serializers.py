"""The shapes in which seats are asked for and told of, one set for REST and sockets."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rest_framework import serializers

from cinebook.core.fields import MoneySerializer, TextField, UtcDateTimeField, WholeNumberField, money
from seating.layout import PlacedSeat
from seating.models import Auditorium, Movie, Price, Showtime
from seating.selectors.holds import HeldSeats
from seating.selectors.layouts import parsed_layout
from seating.selectors.programme import on_sale
from seating.selectors.seat_map import SaleState, SeatSnapshot, ViewedStatus
from seating.services import ReleaseAnswer

# Longer than any code that a layout may have, and short enough to be repeated in an answer.
LONGEST_CODE = 16


class SeatCodesField(serializers.ListField):
    """The codes of seats, each once."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=TextField(max_length=LONGEST_CODE), allow_empty=False, **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        """Return the codes.

        Raises:
            ValidationError: no list, an empty one, or a code that stands there twice.
        """
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        codes: list[str] = super().to_internal_value(data)
        if len(set(codes)) < len(codes):
            raise serializers.ValidationError("A seat is named twice.")
        return codes


# --- What is asked ---------------------------------------------------------------------------------------------------


class SeatsRequest(serializers.Serializer[Any]):
    """Some seats."""

    seats = SeatCodesField()


class OptionalSeatsRequest(serializers.Serializer[Any]):
    """Some seats; without any, all that one holds."""

    seats = SeatCodesField(required=False)


class ReleaseRequest(OptionalSeatsRequest):
    """The seats to let go: named, or all of them for `{}` or no body."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Want names, or nothing at all: who misspells `seats` must not lose them all.

        Raises:
            ValidationError: something is there, but no `seats`.
        """
        if self.initial_data and not attrs:
            raise serializers.ValidationError("Name the seats, or send nothing to release all.")
        return attrs


class ShowtimeRequest(serializers.Serializer[Any]):
    """A showtime, where no address names it."""

    showtime_id = WholeNumberField(min_value=1, max_value=2**63 - 1)


class ShowtimeOptionalSeatsRequest(ShowtimeRequest, OptionalSeatsRequest):
    """Some seats of a showtime, or one `seat`; without any, all that one holds."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the showtime and the seats.

        Raises:
            ValidationError: as usual, or there are both `seat` and `seats`.
        """
        if isinstance(data, dict) and "seat" in data:
            if "seats" in data:
                raise serializers.ValidationError({"seats": ["Name seats, or one seat."]})
            data = {**data, "seats": [data["seat"]]}
        asked: dict[str, Any] = super().to_internal_value(data)
        return asked


class ShowtimeReleaseRequest(ShowtimeOptionalSeatsRequest):
    """The seats to let go at a showtime: named, or all of them where nothing else is said."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Want names, or nothing at all, as `ReleaseRequest` does.

        Raises:
            ValidationError: something is there, but no `seats`.
        """
        if "seats" not in attrs and set(self.initial_data) != {"showtime_id"}:
            raise serializers.ValidationError("Name the seats, or only the showtime to release all.")
        return attrs


class ShowtimeSeatsRequest(ShowtimeOptionalSeatsRequest):
    """Some seats of a showtime, or one `seat`."""

    seats = SeatCodesField()


class HoldRequest(serializers.Serializer[Any]):
    """Named seats of a showtime, or so many of the best."""

    showtime_id = WholeNumberField(min_value=1, max_value=2**63 - 1)
    seats = SeatCodesField(required=False)
    quantity = WholeNumberField(min_value=1, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Want seats or a number of them; where both are there, they must agree.

        Raises:
            ValidationError: neither, or they contradict each other.
        """
        if "seats" not in attrs and "quantity" not in attrs:
            raise serializers.ValidationError("Name seats, or a quantity.")
        if "seats" in attrs and attrs.get("quantity", len(attrs["seats"])) != len(attrs["seats"]):
            raise serializers.ValidationError("The quantity is not the number of seats.")
        return attrs


class BestSeatsRequest(serializers.Serializer[Any]):
    """How many seats together."""

    count = serializers.IntegerField(min_value=1, default=1)


class SeatStatusRequest(serializers.Serializer[Any]):
    """What the caller knows already."""

    since = serializers.IntegerField(
        min_value=0,
        max_value=2**63 - 1,
        required=False,
        help_text="The version that the caller knows: if it is not long ago, the answer has the changes alone.",
    )


# --- What is told of the programme -----------------------------------------------------------------------------------


class MovieSerializer(serializers.ModelSerializer[Movie]):
    """A film."""

    class Meta:
        model = Movie
        fields = (
            "id",
            "slug",
            "title",
            "tagline",
            "synopsis",
            "director",
            "genre",
            "language",
            "age_rating",
            "runtime_minutes",
        )


class MovieReferenceSerializer(serializers.ModelSerializer[Movie]):
    """A film, where it is only named."""

    class Meta:
        model = Movie
        fields = ("id", "slug", "title")


class AuditoriumSerializer(serializers.ModelSerializer[Auditorium]):
    """A room."""

    class Meta:
        model = Auditorium
        fields = ("id", "slug", "name")


class ShowtimeSerializer(serializers.ModelSerializer[Showtime]):
    """A showtime, and how many of its seats are free."""

    movie = MovieReferenceSerializer()
    auditorium = AuditoriumSerializer()
    starts_at = UtcDateTimeField()
    ends_at = UtcDateTimeField(help_text="When the room is free again.")
    sales_open_at = UtcDateTimeField()
    sales_close_at = UtcDateTimeField()
    on_sale = serializers.SerializerMethodField()
    cancelled = serializers.SerializerMethodField()
    total_seats = serializers.SerializerMethodField()
    available_seats = serializers.SerializerMethodField()

    class Meta:
        model = Showtime
        fields = (
            "id",
            "movie",
            "auditorium",
            "starts_at",
            "ends_at",
            "sales_open_at",
            "sales_close_at",
            "on_sale",
            "cancelled",
            "currency",
            "total_seats",
            "available_seats",
        )

    def get_on_sale(self, showtime: Showtime) -> bool:
        """Return whether its seats can be had now."""
        return on_sale(showtime)

    def get_cancelled(self, showtime: Showtime) -> bool:
        """Return whether it does not take place."""
        return showtime.cancelled_at is not None

    def get_total_seats(self, showtime: Showtime) -> int:
        """Return how many seats its room has."""
        return len(parsed_layout(showtime.layout_id).seats)

    def get_available_seats(self, showtime: Any) -> int:
        """Return how many are free; all of them, while none of its seats has been made."""
        available: int = showtime.available_seats if showtime.made_seats else self.get_total_seats(showtime)
        return available


class PlacedSeatSerializer(serializers.Serializer[PlacedSeat]):
    """A place of the room. `x` and `y` are its middle, in widths of one seat, `y` away from the screen."""

    code = serializers.CharField()
    row = serializers.CharField()
    number = serializers.IntegerField()
    x = serializers.FloatField()
    y = serializers.FloatField()
    category = serializers.CharField()
    kind = serializers.ChoiceField(["seat", "wheelchair", "companion", "loveseat"])
    accessible = serializers.BooleanField(help_text="A wheelchair takes this place.")


class LayoutRowSerializer(serializers.Serializer[Any]):
    """A row, from the left."""

    label = serializers.CharField()  # type: ignore[assignment] # the row's, not the form field's
    seats = PlacedSeatSerializer(many=True)


class CategorySerializer(serializers.Serializer[Any]):
    """A class of seats, and what it costs at this showtime."""

    code = serializers.CharField()
    name = serializers.CharField()
    price = MoneySerializer()


class LayoutSerializer(serializers.Serializer[Any]):
    """The geometry of a showtime's room, row by row from the screen, and its prices."""

    showtime_id = serializers.IntegerField()
    auditorium = AuditoriumSerializer()
    rows = LayoutRowSerializer(many=True)
    categories = CategorySerializer(many=True)


def seating_layout(showtime: Showtime, prices: list[Price]) -> dict[str, Any]:
    """Return what `LayoutSerializer` describes; plain dictionaries, for there are hundreds of seats.

    Args:
        showtime: with its auditorium.
        prices: its prices with their categories.
    """
    return {
        "showtime_id": showtime.pk,
        "auditorium": AuditoriumSerializer(showtime.auditorium).data,
        "rows": [
            {
                "label": row.label,
                "seats": [
                    {
                        "code": seat.code,
                        "row": seat.row,
                        "number": seat.number,
                        "x": seat.x,
                        "y": seat.y,
                        "category": seat.category,
                        "kind": seat.kind.value,
                        "accessible": seat.accessible,
                    }
                    for seat in row.seats
                ],
            }
            for row in parsed_layout(showtime.layout_id).rows
        ],
        "categories": [
            {
                "code": price.category_id,
                "name": price.category.name,
                "price": money(price.amount, showtime.currency),
            }
            for price in prices
        ],
    }


# --- What is told of seats -------------------------------------------------------------------------------------------


def instant(moment: dt.datetime) -> str:
    """Return an instant as the API tells it: RFC 3339, in UTC."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


class BestSeatsSerializer(serializers.Serializer[Any]):
    """The best free seats together, and the next best groups; `seats` is empty where there are none."""

    seats = serializers.ListField(child=serializers.CharField())
    alternatives = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    server_time = UtcDateTimeField()


class HoldSerializer(serializers.Serializer[HeldSeats]):
    """A live hold. `hold_token` is told once, in the answer that made the hold."""

    hold_id = serializers.UUIDField()
    hold_token = serializers.CharField(required=False)
    showtime_id = serializers.IntegerField()
    seats = serializers.ListField(child=serializers.CharField())
    locked_at = UtcDateTimeField()
    expires_at = UtcDateTimeField()
    expires_in = serializers.IntegerField(help_text="Whole seconds.")
    max_expires_at = UtcDateTimeField(help_text="No extension goes past this.")
    paying = serializers.BooleanField(help_text="While it is being paid, nobody changes it.")
    total = MoneySerializer()
    server_time = UtcDateTimeField()

    def to_representation(self, instance: HeldSeats) -> dict[str, Any]:
        """Return the hold; with its token, if the context has one."""
        token = self.context.get("token")
        return {
            "hold_id": str(instance.hold_id),
            **({"hold_token": token} if token else {}),
            "showtime_id": instance.showtime_id,
            "seats": list(instance.seats),
            "locked_at": instant(instance.locked_at),
            "expires_at": instant(instance.expires_at),
            "expires_in": instance.expires_in,
            "max_expires_at": instant(instance.max_expires_at),
            "paying": instance.paying,
            "total": money(instance.amount, instance.currency),
            "server_time": instant(instance.server_time),
        }


class ReleaseSerializer(serializers.Serializer[ReleaseAnswer]):
    """What was let go, and what is left; `hold` is null when nothing is."""

    released = serializers.ListField(child=serializers.CharField())
    hold = HoldSerializer(allow_null=True)
    server_time = UtcDateTimeField()

    def to_representation(self, instance: ReleaseAnswer) -> dict[str, Any]:
        """Return the answer."""
        return {
            "released": list(instance.released),
            "hold": HoldSerializer(instance.hold).data if instance.hold else None,
            "server_time": instant(instance.server_time),
        }


class _SeatStatesSerializer(serializers.Serializer[Any]):
    """What every answer about the seats of a showtime says."""

    showtime_id = serializers.IntegerField()
    version = serializers.IntegerField()
    server_time = UtcDateTimeField()
    on_sale = serializers.BooleanField(help_text="Whether seats can be had now.")
    cancelled = serializers.BooleanField(help_text="Whether the showtime does not take place.")
    viewers = serializers.IntegerField(help_text="How many people look at this showtime at the moment, about.")
    hold = HoldSerializer(allow_null=True)


class SeatStatusSerializer(_SeatStatesSerializer):
    """Every seat of a showtime at one version, as this viewer sees it, and what they hold there."""

    seats = serializers.DictField(child=serializers.ChoiceField(ViewedStatus.values))


class SeatChangesSerializer(_SeatStatesSerializer):
    """The seats alone that have changed since `from_version`, as this viewer sees them now, and what they hold."""

    from_version = serializers.IntegerField()
    changes = serializers.DictField(child=serializers.ChoiceField(ViewedStatus.values))


def seat_status(snapshot: SeatSnapshot, hold: HeldSeats | None, *, viewers: int) -> dict[str, Any]:
    """Return what `SeatStatusSerializer` describes; a plain dictionary, for there are hundreds of seats.

    Args:
        snapshot: has all seats.
        hold: the viewer's.
        viewers: how many look on.
    """
    return {**_seat_states(snapshot, hold, viewers), "seats": _words(snapshot)}


def seat_changes(snapshot: SeatSnapshot, hold: HeldSeats | None, *, since: int, viewers: int) -> dict[str, Any]:
    """Return what `SeatChangesSerializer` describes.

    Args:
        snapshot: has the seats that have changed.
        hold: the viewer's.
        since: the version that they know.
        viewers: how many look on.
    """
    return {**_seat_states(snapshot, hold, viewers), "from_version": since, "changes": _words(snapshot)}


def _seat_states(snapshot: SeatSnapshot, hold: HeldSeats | None, viewers: int) -> dict[str, Any]:
    return {
        "showtime_id": snapshot.showtime_id,
        "version": snapshot.version,
        "server_time": instant(snapshot.server_time),
        "on_sale": snapshot.sale is SaleState.OPEN,
        "cancelled": snapshot.sale is SaleState.CANCELLED,
        "viewers": viewers,
        "hold": HoldSerializer(hold).data if hold else None,
    }


def _words(snapshot: SeatSnapshot) -> dict[str, str]:
    return {code: status.value for code, status in snapshot.seats.items()}
