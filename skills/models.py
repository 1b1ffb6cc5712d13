"""Skills as data: what a skill is, its immutable versions, and the labels that say which version runs."""

from typing import Any

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from psycopg.types.json import Json

from tenants.models import ApiKey, Tenant

PRODUCTION = "production"
CANARY = "canary"


class OrderedJSONField(models.JSONField):
    """JSON whose key order is kept: the order of a schema's properties is the order Claude writes them in.

    Postgres' `json` type keeps the text as sent, where `jsonb` sorts the keys.
    """

    def db_type(self, connection: Any) -> str:
        """Name the column's type."""
        return "json"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        """Wrap a value for the driver without a detour by `jsonb`."""
        return None if value is None else Json(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Return what the driver read: it parses `json` itself, so that text is a JSON string."""
        return value


class Skill(models.Model):
    """A named capability; without a tenant it is built in and every tenant has it."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="skills")
    name = models.SlugField(max_length=64)
    description = models.CharField(max_length=1024)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], nulls_distinct=False, name="skill_name_is_one_per_tenant"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SkillVersion(models.Model):
    """What a skill says and promises, for good: triggers refuse every change and removal."""

    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the whole content.")
    description = models.CharField(max_length=1024)
    system = models.TextField(blank=True, default="")
    template = models.TextField(blank=True, default="", help_text="The user message; empty with `messages_from`.")
    input_schema = OrderedJSONField()
    output_schema = OrderedJSONField(null=True, blank=True, help_text="Empty: the answer is plain text.")
    model = models.CharField(max_length=64, help_text="An alias of SKILL_MODELS, or a model's own name.")
    policy = models.JSONField(default=dict, db_default={}, blank=True, help_text="`fallbacks`: models to try next.")
    max_tokens = models.PositiveIntegerField(help_text="Output tokens when the caller names no number.")
    max_tokens_ceiling = models.PositiveIntegerField(help_text="The most a caller may ask for.")
    cache_system = models.BooleanField(default=False, db_default=False)
    messages_from = models.CharField(max_length=64, blank=True, default="", help_text="The input field with the turns.")
    system_from = models.CharField(max_length=64, blank=True, default="", help_text="The input field with more system.")
    documents_from = models.CharField(
        max_length=64, blank=True, default="", help_text="The input field with the sources."
    )
    max_tokens_from = models.CharField(max_length=64, blank=True, default="", help_text="The input field with the cap.")
    citations = models.BooleanField(default=False, db_default=False)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["skill", "number"], name="version_number_is_one_per_skill"),
            models.UniqueConstraint(fields=["skill", "id"], name="version_is_addressed_with_its_skill"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_numbers_start_at_one"),
            models.CheckConstraint(
                condition=Q(max_tokens__gte=1, max_tokens__lte=models.F("max_tokens_ceiling")),
                name="version_max_tokens_is_under_its_ceiling",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.skill} {self.number}"


class SkillLabel(models.Model):
    """A movable name for a version; with a tenant it is that tenant's own pointer into a built-in skill."""

    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="labels")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    name = models.SlugField(max_length=32)
    version = models.ForeignKey(SkillVersion, on_delete=models.PROTECT, related_name="labels")
    share = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        validators=[MaxValueValidator(100)],
        help_text="Of `canary`: the percentage of production's traffic it takes.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["skill", "tenant", "name"], nulls_distinct=False, name="label_is_one_per_skill_and_tenant"
            ),
            models.CheckConstraint(condition=Q(share__lte=100), name="label_share_is_a_percentage"),
        ]

    def __str__(self) -> str:
        return f"{self.skill} {self.name}"


class SkillLabelMove(models.Model):
    """One move of a label, kept for good, so that a rollback knows where to go and everyone sees it."""

    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="label_moves")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    name = models.SlugField(max_length=32)
    previous = models.ForeignKey(SkillVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    version = models.ForeignKey(SkillVersion, on_delete=models.PROTECT, related_name="+")
    share = models.PositiveSmallIntegerField(default=0, db_default=0)
    is_rollback = models.BooleanField(default=False, db_default=False)
    override_reason = models.CharField(
        max_length=500, blank=True, default="", db_default="", help_text="Why an owner let it past the release gate."
    )
    actor = models.CharField(max_length=200, help_text="A user's name, or `system`.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["skill", "tenant", "name", "id"], name="label_moves_in_order")]

    def __str__(self) -> str:
        return f"{self.skill} {self.name} → {self.version.number}"


class KeyPin(models.Model):
    """That the keys of a family get one version of a skill, wherever its labels point."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="pins", help_text="The family's first key.")
    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="pins")
    version = models.ForeignKey(SkillVersion, on_delete=models.PROTECT, related_name="pins")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "skill"], name="pin_is_one_per_key_and_skill")]

    def __str__(self) -> str:
        return f"{self.key}: {self.version}"


class IdempotentCall(models.Model):
    """A call that must not be made twice: who makes it now, and afterwards what it answered."""

    id = models.UUIDField(primary_key=True)
    family = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of where the call went and what it said.")
    owner = models.UUIDField(help_text="The execution that may answer; a later one takes over from one that was lost.")
    executions = models.PositiveSmallIntegerField(default=1, db_default=1)
    run_id = models.UUIDField(null=True, blank=True, help_text="The recorded run whose stream can be followed.")
    lease_until = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    content_type = models.CharField(max_length=100, blank=True, default="", db_default="")
    content = models.BinaryField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["family", "key"], name="idempotency_key_is_used_once_per_family"),
            models.CheckConstraint(
                condition=Q(answered_at__isnull=True, status__isnull=True, content__isnull=True)
                | Q(answered_at__isnull=False, status__isnull=False, content__isnull=False),
                name="idempotent_answer_is_whole",
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotent_calls_by_age")]

    def __str__(self) -> str:
        return self.key


import skills.analyses.models  # noqa: E402 - Django finds an app's models by importing this module
import skills.cases.models  # noqa: E402 - the same
import skills.webhooks.models  # noqa: E402, F401 - the same
