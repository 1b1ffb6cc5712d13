"""What is counted on a key is counted on a key of its own tenant: no row may link across tenants."""

from django.db import migrations

LINKS = [
    ("usage_event", "usage_event_family_is_of_its_tenant", "family_id"),
    ("usage_dailyusage", "daily_usage_key_is_of_its_tenant", "key_id"),
]


def same_tenant(table: str, name: str, column: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (tenant_id, {column})"
        " REFERENCES tenants_apikey (tenant_id, id)",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_ledger"), ("tenants", "0002_constraints")]
    operations = [same_tenant(*row) for row in LINKS]
