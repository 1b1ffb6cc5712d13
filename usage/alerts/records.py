"""Raising an alert once, ending it, and looking at those there are."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from psycopg.types.json import Json

from usage.alerts.channels import CHANNELS
from usage.alerts.models import Alert, AlertDelivery
from usage.rows import fetch

_LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """One alert, as people look at it. `told` says how each channel fared, such as `{"mail": "sent"}`."""

    id: int
    tenant_id: int | None
    tenant_name: str
    kind: str
    title: str
    text: str
    raised_at: datetime
    is_open: bool
    details: dict[str, Any] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    @property
    def kind_title(self) -> str:
        """The kind in words."""
        return Alert.Kind(self.kind).label


def raise_alert(
    kind: str,
    *,
    once: str,
    title: str,
    text: str,
    tenant_id: int | None = None,
    details: dict[str, Any] | None = None,
    open_until: datetime | None = None,
) -> bool:
    """Note something that somebody must hear of, unless it is noted already; tells whether it is new.

    `once` names the fact. A new alert goes out by every channel with the next `send_due`.
    """
    given: dict[str, Any] = {
        "tenant": tenant_id,
        "kind": kind,
        "once": once,
        "title": title[:_LONGEST_TITLE],
        "text": text,
        "details": Json(details or {}),
        "until": open_until,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_RAISE, given)
        found = cursor.fetchone()
        if found is None:
            return False
        cursor.execute(_ADDRESS, {"alert": found[0], "tenant": tenant_id, "channels": list(CHANNELS)})
    return True


def end(kind: str, *, now: datetime, besides: tuple[str, ...] = ()) -> int:
    """End the open alerts of a kind, except those named by their `once`; returns how many ended."""
    open_ones = Alert.objects.filter(kind=kind, ended_at=None).exclude(once__in=besides)
    return open_ones.update(ended_at=now)


def end_one(once: str, *, now: datetime) -> None:
    """End an alert by the fact that it names, if it is open."""
    Alert.objects.filter(once=once, ended_at=None).update(ended_at=now)


def open_for(tenant_id: int | None) -> list[Raised]:
    """Return the alerts that a tenant (None: the operators) has not to forget, the newest first."""
    return [one for one in _found("tenant_id IS NOT DISTINCT FROM %(tenant)s", tenant_id) if one.is_open]


def latest(tenant_id: int | None, *, most: int = 50, before: int | None = None) -> list[Raised]:
    """Return a tenant's (None: all tenants' and the operators') alerts, the newest first.

    `before` is an id to go on from.
    """
    return _found("(%(tenant)s::bigint IS NULL OR a.tenant_id = %(tenant)s)", tenant_id, most=most, before=before)


def deliveries(tenant_id: int | None, *, most: int = 50) -> list[AlertDelivery]:
    """Return what went out for a tenant's (None: all) alerts and how that fared, the newest first."""
    found = AlertDelivery.objects.select_related("alert", "tenant").order_by("-pk")
    return list((found if tenant_id is None else found.filter(tenant_id=tenant_id))[:most])


def _found(scope: str, tenant_id: int | None, *, most: int = 500, before: int | None = None) -> list[Raised]:
    rows = fetch(_LATEST.format(scope=scope), {"tenant": tenant_id, "most": most, "before": before})
    return [Raised(**{**row, "details": json.loads(row["details"]), "told": json.loads(row["told"])}) for row in rows]


_RAISE = """
INSERT INTO usage_alert (tenant_id, kind, once, title, text, details, open_until)
VALUES (%(tenant)s, %(kind)s, %(once)s, %(title)s, %(text)s, %(details)s::jsonb, %(until)s)
ON CONFLICT (once) DO NOTHING RETURNING id
"""
_ADDRESS = """
INSERT INTO usage_alertdelivery (alert_id, tenant_id, channel, recipients, log)
SELECT %(alert)s, %(tenant)s, c, '[]', '[]' FROM unnest(%(channels)s::text[]) c
"""
_LATEST = """
SELECT a.id, a.tenant_id, coalesce(t.name, '') AS tenant_name, a.kind, a.title, a.text, a.details, a.raised_at,
       a.ended_at IS NULL AND (a.open_until IS NULL OR a.open_until > usage_clock()) AS is_open,
       coalesce((SELECT jsonb_object_agg(d.channel, d.outcome) FROM usage_alertdelivery d WHERE d.alert_id = a.id), '{{}}') AS told
FROM usage_alert a LEFT JOIN tenants_tenant t ON t.id = a.tenant_id
WHERE {scope} AND (%(before)s::bigint IS NULL OR a.id < %(before)s) ORDER BY a.id DESC LIMIT %(most)s
"""
