import pytest

from tests.support.sale_fixtures import provider

__all__ = ["provider"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-cases", action="store_true", help="write tests/law/cases.json anew")
