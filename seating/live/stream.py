"""The changes of one showtime's seats, put in order. Pure: it knows no clock, no loop and no database."""

from __future__ import annotations

from seating.events import SeatsChanged

# How many changes may be kept that cannot be applied yet; of more, the ledger is asked anyway.
MAX_AHEAD = 1000


class SeatStream:
    """Hears of changes in any order, twice or never, and gives them out once each, in order.

    Until `start` it only collects. `version` is that of the last change given out.
    """

    def __init__(self) -> None:
        self.version: int | None = None
        self._ahead: dict[int, SeatsChanged] = {}
        self._newest = 0

    @property
    def is_behind(self) -> bool:
        """Whether it has heard of a version that it cannot give out, since a change before it is missing."""
        return self.version is not None and self.version < self._newest

    def start(self, version: int) -> None:
        """Begin after a version: what leads to it is known already."""
        self.version = version
        self._ahead = {ahead: event for ahead, event in self._ahead.items() if ahead > version}

    def hear(self, event: SeatsChanged) -> None:
        """Take a change; one that was given out is passed over."""
        if self.version is not None and event.version <= self.version:
            return
        self.hear_of(event.version)
        if len(self._ahead) < MAX_AHEAD:
            self._ahead[event.version] = event

    def hear_of(self, version: int) -> None:
        """Learn that there is a version, without what led to it."""
        self._newest = max(self._newest, version)

    def take(self) -> list[SeatsChanged]:
        """Give out the changes that are next."""
        taken = []
        while self.version is not None and (event := self._ahead.pop(self.version + 1, None)):
            self.version = event.version
            taken.append(event)
        return taken
