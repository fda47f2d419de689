"""Migrations run while the version before them serves: they only add, and keep nobody waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader

from tests.faults.people import guest
from tests.support.cinema import Cinema

APPS = {"core", "seating", "bookings"}
# They made the first version's tables: nobody served before.
BEFORE_THE_FIRST_VERSION = {
    "core": "0001_initial",
    "seating": "0003_hold_knows_that_its_page_was_left",
    "bookings": "0004_reconciler_run",
}
# What neither waits long for a lock, nor keeps one, nor takes away what the version before uses.
HARMLESS = (
    "CreateModel",
    "AddIndexConcurrently",
    "RemoveIndexConcurrently",
    "AddConstraintNotValid",
    "ValidateConstraint",
    "RemoveConstraint",
    "RemoveIndex",
    "AlterModelOptions",
    "AlterModelManagers",
)
# The name under which a migration says why it may do something else all the same.
REASON = "may_run_while_we_serve_because"


def dangers(migration: Any) -> Iterable[str]:
    """Return what a migration does that could hurt the version before it."""
    if getattr(migration, REASON, ""):
        return
    made = {operation.name_lower for operation in migration.operations if type(operation).__name__ == "CreateModel"}
    for operation in migration.operations:
        kind = type(operation).__name__
        if kind in HARMLESS or getattr(operation, "model_name_lower", None) in made:
            continue
        if kind == "AddField" and _only_adds(operation.field):
            continue
        yield f"{migration.app_label}.{migration.name}: {kind} {getattr(operation, 'model_name', '')}"


def _only_adds(field: models.Field[Any, Any]) -> bool:
    """Return whether the version before may go on inserting rows, and no index or key is built under a lock."""
    return (field.null or field.has_db_default()) and not (field.unique or field.db_index or field.is_relation)


def new_migrations() -> list[Any]:
    graph = MigrationLoader(None, ignore_no_migrations=True).graph
    return [
        node
        for (app, name), node in sorted(graph.nodes.items())
        if app in APPS and name > BEFORE_THE_FIRST_VERSION[app]
    ]


def test_new_migrations_only_add() -> None:
    """docs/operations.md has the rule: what is taken away goes one version after the last that used it."""
    assert [danger for migration in new_migrations() for danger in dangers(migration)] == []


@pytest.mark.parametrize(
    ("operation", "harmless"),
    [
        (migrations.AddField("hold", "note", models.TextField(null=True)), True),
        (migrations.AddField("hold", "note", models.TextField(db_default="")), True),
        (migrations.AddField("hold", "note", models.TextField(default="")), False),
        (migrations.AddField("hold", "note", models.TextField(null=True, unique=True)), False),
        (migrations.AddField("hold", "seat", models.ForeignKey("seating.Seat", models.PROTECT, null=True)), False),
        (migrations.RemoveField("hold", "left_at"), False),
        (migrations.RenameField("hold", "left_at", "gone_at"), False),
        (migrations.AlterField("hold", "left_at", models.DateTimeField()), False),
        (migrations.AddIndex("hold", models.Index(fields=["left_at"], name="by_left_at")), False),
        (AddIndexConcurrently("hold", models.Index(fields=["left_at"], name="by_left_at")), True),
        (migrations.DeleteModel("Hold"), False),
        (migrations.RunSQL("SELECT 1"), False),
        (migrations.RunPython(migrations.RunPython.noop), False),
    ],
)
def test_what_could_hurt_is_found(operation: Any, harmless: bool) -> None:  # noqa: FBT001
    migration = migrations.Migration("9999_new", "seating")
    migration.operations = [operation]
    assert (not list(dangers(migration))) == harmless

    setattr(migration, REASON, "the table is small")
    assert not list(dangers(migration))


ADDING = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW lock_timeout")
    print(cursor.fetchone()[0])
    for _ in range(20):
        cursor.execute("ALTER TABLE seating_hold ADD COLUMN trial text")
        cursor.execute("CREATE INDEX CONCURRENTLY trial ON seating_hold (trial)")
        cursor.execute("DROP INDEX CONCURRENTLY trial")
        cursor.execute("ALTER TABLE seating_hold DROP COLUMN trial")
"""


def test_what_only_adds_is_not_noticed_by_those_who_buy(cinema: Cinema, showtimes: Iterator[int]) -> None:
    web = cinema.web[0]
    with ThreadPoolExecutor(1) as threads:
        migrating = threads.submit(cinema.python, ADDING)
        answers = []
        while not migrating.done():
            showtime, ada = next(showtimes), guest(web)
            for _ in range(15):
                answers += [ada.lock(web, showtime, "A1"), ada.unlock(web, showtime)]
            answers += [ada.lock(web, showtime, "A2"), ada.buy(web, showtime, "A2")]
    assert migrating.result().strip() == "2s", "whoever migrates gives up as soon as anybody else"
    assert {answer.status for answer in answers} <= {200, 201, 429}
    assert max(answer.took for answer in answers) < 2
