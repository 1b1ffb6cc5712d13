"""Budget against actual: what a month's budgets allowed and what was used of them."""

from dataclasses import dataclass
from datetime import date

from usage.rows import fetch

# Each budget as it was at the month's end, or is now, with the increases in force at that instant.
_PLANS = """
WITH at AS (
    SELECT least(((%(month)s::date + interval '1 month')::timestamp AT TIME ZONE t.timezone) - interval '1 microsecond', usage_clock()) AS moment
    FROM tenants_tenant t WHERE t.id = %(tenant)s
), budgets AS (
    SELECT DISTINCT ON (coalesce(v.key_id, 0), v.skill) v.* FROM usage_budgetversion v CROSS JOIN at
    WHERE v.tenant_id = %(tenant)s AND v."window" = 'month' AND v.since <= at.moment
    ORDER BY coalesce(v.key_id, 0), v.skill, v.since DESC, v.id DESC
)
SELECT coalesce(k.name, '') AS key_name, b.skill, b.limit_tokens + i.tokens AS limit_tokens, b.limit_micros + i.micros AS limit_micros,
       coalesce(a.settled_tokens, 0) AS tokens, coalesce(a.settled_micros, 0) AS micros
FROM budgets b
CROSS JOIN LATERAL (
    SELECT coalesce(sum(x.tokens), 0)::bigint AS tokens, coalesce(sum(x.micros), 0)::bigint AS micros
    FROM at, jsonb_to_recordset(b.increases) x (tokens bigint, micros bigint, starts_at timestamptz, ends_at timestamptz)
    WHERE x.starts_at <= at.moment AND x.ends_at > at.moment
) i
LEFT JOIN tenants_apikey k ON k.id = b.key_id
LEFT JOIN usage_budgetaccount a ON a.tenant_id = b.tenant_id AND a."window" = b."window" AND a.period = %(month)s
    AND a.key_id IS NOT DISTINCT FROM b.key_id AND a.skill = b.skill
WHERE NOT b.is_gone
ORDER BY b.key_id NULLS FIRST, b.skill
LIMIT %(most)s
"""
_MOST = 500
_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Plan:
    """One monthly budget and what was used of it in a month. A limit of None limits nothing."""

    key_name: str
    skill: str
    limit_tokens: int | None
    limit_micros: int | None
    tokens: int
    micros: int

    @property
    def percent(self) -> int:
        """How much of the tighter limit was used; may exceed 100."""
        pairs = ((self.tokens, self.limit_tokens), (self.micros, self.limit_micros))
        return max((100 * used // limit for used, limit in pairs if limit), default=0)


def plans(tenant_id: int, month: date) -> list[Plan]:
    """Return the monthly budgets that a tenant had at a month's end, its own first, and what was used of each."""
    return [Plan(**row) for row in fetch(_PLANS, {"tenant": tenant_id, "month": month.replace(day=1), "most": _MOST})]
