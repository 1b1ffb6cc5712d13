"""Alerts by webhook: to a tenant's endpoints through the outbox, to the operators' own address directly; both signed."""

import asyncio
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from kit import ids
from skills.webhooks import sending, signing
from usage import alerts

EVENT = "alert.raised"
# The operators' address is a setting and no row: its secret is derived from an id that no endpoint has.
OPERATORS = UUID(int=0)
_OK = range(200, 300)


def secret() -> str:
    """Return the secret that the operators' webhook is signed with."""
    return signing.secret(OPERATORS, generation=1)


def register() -> None:
    """Let alerts go out by webhook."""
    alerts.channel("webhook", send)


def send(alert: alerts.Alert, now: datetime) -> alerts.Sent:
    """Send an alert; raises `OSError` for what is to be tried again."""
    payload = {"type": EVENT, "timestamp": now.isoformat(), "data": _data(alert)}
    return _to_operators(alert, payload, now=now) if alert.tenant_id is None else _to_tenant(alert.tenant_id, payload)


def _to_tenant(tenant_id: int, payload: dict[str, Any]) -> alerts.Sent:
    """Hand over to the outbox, which signs, tries again over a day and keeps its own log, for each endpoint."""
    with connection.cursor() as cursor:
        cursor.execute(_ENDPOINTS, [tenant_id])
        endpoints = [row[0] for row in cursor.fetchall()]
        for endpoint in endpoints:
            cursor.execute(_DELIVER, [ids.uuid7(), tenant_id, endpoint, EVENT, json.dumps(payload)])
    return alerts.Sent(
        [str(endpoint) for endpoint in endpoints], note="handed to the webhook outbox" if endpoints else ""
    )


def _to_operators(alert: alerts.Alert, payload: dict[str, Any], *, now: datetime) -> alerts.Sent:
    url = str(settings.ALERT_WEBHOOK_URL)
    if not url:
        return alerts.Sent()
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    endpoint = {"endpoint_id": OPERATORS, "generation": 1, "previous_until": None}
    headers = signing.headers(endpoint, message_id=f"msg_alert_{alert.pk}", body=body, now=now)
    try:
        status = asyncio.run(sending.post(url, body=body, headers={**headers, "content-type": "application/json"}))
    except sending.Undelivered as undelivered:
        raise OSError(str(undelivered)) from undelivered
    if status not in _OK:
        raise OSError(f"answered {status}")
    return alerts.Sent([url], note=f"answered {status}")


def _data(alert: alerts.Alert) -> dict[str, Any]:
    return {
        "id": alert.pk,
        "kind": alert.kind,
        "title": alert.title,
        "text": alert.text,
        "details": alert.details,
        "raised_at": alert.raised_at.isoformat(),
        "tenant": alert.tenant.slug if alert.tenant else None,
    }


_ENDPOINTS = "SELECT id FROM skills_webhookendpoint WHERE tenant_id = %s AND is_active ORDER BY id"
_DELIVER = """
INSERT INTO skills_webhookdelivery (id, tenant_id, endpoint_id, event, payload) VALUES (%s, %s, %s, %s, %s::jsonb)
"""
