"""What is kept beside the events: partitions made ahead, nothing astray, rollups that equal the events."""

from typing import Any

from usage import rollups
from usage.rows import fetch
from usage.verification.findings import Finding, Report

_MISSING_PARTITIONS = """
SELECT to_char(m.month, 'YYYY-MM') AS month FROM (
    SELECT date_trunc('month', usage_clock() AT TIME ZONE 'UTC') + make_interval(months => i) AS month FROM generate_series(0, 1) i
) m
WHERE NOT EXISTS (
    SELECT 1 FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
    WHERE p.inhparent = 'usage_event'::regclass
      AND pg_get_expr(c.relpartbound, c.oid) LIKE format('FOR VALUES FROM (%%L)%%%%', m.month::date)
)
ORDER BY 1
"""
_STRAYS = "SELECT tenant_id, number, id, month FROM usage_event_default ORDER BY tenant_id, number"


def check(report: Report) -> None:
    """Check partitions and rollups."""
    missing = [
        Finding("partitions", f"month {row['month']}", "has no partition; its events would land in the default one")
        for row in fetch(_MISSING_PARTITIONS.replace("%%", "%"))
    ]
    strays = [
        Finding("partitions", f"event {row['tenant_id']}/{row['number']} ({row['id']})", f"of {row['month']} is astray")
        for row in fetch(_STRAYS)
    ]
    report.add("partitions", rows=2, findings=missing + strays)
    _check_rollups(report)


def _check_rollups(report: Report) -> None:
    findings = [
        Finding(
            "rollups",
            f"tenant {row['tenant_id']} day {row['day']} key {row['key_id']} skill {row['skill'] or '-'} model {row['model']}",
            f"the {row['side']} say {row['calls']} calls, {row['charged_tokens']} tokens, {row['cost_micros']} micro-dollars"
            " and the other side does not",
            _details(row),
        )
        for row in rollups.check()
    ]
    for rows, fault in (
        (rollups.check_sums(), "the kept sum of the day is not what its rollups add up to"),
        (rollups.check_marks(), "the numbers from which a refresh goes on are not those of its events"),
        (rollups.check_provisional(), "what the rollup counted of an event that may still change is not what it says"),
    ):
        findings += [Finding("rollups", _subject(row), fault, _details(row)) for row in rows]
    days = fetch("SELECT count(*) AS n FROM usage_dayrevision WHERE revision = rolled_revision")[0]["n"]
    report.add("rollups", rows=days, findings=findings)


def _subject(row: dict[str, Any]) -> str:
    number = f" event {row['tenant_id']}/{row['number']}" if "number" in row else ""
    return f"tenant {row['tenant_id']} day {row['day']}{number}"


def _details(row: dict[str, Any]) -> dict[str, Any]:
    return {"tenant_id": row["tenant_id"], "day": row["day"].isoformat()}
