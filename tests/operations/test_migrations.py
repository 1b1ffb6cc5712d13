"""A migration runs while the version before it serves: it locks no table for long and breaks no running code."""

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

APPS = {"tenants", "usage", "skills"}
# The first release starts from nothing: there is no data to lock and no older code to break.
FIRST_RELEASE = {
    ("tenants", "0003_console"),
    ("usage", "0002_ledger"),
    ("usage", "0005_finance"),
    ("skills", "0006_batches"),
}

pytestmark = pytest.mark.django_db


def faults(statements: list[str]) -> list[str]:
    """What the linter says against these statements."""
    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, statements, [])
    return [one.message for one in (*errors, *warnings)]


def test_every_migration_after_the_first_release_can_run_beside_the_code_before_it() -> None:
    loader = MigrationLoader(connection, replace_migrations=False)
    ours = {name: one for name, one in loader.disk_migrations.items() if name[0] in APPS}

    found = {name: said for name, one in ours.items() if (said := faults(loader.collect_sql([(one, False)])))}

    assert len(ours) > len(FIRST_RELEASE)
    assert {name: said for name, said in found.items() if name not in FIRST_RELEASE} == {}
    assert set(found) == FIRST_RELEASE


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("tenant", "name"),
        migrations.RenameField("tenant", "name", "title"),
        migrations.AddField("tenant", "colour", models.TextField(default="red")),
        migrations.AlterField("tenant", "name", models.IntegerField()),
        migrations.AddIndex("tenant", models.Index(fields=["name"], name="by_name")),
    ],
    ids=["column removed", "column renamed", "column that must be filled", "type changed", "index that locks"],
)
def test_the_linter_finds_what_breaks_or_blocks_running_code(operation: Operation) -> None:
    before = MigrationLoader(connection, replace_migrations=False).project_state()
    after = before.clone()
    operation.state_forwards("tenants", after)

    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        operation.database_forwards("tenants", editor, before, after)

    assert faults(editor.collected_sql)


def test_a_nullable_column_passes() -> None:
    assert faults(['ALTER TABLE "tenants_tenant" ADD COLUMN "colour" text NULL;']) == []
