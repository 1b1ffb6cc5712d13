"""What people do to webhooks from the console: a new secret, a message once more, an endpoint off and on. Synchronous."""

from datetime import datetime, timedelta
from typing import Any

from kit import ids
from skills.webhooks import signing
from skills.webhooks.endpoints import LONGEST_OVERLAP
from skills.webhooks.models import WebhookDelivery, WebhookEndpoint
from tenants import audit

ENDPOINT, DELIVERY = "whe", "msg"


def rotate(endpoint: WebhookEndpoint, *, overlap: timedelta, now: datetime, **by: Any) -> str:
    """Give an endpoint a new secret and return it, this once; the old one signs too for the overlap."""
    endpoint.generation += 1
    endpoint.previous_until = now + min(max(overlap, timedelta(0)), LONGEST_OVERLAP)
    endpoint.save(update_fields=["generation", "previous_until"])
    _record("webhook.rotated", endpoint, by, until=endpoint.previous_until.isoformat())
    return signing.secret(endpoint.pk, generation=endpoint.generation)


def switch(endpoint: WebhookEndpoint, *, is_active: bool, **by: Any) -> None:
    """Stop all messages to an endpoint, or let them go again."""
    endpoint.is_active, endpoint.disabled_reason = is_active, "" if is_active else "switched off"
    endpoint.save(update_fields=["is_active", "disabled_reason"])
    _record("webhook.enabled" if is_active else "webhook.disabled", endpoint, by)


def redeliver(delivery: WebhookDelivery, *, now: datetime, **by: Any) -> None:
    """Have a message sent again within seconds, whatever became of it before."""
    delivery.state, delivery.attempts, delivery.next_at, delivery.ended_at = "pending", 0, now, None
    delivery.save(update_fields=["state", "attempts", "next_at", "ended_at"])
    _record("webhook.redelivered", delivery.endpoint, by, message=ids.encode(DELIVERY, delivery.pk))


def _record(action: str, endpoint: WebhookEndpoint, by: dict[str, Any], **details: Any) -> None:
    subject = ids.encode(ENDPOINT, endpoint.pk)
    audit.record(action, tenant=endpoint.tenant, subject=subject, url=endpoint.url, **details, **by)
