"""What the page of a month shows, for a tenant's people and for operators alike."""

import re
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils import timezone

from console.finance import charts
from tenants.models import Tenant
from usage import reports
from usage.exports import documents
from usage.reports import Line, MonthReport

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)
_SHOWN = 12


def asked(request: HttpRequest, name: str, *, default: date) -> date:
    """Read a month such as 2026-11 from the query. Raises `BadRequest`."""
    raw = request.GET.get(name, "")
    if not raw:
        return default
    found = _MONTH.fullmatch(raw)
    if found is None:
        raise BadRequest(f"`{name}` must be a month such as 2026-11.")
    return date(int(found[1]), int(found[2]), 1)


def this_month(tenant: Tenant, *, now: datetime) -> date:
    """Return the first day of the present month in the tenant's zone."""
    return now.astimezone(ZoneInfo(tenant.timezone)).date().replace(day=1)


def before(month: date) -> date:
    """Return the month before."""
    return date(month.year - (month.month == 1), (month.month - 2) % 12 + 1, 1)


def after(month: date) -> date:
    """Return the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def page_of(request: HttpRequest, tenant: Tenant, *, now: datetime) -> dict[str, Any]:
    """Gather a month and the one it is compared with, as the query asks for them."""
    present = this_month(tenant, now=now)
    month = asked(request, "month", default=present)
    with timezone.override(ZoneInfo(tenant.timezone)):
        figures = documents.figures(tenant, month)
        report = figures.report
        past = reports.month(tenant.pk, asked(request, "with", default=before(month)))
        found = reports.changes(report, past)
        return {
            "tenant": tenant,
            "report": report,
            "figures": figures,
            "past": past,
            "chart": _chart(report, past),
            "classes": _classes(report, past),
            "tables": _tables(report, found),
            "movers": reports.movers(report, past),
            "plans": reports.plans(tenant.pk, month),
            "previous": before(month),
            "next": after(month) if month < present else None,
            "is_running": month >= present,
            "as_of": timezone.localtime(now),
            "billed_rise": reports.rise(report.total.billed_micros, past.total.billed_micros),
            "months": _months(present),
        }


def _months(present: date) -> list[date]:
    found = [present]
    while len(found) < _SHOWN:
        found.append(before(found[-1]))
    return found


def _chart(report: MonthReport, past: MonthReport) -> charts.Days:
    return charts.draw_days(
        report.month,
        {line.of: line.sums.billed_micros for line in report.days},
        {line.of: min(line.sums.estimated_micros, line.sums.billed_micros) for line in report.days},
        before={date.fromisoformat(line.of).day: line.sums.billed_micros for line in past.days},
    )


def _classes(report: MonthReport, past: MonthReport) -> list[tuple[str, int, int]]:
    """Tokens of each class in this month and in the one it is compared with."""
    names = ("Input", "Output", "Cache writes, 5 minutes", "Cache writes, 1 hour", "Cache reads")
    return [
        (name, getattr(report.total, column), getattr(past.total, column))
        for name, column in zip(names, reports.TOKEN_CLASSES, strict=True)
    ]


def _tables(report: MonthReport, found: list[reports.Change]) -> list[tuple[str, list[dict[str, Any]]]]:
    """By skill, model and key: each line with its share of the month and its rise."""
    known = {(change.kind, change.of): change for change in found}
    return [
        (f"By {kind}", [_row(line, known[(kind, line.of)], report) for line in lines])
        for kind, lines in (("skill", report.skills), ("model", report.models), ("key", report.keys))
    ]


def _row(line: Line, change: reports.Change, report: MonthReport) -> dict[str, Any]:
    share = round(100 * line.sums.billed_micros / report.total.billed_micros) if report.total.billed_micros else 0
    return {"line": line, "share": share, "change": change}
