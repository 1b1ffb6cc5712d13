"""Budget against actual: what a month's budgets allowed and what was used of them."""

from dataclasses import dataclass
from datetime import date

from usage.rows import fetch

# A past month is held against the limit of today: limits are not kept by month, what was used is.
_PLANS = """
SELECT coalesce(k.name, '') AS key_name, b.skill, b.limit_tokens, b.limit_micros,
       coalesce(a.settled_tokens, 0) AS tokens, coalesce(a.settled_micros, 0) AS micros
FROM tenants_budget b
LEFT JOIN tenants_apikey k ON k.id = b.key_id
LEFT JOIN usage_budgetaccount a ON a.tenant_id = b.tenant_id AND a."window" = b."window" AND a.period = %(month)s
    AND a.key_id IS NOT DISTINCT FROM b.key_id AND a.skill = b.skill
WHERE b.tenant_id = %(tenant)s AND b."window" = 'month'
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
    """This function will return a tenant's monthly budgets, its own first, with what a month used of each."""
    return [Plan(**row) for row in fetch(_PLANS, {"tenant": tenant_id, "month": month.replace(day=1), "most": _MOST})]
