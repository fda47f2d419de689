from tests.support.sale_fixtures import ada, ben, either_way, events, provider, showtime, without_redis

__all__ = ["ada", "ben", "either_way", "events", "provider", "showtime", "without_redis"]
