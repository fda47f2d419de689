from tests.support.sale_fixtures import ada, ben, events, showtime

__all__ = ["ada", "ben", "events", "showtime"]
