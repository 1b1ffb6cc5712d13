"""What a month would have cost, or been charged, by other prices: shown for each tenant before anything is loaded.

The events of the month are priced again, one by one, with the rounding of the ledger. Estimated events are left as
they are: their bounds are not use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from kit import money
from kit.errors import SkillgateError
from tenants.models import Tenant
from usage.pricing.book import BATCH, REQUIRED, Book, Tokens
from usage.pricing.tariffs import Terms
from usage.rows import fetch

# Rates as one row for each model and band; a band ends where the model's next one begins.
_PREVIEW = """
WITH bands AS (
    SELECT b.model, b.start, b.input, b.output, b.write_5m, b.write_1h, b.read,
           lead(b.start) OVER (PARTITION BY b.model ORDER BY b.start) AS until
    FROM unnest(%(models)s::text[], %(starts)s::bigint[], %(input)s::bigint[], %(output)s::bigint[], %(cache_write_5m)s::bigint[],
                %(cache_write_1h)s::bigint[], %(cache_read)s::bigint[]) AS b (model, start, input, output, write_5m, write_1h, read)
), own AS (
    SELECT DISTINCT tariff_id, model FROM usage_tariffprice
), priced AS (
    SELECT e.tenant_id, e.cost_micros, e.billed_micros, f.markup_basis_points, o.model IS NOT NULL AS has_own,
           e.state = 'settled' AND b.model IS NULL AND e.charged_tokens > 0 AS is_unpriced,
           CASE WHEN e.state <> 'settled' OR b.model IS NULL THEN e.cost_micros
           ELSE (e.input_tokens * b.input + e.output_tokens * b.output + e.cache_write_5m_tokens * b.write_5m
                 + e.cache_write_1h_tokens * b.write_1h + e.cache_read_tokens * b.read + 500000) / 1000000 END AS new_cost
    FROM tenants_tenant t
    CROSS JOIN LATERAL usage_billed_events(t.id, %(first)s::date, (%(first)s::date + interval '1 month - 1 day')::date) e
    LEFT JOIN bands b ON b.model = coalesce((SELECT x.model FROM bands x WHERE x.model = e.model LIMIT 1), usage_undated(e.model))
        AND e.input_tokens + e.cache_write_5m_tokens + e.cache_write_1h_tokens + e.cache_read_tokens >= b.start
        AND (b.until IS NULL OR e.input_tokens + e.cache_write_5m_tokens + e.cache_write_1h_tokens + e.cache_read_tokens < b.until)
    LEFT JOIN usage_tariff f ON f.id = e.tariff_id
    LEFT JOIN own o ON o.tariff_id = e.tariff_id AND o.model IN (e.model, usage_undated(e.model))
    WHERE e.service_tier <> 'batch'
)
SELECT tenant_id, count(*) AS calls, count(*) FILTER (WHERE is_unpriced) AS unpriced_calls, sum(cost_micros)::bigint AS cost,
       sum(new_cost)::bigint AS new_cost, sum(billed_micros)::bigint AS billed,
       sum(CASE WHEN has_own THEN billed_micros ELSE (new_cost * (10000 + coalesce(markup_basis_points, 0)) + 5000) / 10000 END)::bigint
           AS new_billed
FROM priced GROUP BY tenant_id
"""
_BATCHES = """
SELECT e.*, f.markup_basis_points, o.model IS NOT NULL AS has_own FROM tenants_tenant t
CROSS JOIN LATERAL usage_billed_events(t.id, %(first)s::date, (%(first)s::date + interval '1 month - 1 day')::date) e
LEFT JOIN usage_tariff f ON f.id = e.tariff_id
LEFT JOIN (SELECT DISTINCT tariff_id, model FROM usage_tariffprice) o
    ON o.tariff_id = e.tariff_id AND o.model IN (e.model, usage_undated(e.model))
WHERE e.service_tier = 'batch'
"""
_TARIFF = """
WITH own AS (
    SELECT * FROM unnest(%(models)s::text[], %(input)s::bigint[], %(output)s::bigint[], %(cache_write_5m)s::bigint[],
                         %(cache_write_1h)s::bigint[], %(cache_read)s::bigint[]) AS b (model, input, output, write_5m, write_1h, read)
)
SELECT e.tenant_id, count(*) AS calls, 0 AS unpriced_calls, sum(e.cost_micros)::bigint AS cost, sum(e.cost_micros)::bigint AS new_cost,
       sum(e.billed_micros)::bigint AS billed,
       sum(usage_billed(e.cost_micros, %(markup)s::integer, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens,
           e.cache_write_1h_tokens, e.cache_read_tokens, coalesce(o.input, u.input), coalesce(o.output, u.output),
           coalesce(o.write_5m, u.write_5m), coalesce(o.write_1h, u.write_1h), coalesce(o.read, u.read)))::bigint AS new_billed
FROM usage_billed_events(%(tenant)s::bigint, %(first)s::date, (%(first)s::date + interval '1 month - 1 day')::date) e
LEFT JOIN own o ON o.model = e.model
LEFT JOIN own u ON o.model IS NULL AND u.model = usage_undated(e.model)
GROUP BY e.tenant_id
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a tenant's month would have been by other prices."""

    slug: str
    name: str
    calls: int
    unpriced_calls: int
    cost_micros: int
    new_cost_micros: int
    billed_micros: int
    new_billed_micros: int

    @property
    def cost_change(self) -> int:
        """How much more it would have cost; negative is less."""
        return self.new_cost_micros - self.cost_micros

    @property
    def billed_change(self) -> int:
        """How much more would have been charged; negative is less."""
        return self.new_billed_micros - self.billed_micros


def of_book(book: Book, *, month: date, on: date) -> list[Difference]:
    """Price a month of every tenant by another book, as it stands on a day; the largest change first."""
    first = month.replace(day=1)
    bands = [(model, band) for model in book.priced(on=on) for band in book.in_force(model, on=on)]
    columns: dict[str, Any] = {name: [band.micros[name] for _, band in bands] for name in REQUIRED}
    asked = {"models": [model for model, _ in bands], "starts": [band.prompt_from for _, band in bands], "first": first}
    rows = {row["tenant_id"]: row for row in fetch(_PREVIEW, {**asked, **columns})}
    for event in fetch(_BATCHES, {"first": first}):
        _add_batch(rows, event, book=book, on=on)
    return _differences(rows.values())


def of_tariff(tenant: Tenant, terms: Terms, *, month: date) -> list[Difference]:
    """Charge a tenant's month by other terms."""
    models = list(terms.prices)
    columns: dict[str, Any] = {name: [terms.prices[model][name] for model in models] for name in REQUIRED}
    asked = {
        "models": models,
        "tenant": tenant.pk,
        "first": month.replace(day=1),
        "markup": terms.markup_basis_points,
        **columns,
    }
    return _differences(fetch(_TARIFF, asked))


def told(differences: Iterable[Difference]) -> Iterator[str]:
    """Write differences as lines of a table, in dollars."""
    names = ("calls", "cost", "would cost", "charge", "would be", "difference")
    yield f"{'tenant':30}" + "".join(f"{name:>20}" for name in names)
    for one in differences:
        amounts = (
            one.cost_micros,
            one.new_cost_micros,
            one.billed_micros,
            one.new_billed_micros,
            one.billed_change,
        )
        yield f"{one.slug:30}{one.calls:>20,}" + "".join(f"{money.decimal(micros):>20}" for micros in amounts)


def _add_batch(rows: dict[int, dict[str, Any]], event: dict[str, Any], *, book: Book, on: date) -> None:
    """Few events come in batches, and their rule is not that of the others: they are priced one by one."""
    cost, is_unpriced = event["cost_micros"], False
    if event["state"] == "settled":
        tokens = Tokens(**{name: event[f"{name}_tokens"] for name in REQUIRED})
        try:
            cost = book.cost(event["model"], tokens, on=on, tier=BATCH)
        except SkillgateError:
            is_unpriced = True
    points = event["markup_basis_points"] or 0
    billed = event["billed_micros"] if event["has_own"] else (cost * (10_000 + points) + 5_000) // 10_000
    nothing = dict.fromkeys(("calls", "unpriced_calls", "cost", "new_cost", "billed", "new_billed"), 0)
    row = rows.setdefault(event["tenant_id"], {"tenant_id": event["tenant_id"], **nothing})
    added = (1, int(is_unpriced), event["cost_micros"], cost, event["billed_micros"], billed)
    for name, amount in zip(nothing, added, strict=True):
        row[name] += amount


def _differences(rows: Iterable[dict[str, Any]]) -> list[Difference]:
    found = {row["tenant_id"]: row for row in rows}
    tenants = Tenant.objects.filter(pk__in=found).in_bulk()
    names = ("calls", "unpriced_calls", "cost", "new_cost", "billed", "new_billed")
    differences = [
        Difference(tenants[key].slug, tenants[key].name, *(int(row[name]) for name in names))
        for key, row in found.items()
    ]
    return sorted(differences, key=lambda one: (-abs(one.billed_change), -abs(one.cost_change), one.slug))
