"""What was consumed: budget accounts, usage events, prices. `usage.ledger` is the only writer of the first two."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants.models import ApiKey, Tenant


class TenantTally(models.Model):
    """The last number given to a usage event of a tenant; its row lock is the tenant's ledger mutex."""

    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, primary_key=True, related_name="+")
    last_number = models.BigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.last_number}"


class BudgetAccount(models.Model):
    """What the events in one scope (tenant, key, skill) and period hold reserved and have settled.

    At every commit `reserved_*` is the sum over the open events in scope and `settled_*` the
    sum over the closed ones; `verify_ledger` checks it. The limits are the Budget's.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, related_name="+")
    skill = models.CharField(max_length=64, default="", db_default="")
    window = models.CharField(max_length=8)
    period = models.DateField(help_text="First day of the window, in the tenant's time zone.")
    reserved_tokens = models.BigIntegerField(default=0, db_default=0)
    settled_tokens = models.BigIntegerField(default=0, db_default=0)
    reserved_micros = models.BigIntegerField(default=0, db_default=0)
    settled_micros = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "window", "period", "key", "skill"],
                nulls_distinct=False,
                name="budget_account_is_one_per_scope_and_period",
            ),
            models.CheckConstraint(
                condition=Q(
                    reserved_tokens__gte=0, settled_tokens__gte=0, reserved_micros__gte=0, settled_micros__gte=0
                ),
                name="budget_account_is_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"tenant {self.tenant_id} key {self.key_id} {self.skill} {self.window} {self.period}"


class UsageEvent(models.Model):
    """One upstream attempt: opened before the call, closed exactly once, never edited after.

    An answer served from the cache has one too, with `purpose` cached: no call, no tokens, no cost.
    The table is partitioned by `month`; its key in the database is (month, id).
    """

    class State(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"
        RELEASED = "released"
        ESTIMATED = "estimated"

    id = models.UUIDField(primary_key=True)
    month = models.DateField()
    day = models.DateField()
    number = models.BigIntegerField(help_text="Gapless within the tenant, in admission order.")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    family = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    run_id = models.UUIDField()
    attempt = models.SmallIntegerField()
    purpose = models.CharField(
        max_length=16,
        help_text="answer (retries and fallbacks too), repair, classify (the router's own call) or cached (no call at all)",
    )
    request_id = models.CharField(max_length=128)
    entry_point = models.CharField(max_length=16)
    skill = models.CharField(max_length=64)
    skill_version = models.IntegerField(null=True)
    model = models.CharField(max_length=64)
    route = models.CharField(max_length=160, default="", help_text="Why this model, where it was chosen.")
    state = models.CharField(max_length=16, choices=State)
    reserved_tokens = models.BigIntegerField()
    reserved_output_tokens = models.BigIntegerField()
    reserved_micros = models.BigIntegerField()
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_write_5m_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    charged_tokens = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    price_version = models.IntegerField()
    stop_reason = models.CharField(max_length=32, default="")
    error_type = models.CharField(max_length=64, default="")
    upstream_request_id = models.CharField(max_length=128, default="")
    service_tier = models.CharField(max_length=32, default="")
    opened_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    first_output_ms = models.IntegerField(null=True)
    duration_ms = models.IntegerField(null=True)

    class Meta:
        db_table = "usage_event"  # made by SQL: the migration's state alone knows the model

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.number} {self.model} {self.state}"


class PriceBook(models.Model):
    """One loading of prices. Its id is the price version that events carry; it never changes once loaded."""

    digest = models.CharField(max_length=64, help_text="SHA-256 of the file it was loaded from.")
    source = models.CharField(max_length=500)
    as_of = models.DateField()
    loaded_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"price version {self.pk} ({self.as_of})"


class Price(models.Model):
    """Micro-dollars per million tokens of one class of one model, from a day on and a prompt length on."""

    class TokenClass(models.TextChoices):
        INPUT = "input"
        OUTPUT = "output"
        CACHE_WRITE_5M = "cache_write_5m"
        CACHE_WRITE_1H = "cache_write_1h"
        CACHE_READ = "cache_read"
        BATCH_INPUT = "batch_input"
        BATCH_OUTPUT = "batch_output"

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="prices")
    model = models.CharField(max_length=64)
    token_class = models.CharField(max_length=16, choices=TokenClass)
    prompt_from = models.BigIntegerField(
        default=0, help_text="Applies to calls whose prompt has at least this many tokens."
    )
    effective_from = models.DateField()
    micros_per_million = models.BigIntegerField()
    source = models.CharField(max_length=500)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["book", "model", "token_class", "prompt_from", "effective_from"],
                name="price_is_stated_once_per_version",
            ),
            models.CheckConstraint(
                condition=Q(micros_per_million__gte=0, prompt_from__gte=0), name="price_is_never_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.token_class} {self.micros_per_million}"


class Totals(models.Model):
    """What some closed events add up to."""

    calls = models.BigIntegerField()
    errors = models.BigIntegerField()
    estimated_calls = models.BigIntegerField()
    released_calls = models.BigIntegerField(default=0, db_default=0)
    unpriced_calls = models.BigIntegerField(default=0, db_default=0)
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_write_5m_tokens = models.BigIntegerField()
    cache_write_1h_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_micros = models.BigIntegerField()
    estimated_micros = models.BigIntegerField()
    unpriced_micros = models.BigIntegerField(default=0, db_default=0)
    billed_micros = models.BigIntegerField(default=0, db_default=0, help_text="What the tenant is charged.")

    class Meta:
        abstract = True


class DailyUsage(Totals):
    """Totals of the closed events of one day, key, skill and model: a rollup that can be rebuilt from events."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    skill = models.CharField(max_length=64)
    model = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "day", "key", "skill", "model"], name="daily_usage_is_one_per_day_and_cause"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} tenant {self.tenant_id} {self.skill} {self.model}"


class TenantDay(Totals):
    """The sum of a tenant's rollups of a day, kept by the database itself whenever one of them changes."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "day"], name="tenant_day_is_summed_once")]
        indexes = [models.Index(fields=["day"], name="tenant_day_by_day")]

    def __str__(self) -> str:
        return f"{self.day} tenant {self.tenant_id}"


class DayRevision(models.Model):
    """How often the closed events of a tenant's day changed, and which of these states its rollup shows.

    Every event up to `rolled_number` is in the rollup, or among the day's provisional usage until it is closed.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    revision = models.BigIntegerField()
    rolled_revision = models.BigIntegerField()
    first_number = models.BigIntegerField(null=True, help_text="The smallest number of the events rolled so far.")
    rolled_number = models.BigIntegerField(default=0, db_default=0, help_text="The largest of them.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "day"], name="day_revision_is_one_per_day"),
            models.CheckConstraint(
                condition=Q(rolled_revision__lte=F("revision")), name="day_revision_is_rolled_after_it_was_made"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} tenant {self.tenant_id}: {self.rolled_revision} of {self.revision}"


class ProvisionalUsage(models.Model):
    """What a rollup counts of an event that may still change: nothing while it is open, its estimate after."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateField()
    number = models.BigIntegerField()
    state = models.CharField(max_length=16)
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    skill = models.CharField(max_length=64)
    model = models.CharField(max_length=64)
    calls = models.BigIntegerField()
    errors = models.BigIntegerField()
    estimated_calls = models.BigIntegerField()
    released_calls = models.BigIntegerField()
    unpriced_calls = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_write_5m_tokens = models.BigIntegerField()
    cache_write_1h_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_micros = models.BigIntegerField()
    estimated_micros = models.BigIntegerField()
    unpriced_micros = models.BigIntegerField()
    billed_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "day", "number"], name="provisional_usage_is_one_per_event"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.number} {self.state}"


class BudgetVersion(models.Model):
    """What a budget was from an instant on, its increases included; the database keeps it whenever one is changed."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    skill = models.CharField(max_length=64, default="", db_default="")
    window = models.CharField(max_length=8)
    limit_tokens = models.BigIntegerField(null=True)
    limit_micros = models.BigIntegerField(null=True)
    increases = models.JSONField(help_text="Each with tokens, micros, starts_at and ends_at.")
    is_gone = models.BooleanField(default=False, db_default=False)
    since = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["tenant", "window", "since"], name="budget_versions_by_time")]

    def __str__(self) -> str:
        return f"tenant {self.tenant_id} key {self.key_id} {self.skill} per {self.window} since {self.since}"


class Tariff(models.Model):
    """What a tenant is charged from a day on: a markup on the provider's price, and own prices for some models.

    A tariff never changes once loaded; its id is its version. Of several for one day the newest counts.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    effective_from = models.DateField(help_text="In the tenant's time zone.")
    markup_basis_points = models.IntegerField(default=0, help_text="100 are one percent; negative is a discount.")
    source = models.CharField(max_length=500)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="tariff_is_of_its_tenant"),
            models.CheckConstraint(
                condition=Q(markup_basis_points__gte=-10_000, markup_basis_points__lte=1_000_000),
                name="tariff_charges_something_sensible",
            ),
        ]

    def __str__(self) -> str:
        return f"tariff {self.pk} of tenant {self.tenant_id} from {self.effective_from}"


class TariffPrice(models.Model):
    """A tenant's own price of one class of one model, in micro-dollars per million tokens."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="prices")
    model = models.CharField(max_length=64)
    token_class = models.CharField(max_length=16)
    micros_per_million = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tariff", "model", "token_class"], name="tariff_price_is_stated_once_per_tariff"
            ),
            models.CheckConstraint(
                condition=Q(token_class__in=["input", "output", "cache_write_5m", "cache_write_1h", "cache_read"]),
                name="tariff_price_class_is_known",
            ),
            models.CheckConstraint(
                condition=Q(micros_per_million__gte=0, micros_per_million__lte=10**10),
                name="tariff_price_is_in_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.token_class} {self.micros_per_million}"


import usage.alerts.models  # noqa: E402 - Django finds an app's models by importing this module
import usage.closing.models  # noqa: E402 - the same
import usage.reconciliation.models  # noqa: E402 - the same
import usage.seals.models  # noqa: E402 - the same
import usage.verification.models  # noqa: E402, F401 - the same
