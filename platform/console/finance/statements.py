"""A month's statement as PDF."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from console.finance import month
from tenants.models import Tenant
from usage.exports import documents


def answer(request: HttpRequest, tenant: Tenant, *, now: datetime) -> HttpResponseBase:
    """Answer with the statement of the month that the query names."""
    wanted = month.asked(request, "month", default=month.this_month(tenant, now=now))
    document = documents.render(tenant, wanted, now=now)
    name = f"{tenant.slug}-{wanted:%Y-%m}-statement.pdf"
    return HttpResponse(
        document,
        content_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
