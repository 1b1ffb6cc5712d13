"""Usage events (partitioned) and the ledger's verbs, in SQL."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).resolve().parents[1] / "sql"

PURPOSES = "answer (retries and fallbacks too), repair, classify (the router's own call) or cached (no call at all)"

UNDO_EVENTS = """
DROP INDEX tenants_budget_by_owner;
DROP INDEX usage_budgetaccount_by_owner;
ALTER TABLE usage_budgetaccount DROP CONSTRAINT budget_account_key_is_of_its_tenant;
DROP FUNCTION usage_make_partitions(date, integer);
DROP TABLE usage_event;
DROP FUNCTION usage_event_is_final();
DROP FUNCTION IF EXISTS usage_event_is_sound();
"""
UNDO_LEDGER = """
DROP FUNCTION usage_heartbeat(jsonb, double precision);
DROP FUNCTION usage_apply(jsonb, jsonb);
DROP FUNCTION usage_close(usage_closing[]);
DROP FUNCTION usage_reserve(bigint, usage_call[]);
DROP FUNCTION usage_admit(bigint, usage_call[], timestamptz, date, date);
DROP FUNCTION usage_fits(bigint, bigint, bigint, bigint);
DROP FUNCTION usage_accounts(bigint, bigint[], date, date, timestamptz);
DROP FUNCTION usage_open_accounts(bigint, bigint[], date, date);
DROP TYPE usage_answer;
DROP TYPE usage_closing;
DROP TYPE usage_call;
DROP TRIGGER tenant_has_a_tally ON tenants_tenant;
DROP FUNCTION usage_give_tally();
DROP FUNCTION usage_lock_tenants(bigint[]);
DROP FUNCTION usage_clock();
"""
UNDO_UPKEEP = """
DROP FUNCTION usage_repair_account(bigint);
DROP FUNCTION usage_account_by_events(bigint);
DROP FUNCTION usage_release_unanswered(uuid[]);
DROP FUNCTION usage_sweep(integer);
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]

    operations = [
        # Django's schema editor knows no partitions: the table is SQL's, the state is Django's.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="UsageEvent",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("month", models.DateField()),
                        ("day", models.DateField()),
                        ("number", models.BigIntegerField(help_text="Gapless within the tenant, in admission order.")),
                        ("run_id", models.UUIDField()),
                        ("attempt", models.SmallIntegerField()),
                        ("purpose", models.CharField(help_text=PURPOSES, max_length=16)),
                        ("request_id", models.CharField(max_length=128)),
                        ("entry_point", models.CharField(max_length=16)),
                        ("skill", models.CharField(max_length=64)),
                        ("skill_version", models.IntegerField(null=True)),
                        ("model", models.CharField(max_length=64)),
                        (
                            "route",
                            models.CharField(
                                default="", help_text="Why this model, where it was chosen.", max_length=160
                            ),
                        ),
                        (
                            "state",
                            models.CharField(
                                choices=[
                                    ("open", "Open"),
                                    ("settled", "Settled"),
                                    ("released", "Released"),
                                    ("estimated", "Estimated"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("reserved_tokens", models.BigIntegerField()),
                        ("reserved_output_tokens", models.BigIntegerField()),
                        ("reserved_micros", models.BigIntegerField()),
                        ("input_tokens", models.BigIntegerField(default=0)),
                        ("output_tokens", models.BigIntegerField(default=0)),
                        ("cache_write_5m_tokens", models.BigIntegerField(default=0)),
                        ("cache_write_1h_tokens", models.BigIntegerField(default=0)),
                        ("cache_read_tokens", models.BigIntegerField(default=0)),
                        ("charged_tokens", models.BigIntegerField(default=0)),
                        ("cost_micros", models.BigIntegerField(default=0)),
                        ("price_version", models.IntegerField()),
                        ("stop_reason", models.CharField(default="", max_length=32)),
                        ("error_type", models.CharField(default="", max_length=64)),
                        ("upstream_request_id", models.CharField(default="", max_length=128)),
                        ("service_tier", models.CharField(default="", max_length=32)),
                        ("opened_at", models.DateTimeField()),
                        ("lease_until", models.DateTimeField()),
                        ("closed_at", models.DateTimeField(null=True)),
                        ("first_output_ms", models.IntegerField(null=True)),
                        ("duration_ms", models.IntegerField(null=True)),
                        (
                            "family",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.apikey"
                            ),
                        ),
                        (
                            "key",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.apikey"
                            ),
                        ),
                        (
                            "tenant",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
                            ),
                        ),
                    ],
                    options={
                        "db_table": "usage_event",
                    },
                ),
            ]
        ),
        migrations.RunSQL((SQL / "events.sql").read_text(), UNDO_EVENTS),
        migrations.RunSQL((SQL / "ledger.sql").read_text(), UNDO_LEDGER),
        migrations.RunSQL((SQL / "upkeep.sql").read_text(), UNDO_UPKEEP),
    ]
