"""A day of ours beside the same day of the provider's."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Reconciliation(models.Model):
    """A comparison of one UTC day with what the provider reports for it; the newest of a day counts."""

    day = models.DateField()
    source = models.CharField(max_length=200, help_text="`api`, or the name of the file.")
    has_costs = models.BooleanField(help_text="Whether the provider's costs were at hand, not only its tokens.")
    ours_micros = models.BigIntegerField()
    theirs_micros = models.BigIntegerField()
    buckets = models.JSONField(help_text="Bucket → micro-dollars; they sum to theirs less ours.")
    lines = models.JSONField(help_text="By model and token class: both sides' tokens, and the difference by bucket.")
    is_within_tolerance = models.BooleanField()
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(ours_micros__gte=0), name="reconciliation_has_no_negative_cost_of_ours")
        ]
        indexes = [models.Index(fields=["-day", "-id"], name="reconciliations_by_day")]

    def __str__(self) -> str:
        return f"{self.day} against {self.source}"

    @property
    def difference_micros(self) -> int:
        """What the provider reports more than the ledger."""
        return self.theirs_micros - self.ours_micros
