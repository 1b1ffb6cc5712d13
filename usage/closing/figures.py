"""What a statement freezes: the month's report and adjustments, in one canonical text that is hashed and signed."""

import hashlib
from datetime import date, datetime
from typing import Any

from django.db import connection

from tenants.models import Tenant
from usage import reports
from usage.closing import adjusting
from usage.closing.models import Statement
from usage.rows import fetch
from usage.seals import canonical

FORM = 2
TOTALS = ("charged_tokens", "cost_micros", "billed_micros")


def freeze(
    tenant: Tenant,
    *,
    month: date,
    number: int,
    before: Statement | None,
    last_event_number: int,
    closed_at: datetime,
    closed_by: str,
) -> str:
    """Return the figures of a month as the text that is kept; its rollups are brought up to date first."""
    _roll(tenant.pk, month)
    report = reports.month(tenant.pk, month)
    adjusted = adjusting.of_month(tenant.pk, month)
    content: dict[str, Any] = {
        "form": FORM,
        "number": number,
        "last_event_number": last_event_number,
        "closed_at": closed_at.isoformat(),
        "closed_by": closed_by,
        "report": report.as_json(),
        "adjustments": adjusted.as_json(),
        "adjustments_sha256": adjusting.digest(tenant.pk, month),
        "totals": {name: getattr(report.total, name) + getattr(adjusted, name) for name in TOTALS},
        "sealed": _sealed(tenant.pk),
        "previous": {"number": before.number, "sha256": before.sha256} if before else None,
    }
    return canonical.text(content)


def digest(text: str) -> str:
    """Return the SHA-256 of figures, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _roll(tenant_id: int, month: date) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_STALE, [tenant_id, month, month])


def _sealed(tenant_id: int) -> dict[str, Any] | None:
    """The end of the chain at that moment: the statement vouches for the seals before it, too."""
    found = fetch(
        "SELECT sequence, hash, last_number FROM usage_seal WHERE tenant_id = %s ORDER BY sequence DESC LIMIT 1",
        [tenant_id],
    )
    return found[0] if found else None


_STALE = """
SELECT usage_roll_day(tenant_id, day) FROM usage_dayrevision
WHERE tenant_id = %s AND day >= %s AND day < %s::date + interval '1 month' AND revision > rolled_revision
"""
