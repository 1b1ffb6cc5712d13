"""All tenants at a glance: each one's month in a line, for operators."""

from dataclasses import dataclass
from datetime import date

from usage.reports.sums import SUMMED, Completeness, Sums
from usage.rows import fetch

_PLATFORM = f"""
WITH tenants AS MATERIALIZED (SELECT array_agg(id) AS ids FROM tenants_tenant),
sums AS (
    SELECT s.tenant_id, {SUMMED} FROM tenants CROSS JOIN LATERAL usage_tenant_totals(tenants.ids, %(month)s::date) s GROUP BY s.tenant_id
)
SELECT t.slug, t.name, t.timezone, t.status, coalesce(n.open, 0) AS open, n.first_number, n.last_number, s.*, t.id AS tenant_id
FROM tenants_tenant t
LEFT JOIN sums s ON s.tenant_id = t.id
LEFT JOIN (
    SELECT m.tenant_id, sum(m.open)::bigint AS open, min(m.first_number) AS first_number, max(m.last_number) AS last_number
    FROM tenants CROSS JOIN LATERAL usage_month_numbers(tenants.ids, %(month)s::date) m GROUP BY m.tenant_id
) n ON n.tenant_id = t.id
ORDER BY s.billed_micros DESC NULLS LAST, t.slug
"""  # noqa: S608 - the columns are ours


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLine:
    """One tenant's month."""

    tenant_id: int
    slug: str
    name: str
    timezone: str
    status: str
    sums: Sums
    completeness: Completeness


def platform(month: date) -> list[TenantLine]:
    """Report a month of every tenant, each in its own time zone, the dearest first."""
    found = []
    for row in fetch(_PLATFORM, {"month": month.replace(day=1)}):
        sums = Sums.of(row)
        found.append(
            TenantLine(
                tenant_id=row["tenant_id"],
                slug=row["slug"],
                name=row["name"],
                timezone=row["timezone"],
                status=row["status"],
                sums=sums,
                completeness=Completeness.of(sums, row),
            )
        )
    return found
