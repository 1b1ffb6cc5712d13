"""Test cases, their runs and what they came to, and the gate that a release passes by them."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from skills.models import OrderedJSONField, Skill, SkillVersion
from tenants.models import ApiKey, Tenant


class SkillCase(models.Model):
    """An input to try a skill with, and what its answer must be like; for every version alike."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="cases")
    name = models.CharField(max_length=100)
    input = OrderedJSONField()
    expect = OrderedJSONField(help_text="What the answer must be like; empty: that there is one.")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "skill", "name"], name="case_name_is_one_per_skill"),
        ]

    def __str__(self) -> str:
        return f"{self.skill}: {self.name}"


class ReleaseGate(models.Model):
    """What a version must show before a label may send it calls; with its tenant, also for built-in skills."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="gates")
    needs_passing_cases = models.BooleanField(default=True, db_default=True)
    cost_tolerance_percent = models.PositiveIntegerField(
        null=True, blank=True, help_text="How much more than production its cases may cost; empty: any."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "skill"], name="gate_is_one_per_skill")]

    def __str__(self) -> str:
        return f"gate of {self.skill}"


class CaseRun(models.Model):
    """All cases tried with one version, with a key of the tenant that pays for it."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        FINISHED = "finished"
        FAILED = "failed"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    skill = models.ForeignKey(Skill, on_delete=models.PROTECT, related_name="case_runs")
    version = models.ForeignKey(SkillVersion, on_delete=models.PROTECT, related_name="case_runs")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    address = models.CharField(max_length=64, blank=True, default="", db_default="")
    actor = models.CharField(max_length=200)
    request_id = models.CharField(max_length=128)
    cases_digest = models.CharField(max_length=64, help_text="SHA-256 of the cases as they were.")
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED, db_default=State.QUEUED.value)
    total_cases = models.PositiveIntegerField()
    passed_cases = models.PositiveIntegerField(default=0, db_default=0)
    cost_micros = models.PositiveBigIntegerField(default=0, db_default=0)
    tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    p50_milliseconds = models.PositiveIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True, default="", db_default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(null=True, blank=True, help_text="When a message last named it.")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "finished", "failed"]), name="case_run_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state="running", lease_until__isnull=False)
                | (~Q(state="running") & Q(lease_until__isnull=True)),
                name="case_run_is_leased_while_it_runs",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["finished", "failed"], ended_at__isnull=False)
                | Q(state__in=["queued", "running"], ended_at__isnull=True),
                name="case_run_that_ended_says_when",
            ),
            models.CheckConstraint(
                condition=Q(passed_cases__lte=models.F("total_cases")), name="case_run_passes_no_more_than_it_has"
            ),
        ]
        indexes = [
            models.Index(fields=["skill", "tenant", "version", "-id"], name="case_runs_of_a_version"),
            models.Index(fields=["state"], condition=Q(state__in=["queued", "running"]), name="case_runs_waiting"),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of {self.skill_id} {self.version_id}"

    @property
    def has_passed(self) -> bool:
        """Whether it ran to its end and every case passed."""
        return self.state == self.State.FINISHED and self.passed_cases == self.total_cases

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in (self.State.FINISHED, self.State.FAILED)


class CaseResult(models.Model):
    """One case as it was when the run began, and what came of it."""

    class Outcome(models.TextChoices):
        PASSED = "passed"
        FAILED = "failed"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey(CaseRun, on_delete=models.CASCADE, related_name="results")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    input = OrderedJSONField()
    expect = OrderedJSONField()
    outcome = models.CharField(max_length=16, choices=Outcome, blank=True, default="", db_default="")
    faults = models.JSONField(default=list, db_default=[])
    output = OrderedJSONField(null=True, blank=True)
    cost_micros = models.PositiveBigIntegerField(default=0, db_default=0)
    tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    milliseconds = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="case_result_place_is_one_per_run"),
            models.CheckConstraint(
                condition=Q(outcome__in=["", "passed", "failed"]), name="case_result_outcome_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome or 'pending'}"
