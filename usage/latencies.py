"""How long calls take, for people to look at: from an even sample where there are many, so that it costs the same."""

from dataclasses import dataclass
from datetime import date

from usage.rows import fetch

SAMPLE = 2000
# Numbers have no gap, so every n-th of them is an even sample of a month; the newest ones are today's.
_OF_TENANT = """
WITH bounds AS (
    SELECT min(number) AS first, max(number) AS last FROM usage_event WHERE month = %(month)s AND tenant_id = %(tenant)s
), wanted AS (
    SELECT generate_series(first, last, greatest(1, (last - first) / %(sample)s)) AS number, 'month' AS span FROM bounds
    UNION ALL SELECT generate_series(greatest(first, last - %(sample)s + 1), last), 'today' FROM bounds
)
SELECT w.span, count(*) AS calls, percentile_disc(0.5) WITHIN GROUP (ORDER BY e.duration_ms) AS median,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY e.duration_ms) AS slow,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY e.first_output_ms) AS first_output
FROM wanted w JOIN usage_event e ON e.month = %(month)s AND e.tenant_id = %(tenant)s AND e.number = w.number
WHERE e.state IN ('settled', 'estimated') AND e.duration_ms IS NOT NULL AND (w.span = 'month' OR e.day = %(today)s)
GROUP BY w.span
"""
_OF_ALL = """
SELECT count(*) AS calls, percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) AS median,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) AS slow,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY first_output_ms) AS first_output
FROM usage_event TABLESAMPLE SYSTEM (%(percent)s)
WHERE month = %(month)s AND state IN ('settled', 'estimated') AND duration_ms IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of the calls that got an answer: half of them took at most `median`, all but five percent `slow`."""

    calls: int = 0
    median: int | None = None
    slow: int | None = None
    first_output: int | None = None


def of_tenant(tenant_id: int, *, today: date) -> dict[str, Latency]:
    """Return a tenant's latencies of `today` (its latest calls) and of the `month` that is in."""
    rows = fetch(_OF_TENANT, {"tenant": tenant_id, "month": today.replace(day=1), "today": today, "sample": SAMPLE})
    found = {row.pop("span"): Latency(**row) for row in rows}
    return {span: found.get(span, Latency()) for span in ("today", "month")}


def of_all(*, month: date, calls: int) -> Latency:
    """Return the latency of all tenants in a month of about so many calls."""
    percent = min(100.0, 100.0 * 3 * SAMPLE / max(calls, 1))
    return Latency(**fetch(_OF_ALL, {"month": month, "percent": percent})[0])
