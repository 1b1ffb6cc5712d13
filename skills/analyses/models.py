"""Analyses as rows, which are the truth: a queue's message only names one, a worker only leases one."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from skills.models import OrderedJSONField, SkillVersion
from skills.webhooks.models import WebhookEndpoint
from tenants.models import ApiKey, Tenant


class AnalysisTerms(models.Model):
    """What a tenant's analyses get: how many may be under way at once. For how long they are kept is the tenant's own."""

    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, primary_key=True, related_name="+")
    parallel_analyses = models.PositiveSmallIntegerField(default=4, db_default=4)

    class Meta:
        verbose_name_plural = "analysis terms"
        constraints = [
            models.CheckConstraint(condition=Q(parallel_analyses__gte=1), name="analysis_terms_allow_something"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant}: {self.parallel_analyses} at once"


class Analysis(models.Model):
    """One long analysis; `fence` grows with every worker that takes it, so that a worker that lost it writes nothing."""

    class Kind(models.TextChoices):
        ANALYSIS = "analysis"
        BATCH = "batch"

    class Processing(models.TextChoices):
        IMMEDIATE = "immediate"
        BULK = "bulk"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        AWAITING_BUDGET = "awaiting_budget"

    class Priority(models.IntegerChoices):
        LOW = 0
        NORMAL = 1
        HIGH = 2

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="analyses")
    kind = models.CharField(
        max_length=8, choices=Kind, default=Kind.ANALYSIS, db_default=Kind.ANALYSIS.value,
        help_text="A batch is one skill over many inputs: its steps are the inputs.",
    )  # fmt: skip
    processing = models.CharField(
        max_length=16, choices=Processing, default=Processing.IMMEDIATE, db_default=Processing.IMMEDIATE.value
    )
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    address = models.CharField(max_length=64, blank=True, default="", db_default="")
    request_id = models.CharField(max_length=128)
    skill = models.CharField(max_length=64)
    version = models.ForeignKey(SkillVersion, on_delete=models.PROTECT, related_name="+")
    input = OrderedJSONField(default=dict)
    instructions = models.TextField(blank=True, default="", db_default="")
    output_schema = OrderedJSONField(null=True, blank=True)
    metadata = models.JSONField(default=dict, db_default={})
    callback = models.ForeignKey(WebhookEndpoint, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    priority = models.PositiveSmallIntegerField(
        choices=Priority, default=Priority.NORMAL, db_default=Priority.NORMAL.value
    )
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED, db_default=State.QUEUED.value)
    error = models.JSONField(null=True, blank=True, help_text="Why it failed or waits: type, reason and message.")
    estimate = models.JSONField(default=dict, db_default={})
    max_tokens = models.PositiveBigIntegerField(null=True, blank=True)
    max_micros = models.PositiveBigIntegerField(null=True, blank=True, help_text="Micro-dollars.")
    reserved_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    reserved_micros = models.PositiveBigIntegerField(default=0, db_default=0)
    used_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    used_micros = models.PositiveBigIntegerField(default=0, db_default=0)
    steps_total = models.PositiveIntegerField(default=0, db_default=0)
    steps_done = models.PositiveIntegerField(default=0, db_default=0)
    steps_failed = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Of those that are done; a batch goes on."
    )
    busy_seconds = models.FloatField(default=0, db_default=0, help_text="Time that workers spent on it.")
    result = OrderedJSONField(null=True, blank=True)
    screening = models.JSONField(
        default=dict,
        db_default={},
        help_text="What guardrails found in brief and documents, and whether all were seen.",
    )
    failures = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Breakdowns since the last step.")
    fence = models.PositiveBigIntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    available_at = models.DateTimeField(db_default=Now(), help_text="Not to be taken up earlier.")
    dispatched_at = models.DateTimeField(null=True, blank=True, help_text="When a message last named it.")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "analyses"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "succeeded", "failed", "cancelled", "awaiting_budget"]),
                name="analysis_state_is_known",
            ),
            models.CheckConstraint(
                condition=Q(state="running", lease_until__isnull=False)
                | (~Q(state="running") & Q(lease_until__isnull=True)),
                name="analysis_is_leased_while_it_runs",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["succeeded", "failed", "cancelled"], ended_at__isnull=False)
                | (~Q(state__in=["succeeded", "failed", "cancelled"]) & Q(ended_at__isnull=True)),
                name="analysis_that_ended_says_when",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(state__in=["succeeded", "failed", "cancelled"]),
                name="analysis_ends_before_it_is_deleted",
            ),
            models.CheckConstraint(
                condition=Q(steps_done__lte=F("steps_total")), name="analysis_steps_done_are_planned"
            ),
            models.CheckConstraint(
                condition=Q(steps_failed__lte=F("steps_done")), name="analysis_steps_failed_are_done"
            ),
            models.CheckConstraint(condition=Q(kind__in=["analysis", "batch"]), name="analysis_kind_is_known"),
            models.CheckConstraint(
                condition=Q(processing__in=["immediate", "bulk"]), name="analysis_processing_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="analyses_of_a_tenant"),
            models.Index(
                fields=["tenant", "-priority", "id"],
                name="analyses_waiting",
                condition=Q(state__in=["queued", "running"]),
            ),
            models.Index(
                fields=["tenant", "created_at"], name="analyses_to_delete", condition=Q(deleted_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.skill} {self.id}"


class AnalysisDocument(models.Model):
    """One source: first a file on disk, then its text with the offset at which each page starts."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="documents")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100)
    size_bytes = models.PositiveBigIntegerField()
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of what was sent.")
    path = models.CharField(
        max_length=255, blank=True, default="", db_default="", help_text="Below the uploads folder."
    )
    text = models.TextField(null=True, blank=True)  # noqa: DJ001 - null until extracted; an empty text is an answer
    pages = models.JSONField(null=True, blank=True, help_text="Offsets at which pages start; null without pages.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["analysis", "position"], name="document_position_is_one_per_analysis"),
        ]

    def __str__(self) -> str:
        return self.name


class AnalysisStep(models.Model):
    """One piece of the work; `output` is its checkpoint."""

    class Kind(models.TextChoices):
        MAP = "map"
        MERGE = "merge"
        ANSWER = "answer"
        ITEM = "item"

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="steps")
    kind = models.CharField(max_length=8, choices=Kind)
    level = models.PositiveSmallIntegerField()
    position = models.PositiveIntegerField()
    input = models.JSONField()
    output = OrderedJSONField(null=True, blank=True)
    fence = models.PositiveBigIntegerField(null=True, blank=True, help_text="Of the worker that finished it.")
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["analysis", "level", "position"], name="step_place_is_one_per_analysis"),
            models.CheckConstraint(
                condition=Q(done_at__isnull=True, fence__isnull=True) | Q(done_at__isnull=False, fence__isnull=False),
                name="step_done_names_its_worker",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.level}/{self.position}"


class MessageBatch(models.Model):
    """Calls that go to Claude together, at half the price. It is written before upstream hears of it, so that none is lost."""

    class State(models.TextChoices):
        CREATING = "creating"
        IN_PROGRESS = "in_progress"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True)
    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="message_batches")
    upstream_id = models.CharField(max_length=128, blank=True, default="", db_default="")
    state = models.CharField(max_length=16, choices=State, default=State.CREATING, db_default=State.CREATING.value)
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "message batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["creating", "in_progress", "ended"]), name="message_batch_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(state="in_progress") | ~Q(upstream_id=""),
                name="message_batch_under_way_has_a_name_upstream",
            ),
        ]
        indexes = [
            models.Index(fields=["analysis"], name="message_batches_open", condition=~Q(state="ended")),
        ]

    def __str__(self) -> str:
        return self.upstream_id or str(self.id)


class AnalysisCall(models.Model):
    """One attempt at a step: what the envelope holds for it, then what it used. Its id is the ledger's run."""

    run_id = models.UUIDField(primary_key=True)
    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="calls")
    level = models.PositiveSmallIntegerField()
    position = models.PositiveIntegerField()
    reserved_tokens = models.PositiveBigIntegerField()
    reserved_micros = models.PositiveBigIntegerField()
    used_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    used_micros = models.PositiveBigIntegerField(default=0, db_default=0)
    outcome = models.CharField(max_length=64, blank=True, default="", db_default="")
    message_batch = models.ForeignKey(
        MessageBatch, on_delete=models.PROTECT, null=True, blank=True, related_name="calls"
    )
    reservation = models.JSONField(null=True, blank=True, help_text="The usage event of a call in a message batch.")
    opened_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["analysis"], name="analysis_calls_open", condition=Q(closed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return str(self.run_id)


class AnalysisEvent(models.Model):
    """What an analysis said, in order; streams resume after any of them."""

    id = models.BigAutoField(primary_key=True)
    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="events")
    name = models.CharField(max_length=32)
    data = OrderedJSONField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["analysis", "id"], name="analysis_events_in_order")]

    def __str__(self) -> str:
        return self.name
