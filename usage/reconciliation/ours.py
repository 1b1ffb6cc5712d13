"""What the ledger has for a UTC day, as the provider counts days: by when a call began."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.conf import settings

from usage.reconciliation.theirs import CLASSES, Kind, plain
from usage.rows import fetch

Tokens = dict[Kind, int]


@dataclass(slots=True)
class Ours:
    """A day's tokens by what is priced alike, those that may count on another day or never were, and the cost."""

    tokens: Tokens = field(default_factory=lambda: defaultdict(int))
    leaving: Tokens = field(default_factory=lambda: defaultdict(int))
    arriving: Tokens = field(default_factory=lambda: defaultdict(int))
    estimated: Tokens = field(default_factory=lambda: defaultdict(int))
    micros: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))


def of_day(day: date) -> Ours:
    """Sum up a UTC day, without what never reached the platform's own account at the provider.

    That is what test keys used, where they reach the emulator, and what tenants used with a key of their own.
    """
    found = Ours()
    given = {"day": day, "with_test_keys": settings.EMULATOR_URL == settings.ANTHROPIC_BASE_URL}
    for row in fetch(_DAY, given):
        _count(found, row, day=day)
    return found


def _count(found: Ours, row: dict[str, Any], *, day: date) -> None:
    model, tier = plain(row["model"]), row["tier"]
    begins_here = row["opened_on"] == day
    if begins_here:
        found.micros[model, tier] += row["cost_micros"]
    for name in CLASSES:
        kind, tokens = Kind(model, tier, name), row[f"{name}_tokens"]
        if not tokens:
            continue
        if not begins_here:
            found.arriving[kind] += tokens
            continue
        found.tokens[kind] += tokens
        if row["closed_on"] != day:
            found.leaving[kind] += tokens
        if row["is_estimated"]:
            found.estimated[kind] += tokens


_SUMS = ", ".join(f"sum(e.{name}_tokens)::bigint AS {name}_tokens" for name in CLASSES)
# A tenant's own day is at most a day from the UTC day, and it is what events are found by.
_DAY = f"""
SELECT e.model, CASE e.service_tier WHEN 'batch' THEN 'batch' ELSE 'standard' END AS tier,
       (e.opened_at AT TIME ZONE 'UTC')::date AS opened_on, (e.closed_at AT TIME ZONE 'UTC')::date AS closed_on,
       e.state = 'estimated' AS is_estimated, sum(e.cost_micros)::bigint AS cost_micros, {_SUMS}
FROM tenants_tenant t
JOIN usage_event e ON e.tenant_id = t.id AND e.day BETWEEN %(day)s::date - 2 AND %(day)s::date + 1
    AND e.month BETWEEN date_trunc('month', %(day)s::date - 2)::date AND %(day)s::date + 1
JOIN tenants_apikey k ON k.id = e.key_id
WHERE e.state IN ('settled', 'estimated') AND (%(with_test_keys)s OR k.environment <> 'test')
    AND (t.provider_key_set_at IS NULL OR e.opened_at < t.provider_key_set_at)
    AND (
        (e.opened_at AT TIME ZONE 'UTC')::date = %(day)s
        OR ((e.opened_at AT TIME ZONE 'UTC')::date < %(day)s AND (e.closed_at AT TIME ZONE 'UTC')::date = %(day)s)
    )
GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608 - the names are ours
