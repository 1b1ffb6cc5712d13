"""Alerts: what passed a threshold and when, whether mail went out, and who gets it."""

from django.http import HttpRequest, HttpResponseBase

from console import scope
from console.pages import page, render
from tenants.models import Membership
from usage.alerts import latest

_PER_PAGE = 50
_TOLD = (Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.FINANCE)


@page("alerts/", name="alerts", right="budgets.see")
def alerts(request: HttpRequest) -> HttpResponseBase:
    """List the tenant's alerts, the newest first, a page at a time."""
    tenant = scope.member(request).tenant
    before = request.GET.get("before", "")
    is_number = before.isascii() and before.isdecimal() and len(before) < 19
    found = latest(tenant.pk, most=_PER_PAGE + 1, before=int(before) if is_number else None)
    told = scope.rows(Membership, request).filter(role__in=_TOLD, user__is_active=True)
    return render(
        request,
        "console/alerts.html",
        title="Alerts",
        alerts=found[:_PER_PAGE],
        older=found[_PER_PAGE - 1].id if len(found) > _PER_PAGE else None,
        colleagues=told.count(),
        recipients=tenant.alert_recipients,
    )
