"""The audit log: who did what, when, from where, before and after; filtered, and exported whole."""

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string

from console import scope
from console.lists import TenantList, View
from console.pages import render
from console.templatetags import humane
from kit import clock, spreadsheets
from tenants.models import AuditEntry

MOST_EXPORTED = 50_000
_DAYS = {"1": "Last day", "7": "Last 7 days", "30": "Last 30 days", "365": "Last year"}
_COLUMNS = ("at", "actor", "action", "subject", "address", "details")


class AreaFilter(admin.SimpleListFilter):
    """Keys, budgets, people, sessions, settings."""

    title = "area"
    parameter_name = "area"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the areas."""
        return [
            ("key", "Keys"),
            ("budget", "Budgets"),
            ("member", "Colleagues"),
            ("session", "Sign-ins"),
            ("second_factor", "Second factors"),
            ("tenant", "Settings"),
            ("skill", "Skills"),
            ("playground", "Playground"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """Keep one area's entries."""
        area = self.value()
        known = {name for name, _ in self.lookup_choices}
        return queryset.filter(action__startswith=f"{area}.") if area in known else queryset


class AgeFilter(admin.SimpleListFilter):
    """How far back."""

    title = "time"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the spans."""
        return list(_DAYS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """Keep the entries of a span."""
        days = self.value()
        return queryset.filter(at__gte=clock.now() - timedelta(days=int(days))) if days in _DAYS else queryset


class AuditList(TenantList):
    """Every entry of the tenant."""

    right = "audit.see"
    list_display_links = ("when",)
    list_display = ("when", "actor", "action", "subject", "address", "what")
    list_filter = (AreaFilter, AgeFilter)
    lookups = ("area", "days")
    search_fields = ("actor", "subject", "action", "address")
    ordering = ("-at", "-id")
    list_before_template = "console/audit/before_list.html"

    def extra_urls(self) -> Iterable[tuple[str, str, str, View]]:
        """Return the entry's page and the export."""
        return [("export/", "export", self.right, self.export), ("<int:pk>/", "detail", self.right, self.detail)]

    def detail(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Show one entry whole."""
        entry = self.get_object_or_404(request, pk)
        return render(
            request, "console/audit/detail.html", title=entry.action, entry=entry, rows=described(entry.details)
        )

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Return the entries that the filters leave, as CSV."""
        found = self.get_changelist_instance(request).get_queryset(request).order_by("id")[:MOST_EXPORTED]
        text = spreadsheets.csv_text(_COLUMNS, rows_of(found))
        return HttpResponse(
            text,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
        )

    @admin.display(description="When", ordering="at")
    def when(self, entry: AuditEntry) -> str:
        """Write the moment, to the second."""
        return humane.moment(entry.at, seconds=True)

    @admin.display(description="Details")
    def what(self, entry: AuditEntry) -> str:
        """Show what changed, in brief."""
        return render_to_string("console/audit/brief.html", {"rows": described(entry.details)[:3]})


def rows_of(found: QuerySet[AuditEntry]) -> Iterator[tuple[str, ...]]:
    """Return entries as a table's rows."""
    for entry in found.iterator(chunk_size=2000):
        details = json.dumps(entry.details, ensure_ascii=False, sort_keys=True)
        yield entry.at.isoformat(), entry.actor, entry.action, entry.subject, entry.address, details


def described(details: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what an entry tells as name, before, after; what has no before is empty there."""
    before = details.get("before") or {}
    after = details.get("after") or {name: details[name] for name in before if name in details}
    changes = [(name, _plain(before.get(name)), _plain(after.get(name))) for name in {**before, **after}]
    told = {"before", "after", *before, *after}
    others = [(name, "", _plain(value)) for name, value in details.items() if name not in told]
    return [*changes, *others]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def history(request: HttpRequest, subject: str) -> QuerySet[AuditEntry]:
    """Return what happened to one subject of the tenant, the latest first."""
    return scope.rows(AuditEntry, request).filter(subject=subject).order_by("-id")
