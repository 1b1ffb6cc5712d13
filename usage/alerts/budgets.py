"""Soft thresholds: whoever looks after a tenant's budgets is told once when one is half, nearly or wholly used."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kit import money
from usage.alerts.models import Alert
from usage.alerts.records import raise_alert
from usage.rows import fetch

# A window that ended less than an hour ago still counts: its last calls settle after it.
_DUE = """
SELECT b.id AS budget_id, b.tenant_id, n.name, n.timezone, a.id AS account_id, k.name AS key_name, k.display, a.skill, a."window", a.period, u.unit,
       u.used, u."limit", t.threshold
FROM tenants_budget b
JOIN tenants_tenant n ON n.id = b.tenant_id
CROSS JOIN LATERAL (
    SELECT usage_clock() AT TIME ZONE n.timezone AS local UNION SELECT (usage_clock() - interval '1 hour') AT TIME ZONE n.timezone
) c
JOIN usage_budgetaccount a ON a.tenant_id = b.tenant_id AND coalesce(a.key_id, 0) = coalesce(b.key_id, 0)
    AND a.skill = b.skill AND a."window" = b."window" AND a.period = date_trunc(b."window", c.local)::date
LEFT JOIN tenants_apikey k ON k.id = a.key_id
LEFT JOIN LATERAL (
    SELECT sum(x.extra_tokens)::bigint AS extra_tokens, sum(x.extra_micros)::bigint AS extra_micros FROM tenants_budgetincrease x
    WHERE x.budget_id = b.id AND x.starts_at <= usage_clock() AND x.ends_at > usage_clock()
) i ON true
CROSS JOIN LATERAL (
    VALUES ('tokens', a.settled_tokens, b.limit_tokens + coalesce(i.extra_tokens, 0)),
           ('micros', a.settled_micros, b.limit_micros + coalesce(i.extra_micros, 0))
) u (unit, used, "limit")
CROSS JOIN LATERAL unnest(b.thresholds) t (threshold)
WHERE u."limit" > 0 AND u.used::numeric * 100 >= u."limit"::numeric * t.threshold
    AND NOT EXISTS (SELECT 1 FROM usage_alert l WHERE l.once = format('budget:%%s:%%s:%%s', a.id, u.unit, t.threshold))
ORDER BY a.id, u.unit, t.threshold
"""


def raise_due() -> int:
    """Note every threshold that was passed and not noted before, and return how many there were."""
    return sum(_raise(row) for row in fetch(_DUE, {}))


def _raise(row: dict[str, Any]) -> bool:
    names = ("budget_id", "account_id", "unit", "threshold", "used", "limit", "skill", "window")
    return raise_alert(
        Alert.Kind.BUDGET,
        once=f"budget:{row['account_id']}:{row['unit']}:{row['threshold']}",
        tenant_id=row["tenant_id"],
        title=f"{row['threshold']} % of the budget of {_owner(row)} is used",
        text=_text(row),
        details={**{name: row[name] for name in names}, "period": row["period"].isoformat()},
        open_until=_end(row["period"], window=row["window"], timezone=ZoneInfo(row["timezone"])),
    )


def _owner(row: dict[str, Any]) -> str:
    whose = f"the key {row['key_name']} ({row['display']})" if row["key_name"] else row["name"]
    return f"the skill {row['skill']} of {whose}" if row["skill"] else whose


def _text(row: dict[str, Any]) -> str:
    return (
        f"{_owner(row)} has used {_amount(row['used'], unit=row['unit'])} of"
        f" {_amount(row['limit'], unit=row['unit'])} in the {row['window']} that began on {row['period']:%Y-%m-%d}"
        f" ({row['timezone']}).\n\n"
        "Calls that do not fit what is left are refused; an admin can raise the budget.\n"
        "This is told once per threshold and window.\n"
    )


def _amount(value: int, *, unit: str) -> str:
    return f"{value:,} tokens" if unit == "tokens" else money.dollars(value)


def _end(period: date, *, window: str, timezone: ZoneInfo) -> datetime:
    following = (
        (period.replace(day=1) + timedelta(days=32)).replace(day=1) if window == "month" else period + timedelta(days=1)
    )
    return datetime(following.year, following.month, following.day, tzinfo=timezone)
