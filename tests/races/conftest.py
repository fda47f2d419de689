from collections.abc import Iterator

import pytest

from tests.support.rivals import kept_threads
from tests.support.sale_fixtures import ada, ben, either_way, events, pending, provider, showtime, without_redis

__all__ = ["ada", "ben", "either_way", "events", "pending", "provider", "showtime", "threads", "without_redis"]


@pytest.fixture(scope="module")
def threads() -> Iterator[None]:
    """Threads that the races of a module share."""
    with kept_threads():
        yield
