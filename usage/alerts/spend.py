"""Unusual spend: a day that cost far more than the days before it, for a tenant or for one of its keys.

The yardstick is the scope's own last 28 days: their median, and how far from it the days usually lie (the median
absolute deviation, which a few wild days do not move). Idle days count as nothing spent; a scope that is used for
less than a week has no history to be measured by.
"""

import json
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kit import money
from usage.alerts.models import Alert
from usage.alerts.records import raise_alert
from usage.rows import fetch

HISTORY_DAYS = 28
LEAST_DAYS = 7
FLOOR_MICROS = 1_000_000
SPREADS = 6
TIMES = 3
_NORMAL = 1.4826  # makes the median absolute deviation comparable to a standard deviation

# Today so far, and yesterday, whose last calls settle after midnight.
_DAYS = f"""
WITH judged AS (
    SELECT t.id AS tenant_id, t.name, t.timezone, n.day FROM tenants_tenant t
    CROSS JOIN LATERAL (
        SELECT (usage_clock() AT TIME ZONE t.timezone)::date AS day UNION ALL SELECT (usage_clock() AT TIME ZONE t.timezone)::date - 1
    ) n
), spent AS (
    SELECT d.tenant_id, d.day, CASE WHEN GROUPING(coalesce(k.family_id, k.id)) = 0 THEN coalesce(k.family_id, k.id) END AS family_id,
           sum(d.cost_micros)::bigint AS micros
    FROM usage_dailyusage d JOIN tenants_apikey k ON k.id = d.key_id
    WHERE d.day >= (usage_clock() - interval '{HISTORY_DAYS + 3} days')::date
    GROUP BY GROUPING SETS ((d.tenant_id, d.day), (d.tenant_id, d.day, coalesce(k.family_id, k.id)))
), candidates AS (
    SELECT j.tenant_id, j.name, j.timezone, j.day, s.family_id, s.micros FROM judged j
    JOIN spent s ON s.tenant_id = j.tenant_id AND s.day = j.day AND s.micros > {FLOOR_MICROS}
)
SELECT c.*, f.name AS key_name, f.display, f.public_id, x.first_day, x.history
FROM candidates c LEFT JOIN tenants_apikey f ON f.id = c.family_id
CROSS JOIN LATERAL (
    SELECT min(s.day) AS first_day, jsonb_object_agg(s.day, s.micros) AS history FROM spent s
    WHERE s.tenant_id = c.tenant_id AND s.family_id IS NOT DISTINCT FROM c.family_id
        AND s.day BETWEEN c.day - {HISTORY_DAYS} AND c.day - 1
) x
WHERE x.first_day <= c.day - {LEAST_DAYS}
    AND NOT EXISTS (SELECT 1 FROM usage_alert l WHERE l.once = format('spend:%%s:%%s:%%s', c.tenant_id, coalesce(c.family_id, 0), c.day))
ORDER BY c.tenant_id, c.day, c.family_id NULLS FIRST
"""  # noqa: S608 - the numbers are ours


def raise_due() -> int:
    """Tell of every scope whose today or yesterday cost more than is usual for it; returns how many."""
    return sum(_raise(row) for row in fetch(_DAYS, {}))


def usual(history: list[int], *, same_weekday: list[int]) -> tuple[int, int, int]:
    """Return the median of a history, its spread, and up to how much a day is still usual.

    A day is usual up to three times the median, six spreads above it, twice the dearest of the same weekday,
    and the floor, whichever is most.
    """
    median = _median(history)
    spread = round(_NORMAL * _median([abs(micros - median) for micros in history]))
    limit = max(TIMES * median, median + SPREADS * spread, 2 * max(same_weekday, default=0), FLOOR_MICROS)
    return median, spread, limit


def _raise(row: dict[str, Any]) -> bool:
    by_day = {date.fromisoformat(day): micros for day, micros in json.loads(row["history"]).items()}
    first = max(row["first_day"], row["day"] - timedelta(days=HISTORY_DAYS))
    days = [first + timedelta(days=offset) for offset in range((row["day"] - first).days)]
    history = [by_day.get(day, 0) for day in days]
    same = [by_day.get(day, 0) for day in days if day.weekday() == row["day"].weekday()]
    median, spread, limit = usual(history, same_weekday=same)
    if row["micros"] <= limit:
        return False
    owner = f"The key {row['key_name']} ({row['display']})" if row["family_id"] else row["name"]
    return raise_alert(
        Alert.Kind.SPEND,
        once=f"spend:{row['tenant_id']}:{row['family_id'] or 0}:{row['day']}",
        tenant_id=row["tenant_id"],
        title=f"{owner} spent {money.dollars(row['micros'])} on {row['day']}: more than is usual",
        text=_text(row, owner=owner, days=len(days), median=median, spread=spread, limit=limit),
        details={
            "day": row["day"].isoformat(),
            "key": row["public_id"],
            "spent_micros": row["micros"],
            "median_micros": median,
            "spread_micros": spread,
            "limit_micros": limit,
            "history_days": len(days),
        },
        open_until=_two_days_after(row["day"], timezone=ZoneInfo(row["timezone"])),
    )


def _text(row: dict[str, Any], *, owner: str, days: int, median: int, spread: int, limit: int) -> str:
    return (
        f"{owner} spent {money.dollars(row['micros'])} on {row['day']:%A, %Y-%m-%d} ({row['timezone']}).\n\n"
        f"In the {days} days before, the middle day cost {money.dollars(median)}, and days usually lay within"
        f" {money.dollars(spread)} of that; up to {money.dollars(limit)} would have been usual.\n\n"
        "Nothing was stopped: budgets do that. If this was meant, there is nothing to do; if not, look at the keys'"
        " latest calls, and revoke the one that you do not recognise.\nThis is told once per day.\n"
    )


def _two_days_after(day: date, *, timezone: ZoneInfo) -> datetime:
    return datetime.combine(day + timedelta(days=2), datetime.min.time(), tzinfo=timezone)


def _median(values: list[int]) -> int:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2
