import pytest

from seating.models import Holder
from tests.support.sale_fixtures import ada, ben, either_way, events, showtime, without_redis

__all__ = ["ada", "ben", "either_way", "events", "showtime", "without_redis"]


@pytest.fixture
def people(ada: Holder, ben: Holder) -> tuple[Holder, Holder]:
    """Both of them."""
    return ada, ben
