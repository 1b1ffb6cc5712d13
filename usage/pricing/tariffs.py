"""Tariffs: what a tenant is charged for its events, beside what they cost.

A tariff says from which day of the tenant it holds, a markup on the cost, and own prices for some models. It
never changes once loaded. Each event is charged by the tariff of its day, in whole micro-dollars (the rule
is the SQL function `usage_billed`), so that any sum of charges is a sum over events.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from kit.errors import InvalidRequest
from tenants import audit
from tenants.models import Tenant
from usage.models import Tariff, TariffPrice
from usage.pricing.book import MICROS, REQUIRED

MOST_MICROS = 10**10
_FIELDS = {"model", *REQUIRED}
_LOWEST_MARKUP, _HIGHEST_MARKUP = -10_000, 1_000_000
_END = date(9999, 12, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a tariff says: the markup in hundredths of a percent, and own prices in micro-dollars per million tokens."""

    effective_from: date
    source: str
    markup_basis_points: int = 0
    prices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read(raw: bytes) -> Terms:
    """Read terms from TOML: `effective_from`, `source`, `markup_percent` and [[price]] entries.

    An entry names a model and states all five classes in dollars per million tokens, as text.
    Raises `InvalidRequest` naming what is at fault.
    """
    try:
        content = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise InvalidRequest(f"The tariff is not TOML: {fault}") from fault
    unknown = sorted(set(content) - {"effective_from", "source", "markup_percent", "price"})
    if unknown:
        raise InvalidRequest(f"The tariff has fields that mean nothing: {', '.join(unknown)[:200]}.")
    return terms(
        effective_from=content.get("effective_from"),
        source=content.get("source"),
        markup_percent=content.get("markup_percent", "0"),
        prices=content.get("price", []),
    )


def terms(*, effective_from: Any, source: Any, markup_percent: Any, prices: Any) -> Terms:
    """Check what a tariff is to say; raises `InvalidRequest` naming what is at fault."""
    if not isinstance(effective_from, date) or isinstance(effective_from, datetime):
        raise InvalidRequest("Give `effective_from` a day of the tenant, such as 2026-12-01.", field="effective_from")
    if not isinstance(source, str) or not 0 < len(source.strip()) <= 500:
        raise InvalidRequest("Say in `source` what the tariff was agreed in (500 characters).", field="source")
    if not isinstance(prices, list) or not all(isinstance(entry, dict) for entry in prices):
        raise InvalidRequest("Give own prices as [[price]] entries.", field="price")
    return Terms(
        effective_from=effective_from,
        source=source.strip(),
        markup_basis_points=_markup(markup_percent),
        prices=_own_prices(prices),
    )


def load(tenant: Tenant, asked: Terms, *, now: datetime, actor: str = "system", address: str = "") -> Tariff:
    """Give a tenant a new tariff, and have the days that it changes summed anew.

    Raises `InvalidRequest` if it would begin before the tenant's present month: what was reported before is
    corrected by adjustments, never by another price.
    """
    this_month = now.astimezone(ZoneInfo(tenant.timezone)).date().replace(day=1)
    if asked.effective_from < this_month:
        raise InvalidRequest(
            f"A tariff cannot begin before {this_month}, the first day of the tenant's month. Correct earlier days by an adjustment.",
            field="effective_from",
        )
    with transaction.atomic():
        tariff = Tariff.objects.create(
            tenant=tenant,
            effective_from=asked.effective_from,
            markup_basis_points=asked.markup_basis_points,
            source=asked.source,
            created_by=actor,
        )
        TariffPrice.objects.bulk_create(
            TariffPrice(tenant=tenant, tariff=tariff, model=model, token_class=part, micros_per_million=micros)
            for model, own in asked.prices.items()
            for part, micros in own.items()
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT usage_forget_days(%s, %s, %s)", [tenant.pk, asked.effective_from, _END])
        audit.record(
            "tariff.loaded",
            tenant=tenant,
            actor=actor,
            address=address,
            subject=f"tariff {tariff.pk}",
            effective_from=asked.effective_from.isoformat(),
            markup_basis_points=asked.markup_basis_points,
            models=sorted(asked.prices),
        )
    return tariff


def of_tenant(tenant_id: int) -> list[Tariff]:
    """Return a tenant's tariffs with their prices, the latest first."""
    return list(
        Tariff.objects.filter(tenant_id=tenant_id).prefetch_related("prices").order_by("-effective_from", "-pk")
    )


def _markup(value: Any) -> int:
    points = _decimal(value, what="markup_percent") * 100
    if points != points.to_integral_value() or not _LOWEST_MARKUP <= points <= _HIGHEST_MARKUP:
        raise InvalidRequest(
            'Give `markup_percent` from -100 to 10000, to the hundredth, such as "12.5".', field="markup_percent"
        )
    return int(points)


def _own_prices(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for entry in entries:
        model = entry.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= 64 or not model.isprintable():
            raise InvalidRequest("Each price entry needs the name of a `model`.", field="model")
        if set(entry) != _FIELDS:
            raise InvalidRequest(f"The price of {model!r} needs exactly: {', '.join(sorted(_FIELDS))}.", field="price")
        if model in found:
            raise InvalidRequest(f"The price of {model!r} is stated twice.", field="price")
        found[model] = {part: _micros(entry[part], what=f"{part} price of {model!r}") for part in REQUIRED}
    return found


def _micros(value: Any, *, what: str) -> int:
    micros = _decimal(value, what=what) * MICROS
    if micros != micros.to_integral_value() or not 0 <= micros <= MOST_MICROS:
        raise InvalidRequest(
            f"The {what} is negative, above 10,000 dollars or finer than a micro-dollar.", field="price"
        )
    return int(micros)


def _decimal(value: Any, *, what: str) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise InvalidOperation
        number = Decimal(value)
        if not number.is_finite() or abs(number) > MICROS:
            raise InvalidOperation
    except InvalidOperation:
        raise InvalidRequest(f'The {what} is not a number. Write it in quotes, such as "1.25".') from None
    return number
