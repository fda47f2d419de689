from tests.support.purchase_fixtures import ada, ben, events, provider, showtime

__all__ = ["ada", "ben", "events", "provider", "showtime"]
