"""What each budget was, for months that are over."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).resolve().parents[1] / "sql" / "budget_versions.sql").read_text()
LINK = """
ALTER TABLE usage_budgetversion ADD CONSTRAINT budget_version_key_is_of_its_tenant FOREIGN KEY (tenant_id, key_id)
    REFERENCES tenants_apikey (tenant_id, id);
"""
UNDO = """
DROP TRIGGER usage_budget_increase_is_kept ON tenants_budgetincrease;
DROP TRIGGER usage_budget_is_kept ON tenants_budget;
DROP FUNCTION usage_keep_budget();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0006_budget_recipients'),
        ('usage', '0007_months_by_index'),
    ]

    operations = [
        migrations.CreateModel(
            name='BudgetVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('skill', models.CharField(db_default='', default='', max_length=64)),
                ('window', models.CharField(max_length=8)),
                ('limit_tokens', models.BigIntegerField(null=True)),
                ('limit_micros', models.BigIntegerField(null=True)),
                ('increases', models.JSONField(help_text='Each with tokens, micros, starts_at and ends_at.')),
                ('is_gone', models.BooleanField(db_default=False, default=False)),
                ('since', models.DateTimeField()),
                ('key', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.apikey')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'indexes': [models.Index(fields=['tenant', 'window', 'since'], name='budget_versions_by_time')],
            },
        ),
        migrations.RunSQL(LINK, migrations.RunSQL.noop),
        migrations.RunSQL(SQL, UNDO),
    ]
