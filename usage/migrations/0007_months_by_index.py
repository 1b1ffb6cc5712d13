"""A month's rollups are found by tenant and day, and are part of the query that asks for them.

The index on the tenant alone was the planner's choice for a tenant of many years, and read all of them.
"""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).resolve().parents[1] / "sql" / "rollups.sql").read_text()


def _of_its_tenant() -> models.ForeignKey:
    return models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
    )


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_tenant_days")]

    operations = [
        migrations.AlterField(model_name="dailyusage", name="tenant", field=_of_its_tenant()),
        migrations.AlterField(model_name="dayrevision", name="tenant", field=_of_its_tenant()),
        migrations.AlterField(model_name="provisionalusage", name="tenant", field=_of_its_tenant()),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
