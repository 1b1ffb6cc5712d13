"""Another price for what is booked: previewed per tenant, then booked as adjustments. No event is touched.

The sum of a group's re-rating adjustments is always the difference between its events at the new price and at
the price they were booked by: to do it twice books nothing, to do it again at yet another price the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any, NamedTuple

from django.db import connection, transaction

from kit.errors import NotFound, SkillgateError
from tenants import audit
from tenants.models import Tenant
from usage import pricing
from usage.closing.models import Adjustment
from usage.models import PriceBook
from usage.pricing import Tokens
from usage.rows import fetch, stream


class _Group(NamedTuple):
    day: date
    key_id: int
    skill: str
    model: str


@dataclass(slots=True)
class _Sums:
    calls: int = 0
    cost: int = 0
    new_cost: int = 0
    billed: int = 0
    new_billed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a re-rating means for one tenant. `difference_micros` is what is still to be booked, `booked_micros` what is.

    Estimated calls keep their bound until they are known: they are counted and left alone.
    """

    tenant_id: int
    slug: str
    calls: int
    estimated_calls: int
    cost_micros: int
    new_cost_micros: int
    booked_micros: int
    difference_micros: int
    billed_difference_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerating:
    """A model's calls of some days, and the price version they should have had (None: the newest)."""

    model: str
    first_day: date
    last_day: date
    price_version: int | None = None

    def book(self) -> pricing.Book:
        """Return the price version meant; raises `NotFound` when there is none."""
        found = (
            PriceBook.objects.filter(**({"pk": self.price_version} if self.price_version else {}))
            .order_by("-pk")
            .first()
        )
        if found is None:
            raise NotFound("There is no such price version: load one with `manage.py load_prices FILE`.")
        return pricing.version(found.pk)


def preview(asked: Rerating, *, tenant: Tenant | None = None) -> list[Preview]:
    """Tell for each tenant (or one) what a re-rating would book; nothing is written."""
    book = asked.book()
    return [_preview(one, _groups(one, asked, book=book), asked) for one in _tenants(asked, tenant)]


def book(asked: Rerating, *, tenant: Tenant | None = None, reason: str, actor: str, address: str = "") -> list[Preview]:
    """Book a re-rating as adjustments in each tenant's open month, and return what it booked."""
    prices = asked.book()
    return [
        _booked(one, asked, prices=prices, reason=reason, actor=actor, address=address)
        for one in _tenants(asked, tenant)
    ]


def _booked(tenant: Tenant, asked: Rerating, *, prices: pricing.Book, reason: str, actor: str, address: str) -> Preview:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT usage_lock_tenants(ARRAY[%s]::bigint[])", [tenant.pk])
        groups = _groups(tenant, asked, book=prices)
        found = _preview(tenant, groups, asked)
        booked = _already(tenant, asked)
        rows = []
        for group, sums in sorted(groups.items()):  # by days, in whatever order they were read
            cost, billed = booked.get(group, (0, 0))
            differences = sums.new_cost - sums.cost - cost, sums.new_billed - sums.billed - billed
            if any(differences):
                rows.append(_adjustment(tenant, group, differences, prices=prices, reason=reason, actor=actor))
        if rows:
            Adjustment.objects.bulk_create(rows)
            audit.record(
                "usage.rerated",
                tenant=tenant,
                actor=actor,
                address=address,
                subject=asked.model,
                reason=reason,
                price_version=prices.version,
                difference_micros=found.difference_micros,
                **{"from": asked.first_day.isoformat(), "to": asked.last_day.isoformat()},
            )
    return found


def _adjustment(
    tenant: Tenant, group: _Group, differences: tuple[int, int], *, prices: pricing.Book, reason: str, actor: str
) -> Adjustment:
    return Adjustment(
        tenant=tenant,
        month=_open_month(tenant.pk, group.day.replace(day=1)),
        kind=Adjustment.Kind.RERATING,
        origin_day=group.day,
        key_id=group.key_id,
        skill=group.skill,
        model=group.model,
        cost_micros=differences[0],
        billed_micros=differences[1],
        price_version=prices.version,
        reason=reason[:200],
        created_by=actor,
    )


def _preview(tenant: Tenant, groups: dict[_Group, _Sums], asked: Rerating) -> Preview:
    booked = _already(tenant, asked)
    cost, new_cost = sum(one.cost for one in groups.values()), sum(one.new_cost for one in groups.values())
    billed = sum(one.new_billed - one.billed for one in groups.values())
    booked_cost, booked_billed = (sum(one[place] for one in booked.values()) for place in (0, 1))
    return Preview(
        tenant_id=tenant.pk,
        slug=tenant.slug,
        calls=sum(one.calls for one in groups.values()),
        estimated_calls=int(fetch(_ESTIMATED, _given(tenant, asked))[0]["calls"]),
        cost_micros=cost,
        new_cost_micros=new_cost,
        booked_micros=booked_cost,
        difference_micros=new_cost - cost - booked_cost,
        billed_difference_micros=billed - booked_billed,
    )


def _groups(tenant: Tenant, asked: Rerating, *, book: pricing.Book) -> dict[_Group, _Sums]:
    found: dict[_Group, _Sums] = {}
    for event in stream(_EVENTS, _given(tenant, asked)):
        sums = found.setdefault(_Group(event["day"], event["key_id"], event["skill"], event["model"]), _Sums())
        new_cost = _cost(event, book=book)
        sums.calls += 1
        sums.cost += event["cost_micros"]
        sums.new_cost += new_cost
        sums.billed += event["billed_micros"]
        sums.new_billed += event["billed_micros"] if event["has_own_price"] else _marked_up(new_cost, event["markup"])
    return found


def _cost(event: dict[str, Any], *, book: pricing.Book) -> int:
    tokens = Tokens(
        input=event["input_tokens"],
        output=event["output_tokens"],
        cache_write_5m=event["cache_write_5m_tokens"],
        cache_write_1h=event["cache_write_1h_tokens"],
        cache_read=event["cache_read_tokens"],
    )
    try:
        return book.cost(
            event["model"], tokens, on=event["opened_at"].astimezone(UTC).date(), tier=event["service_tier"]
        )
    except SkillgateError as unpriced:
        raise NotFound(
            f"Price version {book.version} has no price of {event['model']} on {event['day']}."
        ) from unpriced


def _marked_up(cost: int, markup: int | None) -> int:
    """Round as `usage_billed` does."""
    return (cost * (10_000 + (markup or 0)) + 5_000) // 10_000


def _already(tenant: Tenant, asked: Rerating) -> dict[_Group, tuple[int, int]]:
    rows = fetch(_ALREADY, _given(tenant, asked))
    return {
        _Group(row["origin_day"], row["key_id"], row["skill"], row["model"]): (row["cost_micros"], row["billed_micros"])
        for row in rows
    }


def _tenants(asked: Rerating, tenant: Tenant | None) -> Iterator[Tenant]:
    given = {
        "tenant": tenant.pk if tenant else None,
        "model": asked.model,
        "first": asked.first_day,
        "last": asked.last_day,
    }
    for row in fetch(_TENANTS, given):
        yield Tenant.objects.get(pk=row["tenant_id"])


def _given(tenant: Tenant, asked: Rerating) -> dict[str, Any]:
    return {"tenant": tenant.pk, "model": asked.model, "first": asked.first_day, "last": asked.last_day}


def _open_month(tenant_id: int, month: date) -> date:
    found: date = fetch("SELECT usage_open_month(%s, %s) AS month", [tenant_id, month])[0]["month"]
    return found


_MODEL = "(e.model = %(model)s OR usage_undated(e.model) = %(model)s)"
_EVENTS = f"""
SELECT e.day, e.key_id, e.skill, e.model, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens, e.cache_write_1h_tokens,
       e.cache_read_tokens, e.cost_micros, e.billed_micros, e.opened_at, e.service_tier, f.markup_basis_points AS markup,
       EXISTS (
           SELECT 1 FROM usage_tariffprice p WHERE p.tariff_id = e.tariff_id AND p.model IN (e.model, usage_undated(e.model))
       ) AS has_own_price
FROM usage_billed_events(%(tenant)s, %(first)s, %(last)s) e LEFT JOIN usage_tariff f ON f.id = e.tariff_id
WHERE e.state = 'settled' AND {_MODEL}
"""  # noqa: S608 - the condition is ours
_ESTIMATED = f"""
SELECT coalesce(sum(e.estimated_calls), 0)::bigint AS calls FROM usage_dailyusage e
WHERE e.tenant_id = %(tenant)s AND e.day BETWEEN %(first)s AND %(last)s AND {_MODEL}
"""  # noqa: S608 - the same
_ALREADY = f"""
SELECT e.origin_day, e.key_id, e.skill, e.model, sum(e.cost_micros)::bigint AS cost_micros, sum(e.billed_micros)::bigint AS billed_micros
FROM usage_adjustment e
WHERE e.kind = 'rerating' AND e.tenant_id = %(tenant)s AND e.origin_day BETWEEN %(first)s AND %(last)s AND {_MODEL}
GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - the same
_TENANTS = f"""
SELECT DISTINCT e.tenant_id FROM usage_dailyusage e
WHERE e.day BETWEEN %(first)s AND %(last)s AND (%(tenant)s::bigint IS NULL OR e.tenant_id = %(tenant)s) AND {_MODEL} ORDER BY 1
"""  # noqa: S608 - the same
