"""Faults that no service makes: SQL behind the back of the constraints that stand in its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction


def plant(statement: str, *parameters: Any) -> None:
    """Run a statement that no trigger hears of; it must change something."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, parameters)
        assert cursor.rowcount > 0, "nothing was planted"


@contextmanager
def without_index(name: str, table: str) -> Iterator[None]:
    """Take a unique index away; at the end the table is emptied, and has it again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [name])
        (definition,) = cursor.fetchone()
        cursor.execute(f"DROP INDEX {name}")
        try:
            yield
        finally:
            cursor.execute(f"TRUNCATE {table} CASCADE")
            cursor.execute(definition)
