"""The page a tenant's people enter by."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, Sum
from django.http import HttpRequest, HttpResponseBase

from console import pages, scope
from console.dashboard import drawing, tiles
from kit import clock
from skills.analyses.models import Analysis
from tenants.models import ApiKey, AuditEntry, Refusal
from usage import alerts, latencies, reports, standings
from usage.reports import Line, MonthReport, Sums

_MOST_LINES = 8
_UNDER_WAY = (Analysis.State.QUEUED, Analysis.State.RUNNING, Analysis.State.AWAITING_BUDGET)


def show(request: HttpRequest) -> HttpResponseBase:
    """Show how the tenant's day and month stand; the same number of queries for any amount of use."""
    access = scope.member(request)
    now = clock.now()
    today = now.astimezone(ZoneInfo(access.tenant.timezone)).date()
    report = reports.month(access.tenant.pk, today)
    live = scope.rows(ApiKey, request).filter(revoked_at=None).exclude(expires_at__lte=now)
    soon = live.filter(expires_at__lt=now + timedelta(days=14)).order_by("expires_at")
    return pages.render(
        request,
        "console/dashboard/tenant.html",
        title="Overview",
        tenant=access.tenant,
        role=access.role,
        has_keys=live.exists(),
        **_figures(request, report, today=today),
        standings=standings.of_tenant(access.tenant.pk),
        expiring=soon[:10],
        analyses=_analyses(request),
        alerts=alerts.open_for(access.tenant.pk)[:5],
        recent=scope.rows(AuditEntry, request).order_by("-at")[:8] if access.may("audit.see") else [],
    )


def _figures(request: HttpRequest, report: MonthReport, *, today: date) -> dict[str, Any]:
    days = {date.fromisoformat(line.of): line.sums for line in report.days}
    latency = latencies.of_tenant(report.tenant_id, today=today)
    zone = ZoneInfo(report.timezone)
    return {
        "tiles": tiles.tiles(
            days.get(today, Sums()),
            report.total,
            refused=_refused(request, today=today, zone=zone),
            latency=(latency["today"], latency["month"]),
        ),
        "month": report.month,
        "has_calls": report.total.calls > 0,
        "calls": drawing.draw({day: sums.calls for day, sums in days.items()}, month=report.month, today=today),
        "cost": drawing.draw({day: sums.cost_micros for day, sums in days.items()}, month=report.month, today=today),
        "skills": _shares(report.skills, total=report.total),
        "keys": _shares(report.keys, total=report.total),
    }


def _shares(lines: tuple[Line, ...], *, total: Sums) -> list[tuple[Line, int]]:
    """The dearest lines with their percentage of the cost, and the rest as one."""
    shown = list(lines[:_MOST_LINES])
    if rest := lines[_MOST_LINES:]:
        shown.append(Line(of="", title=f"{len(rest)} others", sums=sum((line.sums for line in rest), Sums())))
    return [(line, round(100 * line.sums.cost_micros / max(1, total.cost_micros))) for line in shown]


def _refused(request: HttpRequest, *, today: date, zone: ZoneInfo) -> tuple[int, int]:
    midnight = datetime(today.year, today.month, today.day, tzinfo=zone)
    sums = (
        scope.rows(Refusal, request)
        .filter(hour__gte=midnight.replace(day=1))
        .aggregate(today=Sum("count", filter=Q(hour__gte=midnight)), month=Sum("count"))
    )
    return sums["today"] or 0, sums["month"] or 0


def _analyses(request: HttpRequest) -> list[Analysis]:
    found = scope.rows(Analysis, request).filter(state__in=_UNDER_WAY).select_related("key").order_by("-created_at")
    return list(
        found.only("id", "state", "skill", "steps_done", "steps_total", "created_at", "key__name")[:_MOST_LINES]
    )
