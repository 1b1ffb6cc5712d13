"""What a row of an export holds: every usage event, and every day's use as FOCUS has it."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kit import ids, money
from usage.reports import TOKEN_CLASSES

Row = dict[str, Any]
Column = tuple[str, Callable[[Row, ZoneInfo], Any]]

# By number, open events included: a reader can see that none is missing.
EVENTS = """
SELECT e.*, k.public_id AS key_public_id, k.name AS key_name
FROM usage_billed_events(%(tenant)s::bigint, %(first)s::date, %(last)s::date) e
JOIN tenants_apikey k ON k.id = e.key_id AND k.tenant_id = e.tenant_id
WHERE e.month = %(month)s::date AND e.number BETWEEN %(low)s AND %(high)s
ORDER BY e.number
"""
DAYS = """
SELECT m.*, k.public_id AS key_public_id, k.name AS key_name, t.slug, t.name AS tenant_name
FROM generate_series(date_trunc('month', %(first)s::date), %(last)s::date, interval '1 month') months (month)
CROSS JOIN LATERAL (
    SELECT u.day, u.key_id, u.skill, u.model, sum(u.calls)::bigint AS calls, sum(u.estimated_calls)::bigint AS estimated_calls,
           sum(u.unpriced_calls)::bigint AS unpriced_calls, sum(u.input_tokens)::bigint AS input_tokens,
           sum(u.output_tokens)::bigint AS output_tokens, sum(u.cache_write_5m_tokens)::bigint AS cache_write_5m_tokens,
           sum(u.cache_write_1h_tokens)::bigint AS cache_write_1h_tokens, sum(u.cache_read_tokens)::bigint AS cache_read_tokens,
           sum(u.charged_tokens)::bigint AS charged_tokens, sum(u.cost_micros)::bigint AS cost_micros,
           sum(u.billed_micros)::bigint AS billed_micros
    FROM usage_month_totals(ARRAY[%(tenant)s::bigint], months.month::date) u
    WHERE u.day BETWEEN %(first)s::date AND %(last)s::date GROUP BY u.day, u.key_id, u.skill, u.model
) m
JOIN tenants_tenant t ON t.id = %(tenant)s
JOIN tenants_apikey k ON k.id = m.key_id AND k.tenant_id = t.id
ORDER BY m.day, k.public_id, m.skill, m.model
"""


def _plain(name: str) -> Column:
    return name, lambda row, _zone: row[name]


def _moment(name: str) -> Column:
    return name, lambda row, zone: row[name].astimezone(zone).isoformat() if row[name] else None


def _dollars(name: str, column: str) -> Column:
    return name, lambda row, _zone: money.decimal(row[column])


EVENT_COLUMNS: tuple[Column, ...] = (
    _plain("number"),
    ("event_id", lambda row, _zone: ids.encode("evt", row["id"])),
    ("run_id", lambda row, _zone: ids.encode("run", row["run_id"])),
    _plain("attempt"),
    _plain("purpose"),
    _moment("opened_at"),
    _moment("closed_at"),
    ("day", lambda row, _zone: row["day"].isoformat()),
    _plain("state"),
    _plain("entry_point"),
    ("key_id", lambda row, _zone: row["key_public_id"]),
    _plain("key_name"),
    _plain("skill"),
    _plain("skill_version"),
    _plain("model"),
    *(_plain(name) for name in TOKEN_CLASSES),
    _plain("charged_tokens"),
    _plain("cost_micros"),
    _dollars("cost_usd", "cost_micros"),
    _plain("billed_micros"),
    _dollars("billed_usd", "billed_micros"),
    _plain("price_version"),
    ("tariff", lambda row, _zone: row["tariff_id"]),
    ("is_unpriced", lambda row, _zone: "true" if row["is_unpriced"] else "false"),
    _plain("stop_reason"),
    _plain("error_type"),
    _plain("request_id"),
    _plain("upstream_request_id"),
    _plain("service_tier"),
)


def _start(day: date, zone: ZoneInfo) -> str:
    """The first instant of a day of the tenant's, in UTC, as FOCUS wants instants."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _month_after(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _tags(row: Row) -> str:
    return json.dumps({"skill": row["skill"], "key": row["key_public_id"]}, sort_keys=True)


def _fixed(name: str, value: str | None) -> Column:
    return name, lambda _row, _zone: value


# FOCUS 1.2: the mandatory columns and those conditional ones that apply; ours begin with `x_`.
FOCUS_COLUMNS: tuple[Column, ...] = (
    _dollars("BilledCost", "billed_micros"),
    ("BillingAccountId", lambda row, _zone: row["slug"]),
    ("BillingAccountName", lambda row, _zone: row["tenant_name"]),
    _fixed("BillingAccountType", "Tenant"),
    _fixed("BillingCurrency", "USD"),
    ("BillingPeriodEnd", lambda row, zone: _start(_month_after(row["day"]), zone)),
    ("BillingPeriodStart", lambda row, zone: _start(row["day"].replace(day=1), zone)),
    _fixed("ChargeCategory", "Usage"),
    _fixed("ChargeClass", None),
    ("ChargeDescription", lambda row, _zone: f"{row['model']} for skill {row['skill'] or '-'}"),
    _fixed("ChargeFrequency", "Usage-Based"),
    ("ChargePeriodEnd", lambda row, zone: _start(row["day"] + timedelta(days=1), zone)),
    ("ChargePeriodStart", lambda row, zone: _start(row["day"], zone)),
    ("ConsumedQuantity", lambda row, _zone: row["charged_tokens"]),
    _fixed("ConsumedUnit", "Tokens"),
    _dollars("ContractedCost", "billed_micros"),
    _dollars("EffectiveCost", "billed_micros"),
    _fixed("InvoiceIssuerName", "Skillgate"),
    _dollars("ListCost", "cost_micros"),
    _fixed("PricingCategory", "Standard"),
    ("PricingQuantity", lambda row, _zone: row["charged_tokens"]),
    _fixed("PricingUnit", "Tokens"),
    _fixed("ProviderName", "Skillgate"),
    _fixed("PublisherName", "Anthropic"),
    ("ResourceId", lambda row, _zone: row["skill"]),
    ("ResourceName", lambda row, _zone: row["skill"]),
    _fixed("ResourceType", "Skill"),
    _fixed("ServiceCategory", "AI and Machine Learning"),
    _fixed("ServiceName", "Skillgate"),
    _fixed("ServiceSubcategory", "Generative AI"),
    ("SkuId", lambda row, _zone: row["model"]),
    _fixed("SkuMeter", "Tokens"),
    ("SubAccountId", lambda row, _zone: row["key_public_id"]),
    ("SubAccountName", lambda row, _zone: row["key_name"]),
    _fixed("SubAccountType", "Key"),
    ("Tags", lambda row, _zone: _tags(row)),
    ("x_Calls", lambda row, _zone: row["calls"]),
    ("x_EstimatedCalls", lambda row, _zone: row["estimated_calls"]),
    ("x_UnpricedCalls", lambda row, _zone: row["unpriced_calls"]),
    *((f"x_{name.title().replace('_', '')}", lambda row, _zone, name=name: row[name]) for name in TOKEN_CLASSES),
    ("x_CostMicros", lambda row, _zone: row["cost_micros"]),
    ("x_BilledMicros", lambda row, _zone: row["billed_micros"]),
)
