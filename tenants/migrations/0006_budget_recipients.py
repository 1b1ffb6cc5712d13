
import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0005_unpriced_models'),
    ]

    operations = [
        migrations.AddField(
            model_name='budget',
            name='alert_recipients',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.EmailField(max_length=254), blank=True, db_default=[], default=list, help_text="Who hears its alerts, besides the tenant's.", size=None),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='allowed_models',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), blank=True, db_default=[], default=list, help_text='Models its calls may go to, whether a skill or the caller names them; empty means all priced.', size=None),
        ),
    ]
