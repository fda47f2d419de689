"""Carries events to the processes whose sockets want them, after the commit."""

from __future__ import annotations

from cinebook.core.live import send_to_group
from seating.events import HoldChanged, HoldExpired, SaleChanged, SeatsChanged, holder_group, showtime_group


def send(event: SeatsChanged | SaleChanged | HoldChanged | HoldExpired) -> None:
    """Send an event on its way, and return at once. Call it only when its transaction has committed."""
    match event:
        case SeatsChanged():
            send_to_group(
                showtime_group(event.showtime_id),
                {
                    "type": "seats.changed",
                    "showtime_id": event.showtime_id,
                    "version": event.version,
                    "changes": dict(event.changes),
                },
            )
        case SaleChanged():
            send_to_group(showtime_group(event.showtime_id), {"type": "sale.changed", "showtime_id": event.showtime_id})
        case HoldChanged():
            send_to_group(holder_group(event.holder_id), {"type": "hold.changed", "showtime_id": event.showtime_id})
        case HoldExpired():
            send_to_group(
                holder_group(event.holder_id),
                {
                    "type": "hold.expired",
                    "showtime_id": event.showtime_id,
                    "hold_id": str(event.hold_id),
                    "seats": list(event.seats),
                },
            )
