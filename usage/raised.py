"""The alerts that were raised, for people to look at: each with what it is about, in words."""

from dataclasses import dataclass
from datetime import datetime

from usage.rows import fetch

# Whether it still matters: its window is the present one, by the tenant's calendar.
_RAISED = """
SELECT l.id, l.unit, l.threshold, l.used, l."limit", l.raised_at, l.sent_at, a.skill, a."window", a.period, a.tenant_id,
       t.name AS tenant_name, a.key_id, k.name AS key_name,
       a.period = date_trunc(a."window", usage_clock() AT TIME ZONE t.timezone)::date AS is_open
FROM usage_budgetalert l JOIN usage_budgetaccount a ON a.id = l.account_id
JOIN tenants_tenant t ON t.id = a.tenant_id LEFT JOIN tenants_apikey k ON k.id = a.key_id
WHERE (%(tenant)s::bigint IS NULL OR a.tenant_id = %(tenant)s) AND (%(before)s::bigint IS NULL OR l.id < %(before)s)
ORDER BY l.id DESC LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert. `is_open`: what it is about goes on; `sent_at` is None until its mail went out."""

    id: int
    kind: str
    tenant_id: int
    tenant_name: str
    key_id: int | None
    about: str
    said: str
    percent: int
    raised_at: datetime
    sent_at: datetime | None
    is_open: bool


def latest(tenant_id: int | None, *, most: int = 50, before: int | None = None) -> list[Raised]:
    """This function will return a tenant's (None: everyone's) alerts, the newest first; `before` is an id to go on from."""
    rows = fetch(_RAISED, {"tenant": tenant_id, "before": before, "most": most})
    return [
        Raised(
            id=row["id"],
            kind="budget",
            tenant_id=row["tenant_id"],
            tenant_name=row["tenant_name"],
            key_id=row["key_id"],
            about=f"{row['key_name'] or 'The whole tenant'}, {row['skill'] or 'all skills'}, per {row['window']}",
            said=_said(row["unit"], used=row["used"], limit=row["limit"], threshold=row["threshold"]),
            percent=row["threshold"],
            raised_at=row["raised_at"],
            sent_at=row["sent_at"],
            is_open=row["is_open"],
        )
        for row in rows
    ]


def _said(unit: str, *, used: int, limit: int, threshold: int) -> str:
    if unit == "tokens":
        return f"passed {threshold} %: {used:,} of {limit:,} tokens"
    return f"passed {threshold} %: ${used / 1_000_000:,.2f} of ${limit / 1_000_000:,.2f}"
