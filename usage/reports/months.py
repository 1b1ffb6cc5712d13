"""A tenant's month: what it used and is charged, by day, skill, model and key, and how complete that is.

One statement reads all of it, so its parts belong together: each breakdown adds up to the total, and the
total to the events there were at that moment. Days are the tenant's own, in its time zone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from kit import pg
from kit.errors import NotFound
from usage.reports.sums import SUMMED, Completeness, Sums
from usage.rows import fetch

_PATIENCE_SECONDS = 15.0
_MONTH = f"""
WITH totals AS MATERIALIZED (SELECT * FROM usage_month_totals(ARRAY[%(tenant)s::bigint], %(month)s::date)),
sums AS (
    SELECT CASE GROUPING(day, key_id, skill, model) WHEN 7 THEN 'day' WHEN 11 THEN 'key' WHEN 13 THEN 'skill' WHEN 14 THEN 'model'
           ELSE 'all' END AS level, day, key_id, skill, model, {SUMMED}
    FROM totals GROUP BY GROUPING SETS ((), (day), (key_id), (skill), (model))
)
SELECT t.slug, t.name, t.timezone, k.public_id, k.name AS key_name, k.display AS key_display, coalesce(n.open, 0) AS open, n.first_number,
       n.last_number, s.*
FROM sums s
JOIN tenants_tenant t ON t.id = %(tenant)s
LEFT JOIN tenants_apikey k ON k.id = s.key_id AND k.tenant_id = t.id
LEFT JOIN (
    SELECT m.tenant_id, sum(m.open)::bigint AS open, min(m.first_number) AS first_number, max(m.last_number) AS last_number
    FROM usage_month_numbers(ARRAY[%(tenant)s::bigint], %(month)s::date) m GROUP BY m.tenant_id
) n ON n.tenant_id = t.id
"""  # noqa: S608 - the columns are ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one day, skill, model or key used: `of` names it for programs, `title` for people."""

    of: str
    title: str
    sums: Sums

    def as_json(self) -> dict[str, Any]:
        """Render the line as plain data."""
        return {"of": self.of, "title": self.title, **self.sums.as_json()}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "Line":
        """Take up again what `as_json` wrote."""
        return cls(of=content["of"], title=content["title"], sums=Sums.of(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthReport:
    """A tenant's month. `days` are in their order, idle ones left out; the other lines begin with the dearest."""

    tenant_id: int
    slug: str
    name: str
    timezone: str
    month: date
    total: Sums
    completeness: Completeness
    days: tuple[Line, ...]
    skills: tuple[Line, ...]
    models: tuple[Line, ...]
    keys: tuple[Line, ...]

    def as_json(self) -> dict[str, Any]:
        """Render the report as plain data: whole numbers, and money also as decimal text."""
        return {
            "tenant": {"slug": self.slug, "name": self.name, "timezone": self.timezone},
            "month": f"{self.month:%Y-%m}",
            "total": self.total.as_json(),
            "completeness": self.completeness.as_json(),
            **{name: [line.as_json() for line in getattr(self, name)] for name in ("days", "skills", "models", "keys")},
        }


def thawed(content: Mapping[str, Any], *, tenant_id: int) -> MonthReport:
    """Take up again a report that was kept as `MonthReport.as_json` wrote it."""
    tenant = content["tenant"]
    lines = {name: tuple(Line.of_json(line) for line in content[name]) for name in ("days", "skills", "models", "keys")}
    return MonthReport(
        tenant_id=tenant_id,
        slug=tenant["slug"],
        name=tenant["name"],
        timezone=tenant["timezone"],
        month=date.fromisoformat(f"{content['month']}-01"),
        total=Sums.of(content["total"]),
        completeness=Completeness.of_json(content["completeness"]),
        **lines,
    )


def month(tenant_id: int, month: date) -> MonthReport:
    """Report a tenant's month on Django's connection; any day of the month means it.

    Raises `NotFound` for a tenant that does not exist.
    """
    return _report(fetch(_MONTH, _asked(tenant_id, month)), tenant_id=tenant_id, month=month)


async def month_for_client(tenant_id: int, month: date) -> MonthReport:
    """Report a tenant's month as `month` does, through the pool of the API."""
    rows = await pg.fetch_all(_MONTH, _asked(tenant_id, month), within=_PATIENCE_SECONDS)
    return _report(rows, tenant_id=tenant_id, month=month)


def _asked(tenant_id: int, month: date) -> dict[str, Any]:
    return {"tenant": tenant_id, "month": month.replace(day=1)}


def _report(rows: list[dict[str, Any]], *, tenant_id: int, month: date) -> MonthReport:
    whole = next((row for row in rows if row["level"] == "all"), None)
    if whole is None:
        raise NotFound("There is no such tenant.")
    total = Sums.of(whole)
    return MonthReport(
        tenant_id=tenant_id,
        slug=whole["slug"],
        name=whole["name"],
        timezone=whole["timezone"],
        month=month.replace(day=1),
        total=total,
        completeness=Completeness.of(total, whole),
        days=tuple(sorted(_lines(rows, "day", named=_day), key=lambda line: line.of)),
        skills=_dearest_first(_lines(rows, "skill", named=lambda row: (row["skill"], row["skill"] or "no skill"))),
        models=_dearest_first(_lines(rows, "model", named=lambda row: (row["model"], row["model"]))),
        keys=_dearest_first(_lines(rows, "key", named=_key)),
    )


def _lines(
    rows: Iterable[Mapping[str, Any]], level: str, *, named: Callable[[Mapping[str, Any]], tuple[str, str]]
) -> list[Line]:
    found = []
    for row in rows:
        if row["level"] == level:
            of, title = named(row)
            found.append(Line(of=of, title=title, sums=Sums.of(row)))
    return found


def _day(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["day"].isoformat(), f"{row['day']:%-d %B}"


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["public_id"], f"{row['key_name']} ({row['key_display']})"


def _dearest_first(lines: list[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: (-line.sums.billed_micros, -line.sums.charged_tokens, line.of)))
