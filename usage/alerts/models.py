"""What somebody must hear of, and whether they did."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tenants.models import Tenant


class Alert(models.Model):
    """Something that was noticed, once: a tenant's, or the operators' when it has no tenant.

    `once` names the fact; the same fact is never raised again. It stands open until it ends by itself
    (`open_until`), or what raised it finds it over (`ended_at`).
    """

    class Kind(models.TextChoices):
        BUDGET = "budget", "Budget"
        SPEND = "spend", "Unusual spend"
        PRICE = "price", "Model without a price"
        RECONCILIATION = "reconciliation", "Difference to the provider"
        LEDGER = "ledger", "Ledger check"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind)
    once = models.CharField(max_length=200, unique=True)
    title = models.CharField(max_length=200)
    text = models.TextField()
    details = models.JSONField(default=dict)
    raised_at = models.DateTimeField(db_default=Now())
    open_until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="alert_is_addressed_with_its_tenant"),
            models.CheckConstraint(
                condition=Q(kind__in=["budget", "spend", "price", "reconciliation", "ledger"]),
                name="alert_kind_is_known",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-raised_at"], name="alerts_by_tenant")]

    def __str__(self) -> str:
        return self.title


class AlertDelivery(models.Model):
    """One way by which an alert goes out, with every attempt."""

    class Channel(models.TextChoices):
        MAIL = "mail"
        WEBHOOK = "webhook"

    class Outcome(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        NOBODY = "nobody", "nobody to tell"
        FAILED = "failed"

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="deliveries")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    channel = models.CharField(max_length=16, choices=Channel)
    outcome = models.CharField(
        max_length=16, choices=Outcome, default=Outcome.PENDING, db_default=Outcome.PENDING.value
    )
    recipients = models.JSONField(default=list, help_text="Addresses, or the webhook deliveries it became.")
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    log = models.JSONField(default=list, help_text="Each attempt: when, and what came of it.")
    next_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "alert deliveries"
        constraints = [
            models.UniqueConstraint(fields=["alert", "channel"], name="alert_goes_out_once_per_channel"),
            models.CheckConstraint(
                condition=Q(outcome="pending", ended_at__isnull=True)
                | (~Q(outcome="pending") & Q(ended_at__isnull=False)),
                name="alert_delivery_that_ended_says_when",
            ),
        ]
        indexes = [models.Index(fields=["next_at"], name="alert_deliveries_due", condition=Q(outcome="pending"))]

    def __str__(self) -> str:
        return f"{self.channel}: {self.outcome}"
