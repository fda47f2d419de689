"""What we tell browsers, as values; the socket and the channel layer only carry them."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class SeatsChanged:
    """The seats of a showtime went from one version to the next. The same for every viewer: it names no holder.

    `changes` has the new status of each changed seat as a stranger sees it.
    """

    showtime_id: int
    version: int
    changes: Mapping[str, str]

    @property
    def from_version(self) -> int:
        """The version that the change leads on from."""
        return self.version - 1


@dataclasses.dataclass(frozen=True, slots=True)
class SaleChanged:
    """A showtime sells again, sells no longer, or was cancelled: whoever watches it looks anew."""

    showtime_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class HoldExpired:
    """A hold has run out; told to its holder alone."""

    holder_id: int
    showtime_id: int
    hold_id: uuid.UUID
    seats: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class HoldChanged:
    """A holder's hold at a showtime is another than before, or gone; told to its holder alone."""

    holder_id: int
    showtime_id: int


def showtime_group(showtime_id: int) -> str:
    """Return the name of the group of everybody who watches a showtime."""
    return f"showtime.{showtime_id}"


def holder_group(holder_id: int) -> str:
    """Return the name of the group of all sockets of a holder."""
    return f"holder.{holder_id}"
