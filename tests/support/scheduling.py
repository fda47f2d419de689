"""Which process of a test run does what: those tests stay together that share a house in real processes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Tests whose fixtures start a house once for all of them; in every process that has one of them it is started anew.
# (The marks that pytest-xdist has for this do nothing with pytest 9.)
TOGETHER = {
    "tests/browser/": "the demo house",
    "tests/examples/": "the demo house",
    "tests/bench/": "the demo house",
    "tests/contracts/test_first_start.py": "the first start",
    "tests/faults/": "the house that breaks",
    "tests/seating/live/test_processes.py": "two web processes",
    "tests/soak/test_short.py": "the short soak",
}


class TogetherScheduling(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """Gives each process the next test, or all of those that stay together; these first."""

    def _split_scope(self, nodeid: str) -> str:
        return next((house for path, house in TOGETHER.items() if nodeid.startswith(path)), nodeid)
