"""How budgets stand, for people to look at: limits with the increases in force, and what is used and held of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection

STANDINGS = """
SELECT b.id AS budget_id, b.key_id, b.skill, b."window", p.period, b.thresholds, b.alert_recipients,
       b.limit_tokens + coalesce(i.extra_tokens, 0)::bigint AS limit_tokens,
       b.limit_micros + coalesce(i.extra_micros, 0)::bigint AS limit_micros,
       coalesce(a.settled_tokens, 0) AS settled_tokens, coalesce(a.reserved_tokens, 0) AS reserved_tokens,
       coalesce(a.settled_micros, 0) AS settled_micros, coalesce(a.reserved_micros, 0) AS reserved_micros
FROM tenants_budget b
JOIN tenants_tenant t ON t.id = b.tenant_id
CROSS JOIN LATERAL (SELECT usage_clock() AT TIME ZONE t.timezone AS now) n
CROSS JOIN LATERAL (
    SELECT CASE b."window" WHEN 'month' THEN date_trunc('month', n.now)::date ELSE n.now::date END AS period
) p
LEFT JOIN usage_budgetaccount a ON a.tenant_id = b.tenant_id AND a."window" = b."window" AND a.period = p.period
    AND a.key_id IS NOT DISTINCT FROM b.key_id AND a.skill = b.skill
LEFT JOIN LATERAL (
    SELECT sum(x.extra_tokens) AS extra_tokens, sum(x.extra_micros) AS extra_micros FROM tenants_budgetincrease x
    WHERE x.budget_id = b.id AND x.starts_at <= usage_clock() AND x.ends_at > usage_clock()
) i ON true
WHERE b.tenant_id = %s AND {scope}
ORDER BY b.key_id NULLS FIRST, b.skill, b."window" DESC
"""
_OF_TENANT = STANDINGS.format(scope="b.key_id IS NULL")
_OF_KEYS = STANDINGS.format(scope="b.key_id = ANY(%s)")
_BY_DAY = """
SELECT s.day, sum(s.calls)::bigint, sum(s.charged_tokens)::bigint, sum(s.cost_micros)::bigint
FROM usage_month_totals(ARRAY[%(tenant)s::bigint], %(month)s::date) s JOIN tenants_apikey k ON k.id = s.key_id
WHERE (%(family)s::bigint IS NULL OR coalesce(k.family_id, k.id) = %(family)s) AND (%(skill)s = '' OR s.skill = %(skill)s)
GROUP BY s.day ORDER BY s.day
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget in its current period; `held` is reserved by calls under way. A limit of None limits nothing."""

    budget_id: int
    key_id: int | None
    skill: str
    window: str
    period: date
    thresholds: list[int]
    alert_recipients: list[str]
    limit_tokens: int | None
    limit_micros: int | None
    settled_tokens: int
    reserved_tokens: int
    settled_micros: int
    reserved_micros: int

    @property
    def tokens(self) -> int:
        """Tokens used and held."""
        return self.settled_tokens + self.reserved_tokens

    @property
    def micros(self) -> int:
        """Micro-dollars used and held."""
        return self.settled_micros + self.reserved_micros

    @property
    def percent(self) -> int:
        """How much of the tighter limit is used and held; may exceed 100."""
        shares = [
            100 * used // limit
            for used, limit in ((self.tokens, self.limit_tokens), (self.micros, self.limit_micros))
            if limit
        ]
        return max(shares, default=0)


@dataclass(frozen=True, slots=True)
class Day:
    """What the calls of one day used."""

    day: date
    calls: int
    tokens: int
    micros: int


def of_tenant(tenant_id: int) -> list[Standing]:
    """Return the budgets of a tenant as a whole, those by skill included."""
    return [Standing(**row) for row in _rows(_OF_TENANT, [tenant_id])]


def of_keys(tenant_id: int, families: Iterable[int]) -> dict[int, list[Standing]]:
    """Return the budgets of families of keys, by the family's first key; one query for all."""
    found: dict[int, list[Standing]] = {}
    for row in _rows(_OF_KEYS, [tenant_id, list(families)]):
        found.setdefault(row["key_id"], []).append(Standing(**row))
    return found


def by_day(tenant_id: int, *, month: date, family_id: int | None = None, skill: str = "") -> list[Day]:
    """Return what each day of a month used, in the tenant's time zone; idle days and open calls are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_DAY, {"tenant": tenant_id, "month": month, "family": family_id, "skill": skill})
        return [Day(*row) for row in cursor.fetchall()]


def _rows(query: str, parameters: list[Any]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
