from tests.support.sale_fixtures import ada, ben, bought, events, pending, provider, showtime, without_redis

__all__ = ["ada", "ben", "bought", "events", "pending", "provider", "showtime", "without_redis"]
