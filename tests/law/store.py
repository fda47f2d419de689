"""A client's map, in as few words as docs/protocol.md: the law says that it comes to equal the next snapshot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

Told = Mapping[str, Any]


class Store:
    """The seats of one showtime as somebody sees them who is told of changes."""

    def __init__(self, snapshot: Told) -> None:
        self._hold: Told | None = None
        self._hold_at = self._sale_at = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._replace(snapshot)

    def hear(self, event: str, data: Told) -> str:
        """Take a frame, or an `answer` of `seats/status`; return `applied`, `old` (it is passed over) or `gap`.

        Args:
            event: its name; `answer` for one of REST, whose snapshot counts only if it is not older than what is known.
            data: what it says.
        """
        if event == "seat:status:changed":
            return self._lead(data)
        if event == "answer" and "changes" in data:
            self._learn(data, data["changes"])
            return self._lead(data)
        if event == "answer" and data["version"] < self.version:
            return "old"
        if event in {"answer", "seats:availability"}:
            self._replace(data)
        elif event == "hold:changed" and data["hold"]:
            self._learn_hold(data["hold"], data["hold"]["server_time"])
        elif event == "hold:changed" or (event == "hold:expired" and self._holds(data["hold_id"])):
            self._hold = None
        return "applied"

    def shown(self) -> dict[str, Any]:
        """Return what its viewer sees."""
        own = self._hold["seats"] if self._hold else []
        return {
            "version": self.version,
            "on_sale": self.on_sale,
            "cancelled": self.cancelled,
            "seats": self._seats | dict.fromkeys(own, "selected"),
            "hold": self._hold and {key: self._hold[key] for key in ("hold_id", "seats", "expires_at", "paying")},
        }

    def _replace(self, snapshot: Told) -> None:
        self.version: int = snapshot["version"]
        self._seats = {code: _to_strangers(status) for code, status in snapshot["seats"].items()}
        self._learn(snapshot, snapshot["seats"])

    def _lead(self, change: Told) -> str:
        if change["version"] <= self.version:
            return "old"
        if change["from_version"] != self.version:
            return "gap"
        self.version = change["version"]
        self._seats |= {code: _to_strangers(status) for code, status in change["changes"].items()}
        return "applied"

    def _learn(self, told: Told, seats: Mapping[str, str]) -> None:
        """Learn of the sale and of one's hold, which have no version: what was read later is right."""
        read_at = dt.datetime.fromisoformat(told["server_time"])
        if read_at >= self._sale_at:
            self._sale_at = read_at
            self.on_sale, self.cancelled = told["on_sale"], told["cancelled"]
        # The hold is read before the seats: if they say that there is one, it was made between the two.
        if told["hold"] or "selected" not in seats.values():
            self._learn_hold(told["hold"], (told["hold"] or told)["server_time"])

    def _learn_hold(self, hold: Told | None, at: str) -> None:
        heard_at = dt.datetime.fromisoformat(at)
        if heard_at >= self._hold_at:
            self._hold, self._hold_at = hold, heard_at

    def _holds(self, hold_id: str) -> bool:
        return self._hold is not None and self._hold["hold_id"] == hold_id


def _to_strangers(status: str) -> str:
    """Return how a seat stands for everybody else; that it is one's own is told by the hold."""
    return "locked" if status == "selected" else status
