"""What is allowed: tenants, who works for them, their keys and their budgets."""

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class User(AbstractUser):
    """A person who signs in: an operator (`is_superuser`) or, by a Membership, someone of a tenant."""

    email = models.EmailField("email address", unique=True)


class Tenant(models.Model):
    """One customer of the platform, walled off from every other."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE, db_default=Status.ACTIVE)
    timezone = models.CharField(
        max_length=64, default="UTC", db_default="UTC", help_text="IANA name; months and days are counted in it."
    )
    alert_recipients = ArrayField(
        models.EmailField(), default=list, db_default=[], blank=True, help_text="Who hears alerts, besides the owners."
    )
    retention_days = models.PositiveIntegerField(
        default=30, db_default=30, help_text="How long the content of analyses and of logged prompts is kept."
    )
    logs_prompts = models.BooleanField(
        default=False, db_default=False, help_text="Whether prompts and answers are logged."
    )
    allowed_models = ArrayField(
        models.CharField(max_length=64),
        default=list,
        db_default=[],
        blank=True,
        help_text="Models its calls may use; empty means all priced.",
    )
    unpriced_models = models.CharField(
        max_length=8,
        blank=True,
        default="",
        db_default="",
        help_text="refuse or flag calls of models without a price; empty: as the platform does.",
    )
    allows_fallback = models.BooleanField(
        default=True, db_default=True, help_text="Whether another model may answer when a skill's own fails."
    )
    messages_policy = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="Guardrails of calls to /v1/messages, in the form of a skill's policy; empty: none.",
    )
    provider_key_sealed = models.BinaryField(null=True, blank=True, help_text="Its own Anthropic key, encrypted.")
    provider_key_display = models.CharField(max_length=32, blank=True, default="", db_default="")
    provider_key_set_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=["active", "suspended"]), name="tenant_status_is_known"),
            models.CheckConstraint(
                condition=Q(unpriced_models__in=["", "refuse", "flag"]), name="tenant_unpriced_models_are_known"
            ),
            models.CheckConstraint(
                condition=Q(retention_days__gte=1, retention_days__lte=3650), name="tenant_retention_is_1_to_3650_days"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """That a person works for a tenant, and as what."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        FINANCE = "finance"
        VIEWER = "viewer"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user"], name="user_belongs_to_one_tenant"),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "admin", "finance", "viewer"]), name="membership_role_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Invitation(models.Model):
    """That someone was asked, by mail, to join a tenant; the link's token is stored as its digest alone."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Membership.Role)
    digest = models.BinaryField(max_length=32, unique=True)
    invited_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="invitation_is_addressed_with_its_tenant"),
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=Q(accepted_at=None, withdrawn_at=None),
                name="invitation_is_open_once_per_address",
            ),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "admin", "finance", "viewer"]), name="invitation_role_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} ({self.role})"


class ApiKey(models.Model):
    """A secret that calls skills for a tenant. Only its keyed digest is stored; it is revoked, never deleted."""

    class Environment(models.TextChoices):
        LIVE = "live"
        TEST = "test"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="api_keys")
    public_id = models.CharField(
        max_length=32, unique=True, help_text="How the key is named where the secret must not appear."
    )
    name = models.CharField(max_length=100)
    environment = models.CharField(
        max_length=8, choices=Environment, default=Environment.LIVE, db_default=Environment.LIVE
    )
    digest = models.BinaryField(max_length=32, unique=True)
    pepper_id = models.CharField(max_length=16)
    display = models.CharField(max_length=32, help_text="Prefix, first four and last four characters.")
    allowed_skills = ArrayField(
        models.CharField(max_length=64),
        default=list,
        db_default=[],
        blank=True,
        help_text="Skills it may call; empty means all.",
    )
    allowed_verbs = ArrayField(
        models.CharField(max_length=16),
        default=list,
        db_default=[],
        blank=True,
        help_text="run, read, messages, health, reports; empty means all but health and reports.",
    )
    allowed_models = ArrayField(
        models.CharField(max_length=64),
        default=list,
        db_default=[],
        blank=True,
        help_text="Models its calls may go to, whether a skill or the caller names them; empty means all priced.",
    )
    allowed_networks = ArrayField(
        models.CharField(max_length=64),
        default=list,
        db_default=[],
        blank=True,
        help_text="CIDR ranges it may call from; empty means any.",
    )
    requests_per_minute = models.PositiveIntegerField(default=60, db_default=60)
    tokens_per_minute = models.PositiveBigIntegerField(default=200_000, db_default=200_000)
    concurrent_calls = models.PositiveIntegerField(default=20, db_default=20)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    last_used_at = models.DateTimeField(null=True, blank=True)
    family = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="successors",
        help_text="The first key of a chain of rotations; limits and budget are counted on it.",
    )
    rotated_from = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="rotated_to"
    )
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "key"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="api_key_is_addressed_with_its_tenant"),
            models.CheckConstraint(condition=Q(environment__in=["live", "test"]), name="api_key_environment_is_known"),
            models.CheckConstraint(
                condition=Q(requests_per_minute__gte=1, tokens_per_minute__gte=1, concurrent_calls__gte=1),
                name="api_key_limits_are_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.display})"


def default_thresholds() -> list[int]:
    """Return the percentages at which a budget alerts unless told otherwise."""
    return [50, 80, 100]


class Budget(models.Model):
    """A cap on what a tenant, a key or a skill may use in a month or a day of the tenant's time zone.

    Every tenant and every key has a monthly one with a token limit; the others are optional.
    """

    class Window(models.TextChoices):
        MONTH = "month"
        DAY = "day"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="budgets")
    key = models.ForeignKey(
        ApiKey,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="budgets",
        help_text="The family's first key; empty: the whole tenant.",
    )
    skill = models.CharField(max_length=64, blank=True, default="", db_default="", help_text="Empty: every skill.")
    window = models.CharField(max_length=8, choices=Window, default=Window.MONTH, db_default=Window.MONTH)
    limit_tokens = models.PositiveBigIntegerField(null=True, blank=True)
    limit_micros = models.PositiveBigIntegerField(null=True, blank=True, help_text="Micro-dollars.")
    thresholds = ArrayField(
        models.PositiveSmallIntegerField(),
        default=default_thresholds,
        db_default=[50, 80, 100],
        help_text="Percentages that alert once each per window.",
    )
    alert_recipients = ArrayField(
        models.EmailField(),
        default=list,
        db_default=[],
        blank=True,
        help_text="Who hears its alerts, besides the tenant's.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="budget_is_addressed_with_its_tenant"),
            models.UniqueConstraint(
                fields=["tenant", "key", "skill", "window"],
                nulls_distinct=False,
                name="budget_is_one_per_owner_and_window",
            ),
            models.CheckConstraint(condition=Q(window__in=["month", "day"]), name="budget_window_is_known"),
            models.CheckConstraint(
                condition=Q(limit_tokens__isnull=False) | Q(limit_micros__isnull=False), name="budget_limits_something"
            ),
            models.CheckConstraint(
                condition=~Q(skill="", window="month") | Q(limit_tokens__isnull=False),
                name="monthly_budget_of_an_owner_limits_tokens",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key or self.tenant} {self.skill} per {self.window}".replace("  ", " ")


class BudgetIncrease(models.Model):
    """A temporary addition to a budget; it ends by itself."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="increases")
    extra_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    extra_micros = models.PositiveBigIntegerField(default=0, db_default=0)
    starts_at = models.DateTimeField(db_default=Now())
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="budget_increase_ends_after_it_starts"
            ),
        ]

    def __str__(self) -> str:
        return f"+{self.extra_tokens} tokens until {self.ends_at:%Y-%m-%d}"


class AuditEntry(models.Model):
    """What someone did or was refused, kept for good (append-only: a trigger refuses change and removal)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    actor = models.CharField(max_length=200, help_text="A user's name, a key's public id, or `system`.")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=200, blank=True, default="")
    address = models.CharField(max_length=64, blank=True, default="")
    details = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["tenant", "-at"], name="audit_by_tenant")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action}"


class Refusal(models.Model):
    """How many calls of a key were refused in an hour, and why; counted in batches, for people to look at."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+", help_text="The family's first key.")
    hour = models.DateTimeField(help_text="The hour's first instant.")
    reason = models.CharField(max_length=64)
    count = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key", "hour", "reason"], name="refusal_is_one_per_key_hour_and_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.count} times {self.reason} in {self.hour:%Y-%m-%d %H}h"
