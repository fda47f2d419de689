from tests.support.sale_fixtures import ada, ben, events, provider, showtime

__all__ = ["ada", "ben", "events", "provider", "showtime"]
