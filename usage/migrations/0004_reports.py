"""Tariffs, and rollups that know charges and are kept by what changes."""

from pathlib import Path

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


SQL = Path(__file__).resolve().parents[1] / "sql"
UNDO_ROLLUPS = """
DROP FUNCTION usage_month_numbers(bigint[], date);
DROP FUNCTION usage_month_totals(bigint[], date);
DROP FUNCTION usage_month_changes(bigint[], date);
DROP FUNCTION usage_is_behind(bigint[], date);
DROP FUNCTION usage_forget_days(bigint, date, date);
DROP FUNCTION usage_roll_day(bigint, date);
DROP FUNCTION usage_day_changes(bigint, date, bigint);
DROP FUNCTION usage_day_totals(bigint, date);
DROP FUNCTION usage_day_parts(bigint, date);
DROP FUNCTION usage_billed_events(bigint, date, date);
DROP FUNCTION usage_billed(bigint, integer, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint);
DROP FUNCTION usage_undated(varchar);
"""
LINKS = """
ALTER TABLE usage_tariffprice ADD CONSTRAINT tariff_price_is_of_its_tenant FOREIGN KEY (tenant_id, tariff_id)
    REFERENCES usage_tariff (tenant_id, id);
ALTER TABLE usage_provisionalusage ADD CONSTRAINT provisional_usage_key_is_of_its_tenant FOREIGN KEY (tenant_id, key_id)
    REFERENCES tenants_apikey (tenant_id, id);
ALTER TABLE usage_provisionalusage SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
"""
UNDO_LINKS = """
ALTER TABLE usage_provisionalusage DROP CONSTRAINT provisional_usage_key_is_of_its_tenant;
ALTER TABLE usage_tariffprice DROP CONSTRAINT tariff_price_is_of_its_tenant;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0004_names_and_thresholds'),
        ('usage', '0003_same_tenant'),
    ]

    operations = [
        migrations.AddField(
            model_name='dailyusage',
            name='billed_micros',
            field=models.BigIntegerField(db_default=0, default=0, help_text='What the tenant is charged.'),
        ),
        migrations.AddField(
            model_name='dailyusage',
            name='released_calls',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='dailyusage',
            name='unpriced_calls',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='dailyusage',
            name='unpriced_micros',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='dayrevision',
            name='first_number',
            field=models.BigIntegerField(help_text='The smallest number of the events rolled so far.', null=True),
        ),
        migrations.AddField(
            model_name='dayrevision',
            name='rolled_number',
            field=models.BigIntegerField(db_default=0, default=0, help_text='The largest of them.'),
        ),
        migrations.CreateModel(
            name='Tariff',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('effective_from', models.DateField(help_text="In the tenant's time zone.")),
                ('markup_basis_points', models.IntegerField(default=0, help_text='100 are one percent; negative is a discount.')),
                ('source', models.CharField(max_length=500)),
                ('created_by', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='TariffPrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(max_length=64)),
                ('token_class', models.CharField(max_length=16)),
                ('micros_per_million', models.BigIntegerField()),
                ('tariff', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prices', to='usage.tariff')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='ProvisionalUsage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('number', models.BigIntegerField()),
                ('state', models.CharField(max_length=16)),
                ('skill', models.CharField(max_length=64)),
                ('model', models.CharField(max_length=64)),
                ('calls', models.BigIntegerField()),
                ('errors', models.BigIntegerField()),
                ('estimated_calls', models.BigIntegerField()),
                ('released_calls', models.BigIntegerField()),
                ('unpriced_calls', models.BigIntegerField()),
                ('input_tokens', models.BigIntegerField()),
                ('output_tokens', models.BigIntegerField()),
                ('cache_write_5m_tokens', models.BigIntegerField()),
                ('cache_write_1h_tokens', models.BigIntegerField()),
                ('cache_read_tokens', models.BigIntegerField()),
                ('charged_tokens', models.BigIntegerField()),
                ('cost_micros', models.BigIntegerField()),
                ('estimated_micros', models.BigIntegerField()),
                ('unpriced_micros', models.BigIntegerField()),
                ('billed_micros', models.BigIntegerField()),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.apikey')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'day', 'number'), name='provisional_usage_is_one_per_event')],
            },
        ),
        migrations.AddConstraint(
            model_name='tariff',
            constraint=models.UniqueConstraint(fields=('tenant', 'id'), name='tariff_is_of_its_tenant'),
        ),
        migrations.AddConstraint(
            model_name='tariff',
            constraint=models.CheckConstraint(condition=models.Q(('markup_basis_points__gte', -10000), ('markup_basis_points__lte', 1000000)), name='tariff_charges_something_sensible'),
        ),
        migrations.AddConstraint(
            model_name='tariffprice',
            constraint=models.UniqueConstraint(fields=('tariff', 'model', 'token_class'), name='tariff_price_is_stated_once_per_tariff'),
        ),
        migrations.AddConstraint(
            model_name='tariffprice',
            constraint=models.CheckConstraint(condition=models.Q(('token_class__in', ['input', 'output', 'cache_write_5m', 'cache_write_1h', 'cache_read'])), name='tariff_price_class_is_known'),
        ),
        migrations.AddConstraint(
            model_name='tariffprice',
            constraint=models.CheckConstraint(condition=models.Q(('micros_per_million__gte', 0), ('micros_per_million__lte', 10000000000)), name='tariff_price_is_in_bounds'),
        ),
        migrations.RunSQL(LINKS, UNDO_LINKS),
        migrations.RunSQL((SQL / "rollups.sql").read_text(), UNDO_ROLLUPS),
    ]
