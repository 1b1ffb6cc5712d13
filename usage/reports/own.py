"""What one key used: its budgets, its events page by page, and totals over them."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kit import ids, money, pg
from tenants.keys import Caller
from usage.standings import STANDINGS

_CLASSES = ("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")

_PATIENCE_SECONDS = 15.0  # sums over a long period may take a while; nothing is spent meanwhile
_BUDGETS = STANDINGS.format(scope="(b.key_id IS NULL OR b.key_id = %s)")


async def budgets(caller: Caller) -> list[dict[str, Any]]:
    """Return every budget that the caller's calls draw on, in its current period.

    Each limit is a row of its own: owner, skill, window, unit (tokens or micro_dollars), limit,
    used, reserved, left, resets_at (ISO 8601 in the tenant's time zone).
    """
    rows = await pg.fetch_all(_BUDGETS, (caller.tenant_id, caller.family_id))
    timezone = ZoneInfo(caller.tenant_timezone)
    return [
        _budget(row, unit=unit, column=column, timezone=timezone)
        for row in rows
        for unit, column in (("tokens", "tokens"), ("micro_dollars", "micros"))
        if row[f"limit_{column}"] is not None
    ]


def _budget(row: dict[str, Any], *, unit: str, column: str, timezone: ZoneInfo) -> dict[str, Any]:
    limit, used, reserved = row[f"limit_{column}"], row[f"settled_{column}"], row[f"reserved_{column}"]
    return {
        "owner": "skill" if row["skill"] else "key" if row["key_id"] else "tenant",
        "skill": row["skill"] or None,
        "window": row["window"],
        "unit": unit,
        "limit": limit,
        "used": used,
        "reserved": reserved,
        "left": max(0, limit - used - reserved),
        "resets_at": resets_at(row["period"], window=row["window"], timezone=timezone).isoformat(),
    }


def resets_at(period: date, *, window: str, timezone: ZoneInfo) -> datetime:
    """Return the instant at which the window after `period` begins."""
    following = period + timedelta(days=1)
    if window == "month":
        following = (period.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime(following.year, following.month, following.day, tzinfo=timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which of a key's events are meant: days in the tenant's time zone (both included), and what they were for."""

    first_day: date
    last_day: date
    skill: str | None = None
    model: str | None = None
    state: str | None = None

    def condition(self, caller: Caller) -> tuple[str, dict[str, Any]]:
        """Return the SQL condition and its parameters."""
        terms = [
            "tenant_id = %(tenant)s",
            "family_id = %(family)s",
            "month BETWEEN %(first_month)s AND %(last_day)s",
            "day BETWEEN %(first_day)s AND %(last_day)s",
        ]
        parameters: dict[str, Any] = {
            "tenant": caller.tenant_id,
            "family": caller.family_id,
            "first_month": self.first_day.replace(day=1),
            "first_day": self.first_day,
            "last_day": self.last_day,
        }
        for name in ("skill", "model", "state"):
            if (wanted := getattr(self, name)) is not None:
                terms.append(f"{name} = %({name})s")
                parameters[name] = wanted
        return " AND ".join(terms), parameters


async def today(caller: Caller) -> date:
    """Return the current day in the tenant's time zone, by the database's clock."""
    row = await pg.fetch_one("SELECT (usage_clock() AT TIME ZONE %s)::date AS day", (caller.tenant_timezone,))
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    day: date = row["day"]
    return day


async def events(
    caller: Caller, wanted: Filter, *, before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return a page of the key's events, newest first, and the cursor of the next page, or None."""
    condition, parameters = wanted.condition(caller)
    if before is not None:
        condition += " AND number < %(before)s"
    rows = await pg.fetch_all(
        f"SELECT * FROM usage_event WHERE {condition} ORDER BY number DESC LIMIT %(limit)s",  # noqa: S608 - terms are ours
        {**parameters, "before": before, "limit": limit + 1},
        within=_PATIENCE_SECONDS,
    )
    more = len(rows) > limit
    page = rows[:limit]
    return [_event(row) for row in page], page[-1]["number"] if more else None


async def totals(caller: Caller, wanted: Filter) -> dict[str, Any]:
    """Return counts, tokens by class and cost over the events a filter means."""
    condition, parameters = wanted.condition(caller)
    sums = ", ".join(
        f"coalesce(sum({name}), 0)::bigint AS {name}" for name in (*_CLASSES, "charged_tokens", "cost_micros")
    )
    row = await pg.fetch_one(
        f"SELECT count(*) AS calls, count(*) FILTER (WHERE state = 'open') AS open,"  # noqa: S608 - terms are ours
        f" count(*) FILTER (WHERE state = 'estimated') AS estimated, {sums} FROM usage_event WHERE {condition}",
        parameters,
        within=_PATIENCE_SECONDS,
    )
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return {**row, "cost_usd": money.decimal(row["cost_micros"])}


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ids.encode("evt", row["id"]),
        "number": row["number"],
        "run_id": ids.encode("run", row["run_id"]),
        "attempt": row["attempt"],
        "purpose": row["purpose"],
        "request_id": row["request_id"],
        "entry_point": row["entry_point"],
        "skill": row["skill"] or None,
        "skill_version": row["skill_version"],
        "model": row["model"],
        "route": row["route"] or None,
        "state": row["state"],
        **{name: row[name] for name in _CLASSES},
        "charged_tokens": row["charged_tokens"],
        "reserved_tokens": row["reserved_tokens"] if row["state"] == "open" else 0,
        "cost_micros": row["cost_micros"],
        "cost_usd": money.decimal(row["cost_micros"]),
        "price_version": row["price_version"],
        "stop_reason": row["stop_reason"] or None,
        "error_type": row["error_type"] or None,
        "upstream_request_id": row["upstream_request_id"] or None,
        "opened_at": row["opened_at"].isoformat(),
        "closed_at": row["closed_at"].isoformat() if row["closed_at"] else None,
        "first_output_ms": row["first_output_ms"],
        "duration_ms": row["duration_ms"],
    }
