"""A signed proof of each adjustment."""

import django.db.models.deletion
from django.db import migrations, models

KEPT = """
CREATE TRIGGER adjustment_proof_is_kept BEFORE UPDATE OR DELETE ON usage_adjustmentproof
    FOR EACH ROW EXECUTE FUNCTION usage_row_is_kept();
"""
UNDO = "DROP TRIGGER adjustment_proof_is_kept ON usage_adjustmentproof"


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0006_budget_recipients'),
        ('usage', '0008_budget_versions'),
    ]

    operations = [
        migrations.CreateModel(
            name='AdjustmentProof',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.BigIntegerField(help_text='Gapless within the tenant, from 1.')),
                ('adjustment_id', models.BigIntegerField(unique=True)),
                ('payload', models.TextField()),
                ('key_id', models.CharField(max_length=16)),
                ('signature', models.CharField(max_length=128)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'sequence'), name='adjustment_proof_is_one_per_place_in_the_chain')],
            },
        ),
        migrations.RunSQL(KEPT, UNDO),
    ]
