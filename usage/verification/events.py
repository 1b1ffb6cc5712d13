"""I5 and I12: no event outlives its lease, and every tenant's events are numbered without a gap."""

from usage.rows import fetch
from usage.verification.findings import Finding, Report

_ORPHANS = """
SELECT id, tenant_id, number, lease_until, reserved_tokens FROM usage_event
WHERE state = 'open' AND lease_until < usage_clock() - interval '30 seconds' ORDER BY tenant_id, number
"""
_GAPS = """
WITH numbers AS (
    SELECT tenant_id, number FROM usage_event
    UNION ALL SELECT tenant_id, 0 FROM usage_tenanttally
    UNION ALL SELECT tenant_id, last_number + 1 FROM usage_tenanttally
), steps AS (
    SELECT tenant_id, number, lead(number) OVER (PARTITION BY tenant_id ORDER BY number) AS following FROM numbers
)
SELECT tenant_id, number, following FROM steps WHERE following <> number + 1 ORDER BY tenant_id, number
"""
_DISORDER = """
SELECT tenant_id, number, id, opened_at, before FROM (
    SELECT tenant_id, number, id, opened_at, lag(opened_at) OVER (PARTITION BY tenant_id ORDER BY number) AS before FROM usage_event
) e WHERE opened_at < before ORDER BY tenant_id, number
"""


def check(report: Report) -> None:
    """Look for orphaned reservations, gaps and disorder."""
    open_events = fetch("SELECT count(*) AS n FROM usage_event WHERE state = 'open'")[0]["n"]
    orphans = [
        Finding(
            "I5 leases",
            _subject(row),
            f"open with {row['reserved_tokens']} tokens reserved though its lease ended at {row['lease_until'].isoformat()}",
        )
        for row in fetch(_ORPHANS)
    ]
    report.add("I5 leases", rows=open_events, findings=orphans)
    events = fetch("SELECT count(*) AS n FROM usage_event")[0]["n"]
    findings = [_gap(row["tenant_id"], row["number"], row["following"]) for row in fetch(_GAPS)]
    findings += [
        Finding("I12 numbers", _subject(row), "opened before the event that has the number before its own")
        for row in fetch(_DISORDER)
    ]
    report.add("I12 numbers", rows=events, findings=findings)


def _subject(row: dict[str, object]) -> str:
    return f"event {row['tenant_id']}/{row['number']} ({row['id']})"


def _gap(tenant_id: int, number: int, following: int) -> Finding:
    if following <= number:
        return Finding("I12 numbers", f"event {tenant_id}/{number}", "its number is given twice or is over the tally")
    first, last = number + 1, following - 1
    which = f"event {tenant_id}/{first}" if first == last else f"events {tenant_id}/{first} to {tenant_id}/{last}"
    return Finding("I12 numbers", which, "missing: the number was given and there is no such row")
