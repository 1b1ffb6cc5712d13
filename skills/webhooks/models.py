"""Where a tenant wants to be told, and every message with its fate."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tenants.models import Tenant


class WebhookEndpoint(models.Model):
    """A URL of a tenant. Its secrets are derived from its id, the generation and the platform's key, and stored nowhere."""

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="webhook_endpoints")
    url = models.CharField(max_length=2048)
    generation = models.PositiveIntegerField(default=1, db_default=1, help_text="Grows with each rotation.")
    previous_until = models.DateTimeField(null=True, blank=True, help_text="Until then the secret before signs too.")
    is_active = models.BooleanField(default=True, db_default=True)
    disabled_reason = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "url"], name="webhook_url_is_one_per_tenant"),
            models.CheckConstraint(condition=Q(generation__gte=1), name="webhook_generations_start_at_one"),
        ]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(models.Model):
    """One message to one endpoint; its id is the message's id, the same in every attempt."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        DEAD = "dead"

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=64)
    payload = models.JSONField()
    state = models.CharField(max_length=16, choices=State, default=State.PENDING, db_default=State.PENDING.value)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_at = models.DateTimeField(db_default=Now())
    log = models.JSONField(default=list, db_default=[], help_text="Each attempt: when, status or error, milliseconds.")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["pending", "delivered", "dead"]), name="webhook_delivery_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", ended_at__isnull=True) | (~Q(state="pending") & Q(ended_at__isnull=False)),
                name="webhook_delivery_that_ended_says_when",
            ),
        ]
        indexes = [
            models.Index(fields=["next_at"], name="webhook_deliveries_due", condition=Q(state="pending")),
            models.Index(fields=["endpoint", "-created_at"], name="webhook_deliveries_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.id}"
