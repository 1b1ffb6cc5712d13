"""The organization's Usage and Cost reports, made from the journal: what the Admin API would say of the same calls.

https://platform.claude.com/docs/en/api/admin-api/usage-cost/get-messages-usage-report and …/get-cost-report:
days are UTC days, a call belongs to the one it began in, costs are decimal numbers of cents.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from emulator.refusals import Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.exchange import Exchange
    from emulator.journal import Entry
    from emulator.state import State

Json = dict[str, Any]
PREFIX = "/v1/organizations/"
_CLASSES = {
    "uncached_input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
}
# Dollars per million tokens, in the order of `_CLASSES`; the longest beginning of a model's name counts.
_PRICES = {
    "claude-haiku-4-5": ("1", "5", "1.25", "2", "0.10"),
    "claude-haiku-5-5": ("0.10", "0.50", "0.125", "0.20", "0.01"),
    "claude-sonnet-4": ("3", "15", "3.75", "6", "0.30"),
    "claude-sonnet-5": ("2", "10", "2.50", "4", "0.20"),
    "claude-opus-5-5": ("4", "20", "5", "8", "0.20"),
    "claude-opus": ("5", "25", "6.25", "10", "0.50"),
}
_CENTS_PER_DOLLAR, _MILLION = 100, 1_000_000
_DEFAULT_DAYS, _MOST_DAYS = 7, 31


async def answer(exchange: Exchange, state: State, *, key: str) -> None:
    """Answer `GET /v1/organizations/usage_report/messages` or `…/cost_report`."""
    make = _REPORTS.get(exchange.path.removeprefix(PREFIX))
    if make is None:
        raise Refused(404, "Not found")
    if "admin" not in key:
        raise Refused(403, "This endpoint needs an Admin API key.")
    asked = parse_qs(exchange.query)
    days, following = _days(asked)
    by_day: dict[date, list[Entry]] = defaultdict(list)
    for entry in state.journal.entries.values():
        by_day[datetime.fromisoformat(entry.at).astimezone(UTC).date()].append(entry)
    groups = {
        name for name in asked.get("group_by[]", []) if name in {"model", "api_key_id", "service_tier", "description"}
    }
    data = [
        {
            "starting_at": _instant(day),
            "ending_at": _instant(day + timedelta(days=1)),
            "results": make(by_day[day], groups),
        }
        for day in days
    ]
    page = f"page_{following}" if following else None
    await exchange.respond(json.dumps({"data": data, "has_more": page is not None, "next_page": page}).encode())


def _days(asked: dict[str, list[str]]) -> tuple[list[date], date | None]:
    """Return the days of this page, and the day that the next one begins with."""
    first = _day(asked, "starting_at", default=None)
    until = _day(asked, "ending_at", default=datetime.now(UTC).date() + timedelta(days=1))  # noqa: TID251 - its own clock
    limit = asked.get("limit", [str(_DEFAULT_DAYS)])[-1]
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_DAYS:
        raise invalid(f"limit: Input should be from 1 to {_MOST_DAYS}")
    if asked.get("bucket_width", ["1d"])[-1] != "1d":
        raise invalid("bucket_width: this emulator knows 1d alone")
    page = asked.get("page", [""])[-1]
    if page:
        first = _parsed(page.removeprefix("page_"), "page")
    days = [first + timedelta(days=number) for number in range(min(int(limit), max(0, (until - first).days)))]
    following = first + timedelta(days=len(days))
    return days, following if following < until else None


def _day(asked: dict[str, list[str]], name: str, *, default: date | None) -> date:
    text = asked.get(name, [""])[-1]
    if text:
        return _parsed(text, name)
    if default is None:
        raise invalid(f"{name}: Field required")
    return default


def _parsed(text: str, name: str) -> date:
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise invalid(f"{name}: Input should be a valid datetime") from None
    return (found.astimezone(UTC) if found.tzinfo else found).date()


def _instant(day: date) -> str:
    return f"{day}T00:00:00Z"


def _usage(entries: Iterable[Entry], groups: set[str]) -> list[Json]:
    sums: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_CLASSES.values(), 0))
    for entry in entries:
        kind = (
            entry.model if "model" in groups else None,
            f"apikey_{entry.key_digest}" if "api_key_id" in groups else None,
            entry.service_tier if "service_tier" in groups else None,
        )
        for name in _CLASSES.values():
            sums[kind][name] += entry.usage[name]
    return [_result(kind, used) for kind, used in sorted(sums.items(), key=str)]


def _result(kind: tuple[Any, ...], used: dict[str, int]) -> Json:
    model, key, tier = kind
    return {
        "uncached_input_tokens": used["input_tokens"],
        "cache_creation": {
            "ephemeral_5m_input_tokens": used["cache_write_5m_tokens"],
            "ephemeral_1h_input_tokens": used["cache_write_1h_tokens"],
        },
        "cache_read_input_tokens": used["cache_read_tokens"],
        "output_tokens": used["output_tokens"],
        "server_tool_use": {"web_search_requests": 0},
        "model": model,
        "api_key_id": key,
        "service_tier": tier,
        "workspace_id": None,
        "context_window": None,
    }


def _costs(entries: Iterable[Entry], groups: set[str]) -> list[Json]:
    sums: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for entry in entries:
        for price, (kind, name) in zip(_prices(entry.model), _CLASSES.items(), strict=False):
            cents = Decimal(price) * _CENTS_PER_DOLLAR * entry.usage[name] / _MILLION
            sums[entry.model, entry.service_tier, kind] += cents / 2 if entry.service_tier == "batch" else cents
    if "description" not in groups:
        return [_cost(sum(sums.values(), Decimal()), None, None, None)] if sums else []
    return [_cost(cents, *kind) for kind, cents in sorted(sums.items()) if cents]


def _cost(cents: Decimal, model: str | None, tier: str | None, kind: str | None) -> Json:
    return {
        "currency": "USD",
        "amount": f"{cents.normalize():f}",
        "workspace_id": None,
        "description": f"{model} Usage - {kind}" if model else None,
        "cost_type": "tokens" if model else None,
        "context_window": None,
        "model": model,
        "service_tier": tier,
        "token_type": kind,
    }


def _prices(model: str) -> tuple[str, ...]:
    found = [name for name in _PRICES if model.startswith(name)]
    return _PRICES[max(found, key=len)] if found else ()


_REPORTS = {"usage_report/messages": _usage, "cost_report": _costs}
