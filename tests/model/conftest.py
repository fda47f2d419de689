from tests.support.sale_fixtures import provider

__all__ = ["provider"]
