"""The sums of each tenant's days, kept beside the rollups by key, skill and model."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).resolve().parents[1] / "sql" / "tenant_days.sql").read_text()
UNDO = """
DROP FUNCTION usage_tenant_totals(bigint[], date);
DROP TRIGGER usage_dailyusage_is_summed ON usage_dailyusage;
DROP TRIGGER usage_dailyusage_is_summed_again ON usage_dailyusage;
DROP TRIGGER usage_dailyusage_is_summed_without ON usage_dailyusage;
DROP FUNCTION usage_sum_days();
"""
MEASURES = """
calls errors estimated_calls released_calls unpriced_calls input_tokens output_tokens cache_write_5m_tokens
cache_write_1h_tokens cache_read_tokens charged_tokens cost_micros estimated_micros unpriced_micros billed_micros
""".split()
FROM_ROLLUPS = f"""
INSERT INTO usage_tenantday (tenant_id, day, {", ".join(MEASURES)})
SELECT tenant_id, day, {", ".join(f"sum({name})" for name in MEASURES)} FROM usage_dailyusage GROUP BY tenant_id, day
"""


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0005_unpriced_models'),
        ('usage', '0005_finance'),
    ]

    operations = [
        migrations.CreateModel(
            name='TenantDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('calls', models.BigIntegerField()),
                ('errors', models.BigIntegerField()),
                ('estimated_calls', models.BigIntegerField()),
                ('released_calls', models.BigIntegerField(db_default=0, default=0)),
                ('unpriced_calls', models.BigIntegerField(db_default=0, default=0)),
                ('input_tokens', models.BigIntegerField()),
                ('output_tokens', models.BigIntegerField()),
                ('cache_write_5m_tokens', models.BigIntegerField()),
                ('cache_write_1h_tokens', models.BigIntegerField()),
                ('cache_read_tokens', models.BigIntegerField()),
                ('charged_tokens', models.BigIntegerField()),
                ('cost_micros', models.BigIntegerField()),
                ('estimated_micros', models.BigIntegerField()),
                ('unpriced_micros', models.BigIntegerField(db_default=0, default=0)),
                ('billed_micros', models.BigIntegerField(db_default=0, default=0, help_text='What the tenant is charged.')),
                ('day', models.DateField()),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'indexes': [models.Index(fields=['day'], name='tenant_day_by_day')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'day'), name='tenant_day_is_summed_once')],
            },
        ),
        migrations.RunSQL(SQL, UNDO),
        migrations.RunSQL(FROM_ROLLUPS, migrations.RunSQL.noop),
    ]
