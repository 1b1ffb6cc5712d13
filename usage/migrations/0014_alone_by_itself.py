"""What comes alone has statements of its own: its fields as they are, fewer steps in them.

An event's tenant is its key's: the constraint which says so holds it to an existing one as well.
"""

import re
from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parents[1] / "sql"
(APPLY,) = re.findall(
    r"CREATE OR REPLACE FUNCTION usage_apply\b.*?\nEND \$\$;", (SQL / "ledger.sql").read_text(), re.DOTALL
)


class Migration(migrations.Migration):
    dependencies = [("usage", "0013_sound_by_trigger")]

    operations = [
        migrations.RunSQL(
            (SQL / "alone.sql").read_text(),
            "DROP FUNCTION usage_apply_call(usage_call); DROP FUNCTION usage_apply_closing(usage_closing)",
        ),
        migrations.RunSQL(APPLY, migrations.RunSQL.noop),
        migrations.RunSQL(
            # Both tables of the constraint are locked: nobody may hold one of them and wait for the other.
            "LOCK TABLE usage_tenanttally IN ACCESS EXCLUSIVE MODE;"
            " ALTER TABLE usage_event DROP CONSTRAINT IF EXISTS usage_event_tenant_id_fkey",
            "ALTER TABLE usage_event ADD CONSTRAINT usage_event_tenant_id_fkey"
            " FOREIGN KEY (tenant_id) REFERENCES tenants_tenant (id)",
        ),
    ]
