import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import skills.models
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('tenants', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Skill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=64)),
                ('description', models.CharField(max_length=1024)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='skills', to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='SkillVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('digest', models.CharField(help_text='SHA-256 of the whole content.', max_length=64)),
                ('description', models.CharField(max_length=1024)),
                ('system', models.TextField(blank=True, default='')),
                ('template', models.TextField(blank=True, default='', help_text='The user message; empty with `messages_from`.')),
                ('input_schema', skills.models.OrderedJSONField()),
                ('output_schema', skills.models.OrderedJSONField(blank=True, help_text='Empty: the answer is plain text.', null=True)),
                ('model', models.CharField(help_text="An alias of SKILL_MODELS, or a model's own name.", max_length=64)),
                ('policy', models.JSONField(blank=True, db_default={}, default=dict, help_text='`fallbacks`: models to try next.')),
                ('max_tokens', models.PositiveIntegerField(help_text='Output tokens when the caller names no number.')),
                ('max_tokens_ceiling', models.PositiveIntegerField(help_text='The most a caller may ask for.')),
                ('cache_system', models.BooleanField(db_default=False, default=False)),
                ('messages_from', models.CharField(blank=True, default='', help_text='The input field with the turns.', max_length=64)),
                ('system_from', models.CharField(blank=True, default='', help_text='The input field with more system.', max_length=64)),
                ('documents_from', models.CharField(blank=True, default='', help_text='The input field with the sources.', max_length=64)),
                ('max_tokens_from', models.CharField(blank=True, default='', help_text='The input field with the cap.', max_length=64)),
                ('citations', models.BooleanField(db_default=False, default=False)),
                ('created_by', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('skill', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='skills.skill')),
            ],
        ),
        migrations.CreateModel(
            name='SkillLabelMove',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=32)),
                ('share', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('is_rollback', models.BooleanField(db_default=False, default=False)),
                ('actor', models.CharField(help_text="A user's name, or `system`.", max_length=200)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('skill', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='label_moves', to='skills.skill')),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('previous', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='skills.skillversion')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='skills.skillversion')),
            ],
        ),
        migrations.CreateModel(
            name='SkillLabel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=32)),
                ('share', models.PositiveSmallIntegerField(db_default=0, default=0, help_text="Of `canary`: the percentage of production's traffic it takes.", validators=[django.core.validators.MaxValueValidator(100)])),
                ('skill', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='labels', to='skills.skill')),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='labels', to='skills.skillversion')),
            ],
        ),
        migrations.AddConstraint(
            model_name='skill',
            constraint=models.UniqueConstraint(fields=('tenant', 'name'), name='skill_name_is_one_per_tenant', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='skillversion',
            constraint=models.UniqueConstraint(fields=('skill', 'number'), name='version_number_is_one_per_skill'),
        ),
        migrations.AddConstraint(
            model_name='skillversion',
            constraint=models.UniqueConstraint(fields=('skill', 'id'), name='version_is_addressed_with_its_skill'),
        ),
        migrations.AddConstraint(
            model_name='skillversion',
            constraint=models.CheckConstraint(condition=models.Q(('number__gte', 1)), name='version_numbers_start_at_one'),
        ),
        migrations.AddConstraint(
            model_name='skillversion',
            constraint=models.CheckConstraint(condition=models.Q(('max_tokens__gte', 1), ('max_tokens__lte', models.F('max_tokens_ceiling'))), name='version_max_tokens_is_under_its_ceiling'),
        ),
        migrations.AddIndex(
            model_name='skilllabelmove',
            index=models.Index(fields=['skill', 'tenant', 'name', 'id'], name='label_moves_in_order'),
        ),
        migrations.AddConstraint(
            model_name='skilllabel',
            constraint=models.UniqueConstraint(fields=('skill', 'tenant', 'name'), name='label_is_one_per_skill_and_tenant', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='skilllabel',
            constraint=models.CheckConstraint(condition=models.Q(('share__lte', 100)), name='label_share_is_a_percentage'),
        ),
    ]
