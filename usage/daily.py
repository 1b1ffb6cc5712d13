"""The platform's days, from the rollups alone: as they were at the last refresh, a minute ago at most."""

from dataclasses import dataclass
from datetime import date

from usage.reports.sums import Sums
from usage.rows import fetch

# One reading of the sums for both.
_SUMS = """
SELECT s.*, t.name FROM (
    SELECT day, tenant_id, sum(calls)::bigint AS calls, sum(errors)::bigint AS errors, sum(charged_tokens)::bigint AS charged_tokens,
           sum(cost_micros)::bigint AS cost_micros, sum(estimated_micros)::bigint AS estimated_micros
    FROM usage_tenantday WHERE day BETWEEN %(first)s AND %(last)s GROUP BY GROUPING SETS ((day), (tenant_id))
) s LEFT JOIN tenants_tenant t ON t.id = s.tenant_id ORDER BY s.cost_micros DESC, s.tenant_id
"""
_SUMMED = ("calls", "errors", "charged_tokens", "cost_micros", "estimated_micros")


@dataclass(frozen=True, slots=True)
class Platform:
    """All tenants' days, and each tenant's use of them all (id, name, use), the dearest first; of the sums only the main ones."""

    days: dict[date, Sums]
    tenants: list[tuple[int, str, Sums]]


def of_platform(first: date, last: date) -> Platform:
    """Add up all tenants' days from `first` to `last`; idle ones are left out."""
    days, tenants = {}, []
    for row in fetch(_SUMS, {"first": first, "last": last}):
        sums = Sums(**{name: int(row[name]) for name in _SUMMED})
        if row["day"] is not None:
            days[row["day"]] = sums
        else:
            tenants.append((row["tenant_id"], row["name"], sums))
    return Platform(days, tenants)
