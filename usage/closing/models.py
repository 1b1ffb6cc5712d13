"""Closed months and what changed after them."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tenants.models import ApiKey, Tenant


class Statement(models.Model):
    """A closed month of a tenant: its figures as they were then, numbered without a gap, signed, never changed."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    number = models.BigIntegerField(help_text="Gapless within the tenant, from 1.")
    month = models.DateField()
    figures = models.TextField(help_text="Canonical JSON: exactly the bytes that were hashed and signed.")
    sha256 = models.CharField(max_length=64)
    key_id = models.CharField(max_length=16)
    signature = models.CharField(max_length=128)
    last_event_number = models.BigIntegerField(help_text="The newest event that the figures can hold.")
    closed_at = models.DateTimeField()
    closed_by = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="statement_number_is_given_once"),
            models.UniqueConstraint(fields=["tenant", "month"], name="statement_is_one_per_month"),
            models.CheckConstraint(condition=Q(number__gte=1, month__day=1), name="statement_is_of_a_month"),
        ]

    def __str__(self) -> str:
        return f"statement {self.number} ({self.month:%Y-%m})"


class Adjustment(models.Model):
    """What a closed or sealed event turned out to differ by, booked in the month that is open then; never changed."""

    class Kind(models.TextChoices):
        CORRECTION = "correction", "an estimate became known"
        LATE = "late", "admitted to a month after it was closed"
        RERATING = "rerating", "another price"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    month = models.DateField(help_text="The month it is booked in.")
    kind = models.CharField(max_length=16, choices=Kind)
    origin_day = models.DateField(help_text="The day of what it adjusts.")
    event_id = models.UUIDField(null=True, help_text="The event it adjusts; a re-rating adjusts all of a day.")
    event_number = models.BigIntegerField(null=True)
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+")
    skill = models.CharField(max_length=64)
    model = models.CharField(max_length=64)
    input_tokens = models.BigIntegerField(default=0, db_default=0)
    output_tokens = models.BigIntegerField(default=0, db_default=0)
    cache_write_5m_tokens = models.BigIntegerField(default=0, db_default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0, db_default=0)
    cache_read_tokens = models.BigIntegerField(default=0, db_default=0)
    charged_tokens = models.BigIntegerField(default=0, db_default=0)
    cost_micros = models.BigIntegerField(default=0, db_default=0)
    billed_micros = models.BigIntegerField(
        default=0, db_default=0, help_text="What the tenant is charged more, or less."
    )
    price_version = models.IntegerField(null=True, help_text="What a re-rating priced by.")
    reason = models.CharField(max_length=200)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event_id", "kind"],
                condition=Q(event_id__isnull=False),
                name="adjustment_of_an_event_is_one_per_kind",
            ),
            models.CheckConstraint(
                condition=Q(kind="rerating", event_id__isnull=True)
                | Q(kind__in=["correction", "late"], event_id__isnull=False),
                name="adjustment_names_its_origin",
            ),
            models.CheckConstraint(condition=Q(month__day=1), name="adjustment_is_booked_in_a_month"),
        ]
        indexes = [
            models.Index(fields=["tenant", "month"], name="adjustments_by_month"),
            models.Index(fields=["tenant", "origin_day"], name="adjustments_by_origin"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.origin_day}: {self.cost_micros}"


class AdjustmentProof(models.Model):
    """The signed proof of one adjustment, in a chain per tenant; made by the sealing, never changed."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    sequence = models.BigIntegerField(help_text="Gapless within the tenant, from 1.")
    adjustment_id = models.BigIntegerField(unique=True)
    payload = models.TextField()
    key_id = models.CharField(max_length=16)
    signature = models.CharField(max_length=128)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "sequence"], name="adjustment_proof_is_one_per_place_in_the_chain"
            )
        ]

    def __str__(self) -> str:
        return f"proof {self.sequence} of adjustment {self.adjustment_id}"
