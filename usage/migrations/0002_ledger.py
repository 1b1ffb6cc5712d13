"""Usage events (partitioned) and the ledger's verbs, in SQL."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parents[1] / "sql"

UNDO_EVENTS = """
ALTER TABLE usage_budgetaccount DROP CONSTRAINT budget_account_key_is_of_its_tenant;
DROP FUNCTION usage_make_partitions(date, integer);
DROP TABLE usage_event;
DROP FUNCTION usage_event_is_final();
"""
UNDO_LEDGER = """
DROP FUNCTION usage_sweep(integer);
DROP FUNCTION usage_heartbeat(jsonb, double precision);
DROP FUNCTION usage_apply(jsonb, jsonb);
DROP FUNCTION usage_settle(jsonb);
DROP FUNCTION usage_reserve(jsonb);
DROP FUNCTION usage_is_budgeted(bigint, bigint);
DROP FUNCTION usage_admit(bigint, jsonb, timestamptz, date, date);
DROP FUNCTION usage_accounts(bigint, date, date, timestamptz);
DROP FUNCTION usage_open_accounts(bigint, date, date);
DROP FUNCTION usage_lock_tenants(bigint[]);
DROP FUNCTION usage_clock();
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]

    operations = [
        migrations.RunSQL((SQL / "events.sql").read_text(), UNDO_EVENTS),
        migrations.RunSQL((SQL / "ledger.sql").read_text(), UNDO_LEDGER),
    ]
