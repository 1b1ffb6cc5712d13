"""The page one enters by: how the month stands, what needs a look."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from console import pages, scope
from kit import clock
from tenants.models import ApiKey, AuditEntry
from usage import standings


def show(request: HttpRequest) -> HttpResponseBase:
    """This function will show the overview of the tenant."""
    access: Any = scope.access_of(request)
    now = clock.now()
    keys = scope.rows(ApiKey, request).filter(revoked_at=None)
    soon = keys.filter(expires_at__gt=now, expires_at__lt=now + timedelta(days=14)).order_by("expires_at")
    return pages.render(
        request,
        "console/overview.html",
        title="Overview",
        tenant=access.tenant,
        role=access.role,
        standings=standings.of_tenant(access.tenant.pk),
        expiring=soon[:10],
        recent=scope.rows(AuditEntry, request).order_by("-at")[:8] if access.may("audit.see") else [],
        may_issue=access.may("keys.issue"),
    )
