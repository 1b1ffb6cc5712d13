"""Events are found by their ids alone, also in a month of which Postgres has no statistics yet.

While a partition was new, the index of the numbers, which began with the month as the primary key does, seemed as
good to the planner: each settlement then read all that the tenant had used in the month.
"""

import re
from pathlib import Path
from typing import Any

from django.db import migrations

LEDGER = (Path(__file__).resolve().parents[1] / "sql" / "ledger.sql").read_text()
(CLOSE,) = re.findall(r"CREATE OR REPLACE FUNCTION usage_close\b.*?\nEND \$\$;", LEDGER, re.DOTALL)
NAME = "usage_event_number_is_given_once"


def by_tenant(_: Any, editor: Any) -> None:
    """Rebuild the index, one partition after the other, while calls go on."""
    _rebuild(editor, "tenant_id, month, number")


def by_month(_: Any, editor: Any) -> None:
    """Put back what was."""
    _rebuild(editor, "month, tenant_id, number")


def _rebuild(editor: Any, columns: str) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {NAME}_anew")  # of an attempt that was cut short
        cursor.execute(f"CREATE UNIQUE INDEX {NAME}_anew ON ONLY usage_event ({columns})")
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_event'::regclass")
        for (partition,) in cursor.fetchall():
            index = f"{partition}_{columns.replace(', ', '_')}_anew"
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
            cursor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {index} ON {partition} ({columns})")
            cursor.execute(f"ALTER INDEX {NAME}_anew ATTACH PARTITION {index}")
        cursor.execute(f"DROP INDEX {NAME}")
        cursor.execute(f"ALTER INDEX {NAME}_anew RENAME TO {NAME}")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage", "0009_adjustment_proofs")]

    operations = [
        migrations.RunPython(by_tenant, by_month),
        migrations.RunSQL(CLOSE, migrations.RunSQL.noop),
    ]
