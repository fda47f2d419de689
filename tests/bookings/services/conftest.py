from tests.support.sale_fixtures import ada, ben, events, provider, showtime, without_redis

__all__ = ["ada", "ben", "events", "provider", "showtime", "without_redis"]
