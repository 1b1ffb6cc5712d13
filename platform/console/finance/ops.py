"""Finance for operators: all tenants at a glance, each one's month and files, and the prices they are charged by."""

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from console.finance import downloads, month, statements
from console.pages import ops_page, render
from kit import clock
from tenants.models import Tenant
from usage import reports
from usage.exports import Kind, Span
from usage.reports import Sums


@ops_page("finance/", name="finance")
def overview(request: HttpRequest) -> HttpResponseBase:
    """Show a month of every tenant."""
    present = clock.now().date().replace(day=1)
    wanted = month.asked(request, "month", default=present)
    lines = reports.platform(wanted)
    return render(
        request,
        "finance/platform.html",
        title=f"All tenants, {wanted:%B %Y}",
        month=wanted,
        previous=month.before(wanted),
        next=month.after(wanted) if wanted < present else None,
        lines=lines,
        total=sum((line.sums for line in lines), Sums()),
        largest=max([1, *(line.sums.billed_micros for line in lines)]),
        gaps=[line for line in lines if not line.completeness.is_gapless],
        unpriced=[line for line in lines if line.sums.unpriced_calls],
    )


@ops_page("finance/<int:pk>/", name="finance_month")
def tenant_month(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show a month of one tenant."""
    tenant = _tenant(pk)
    found = month.page_of(request, tenant, now=clock.now())
    title = f"{tenant.name}, {found['report'].month:%B %Y}"
    return render(request, "finance/month.html", title=title, for_operators=True, **found)


@ops_page("finance/<int:pk>/statement.pdf", name="finance_statement")
def statement(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Render a tenant's statement."""
    return statements.answer(request, _tenant(pk), now=clock.now())


@ops_page("finance/<int:pk>/events.csv", name="finance_csv")
def events_csv(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Export a tenant's events as CSV."""
    return _export(request, pk, "csv")


@ops_page("finance/<int:pk>/events.xlsx", name="finance_xlsx")
def events_xlsx(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Export a tenant's events as a workbook."""
    return _export(request, pk, "xlsx")


@ops_page("finance/<int:pk>/focus.csv", name="finance_focus")
def focus_csv(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Export a tenant's days as FOCUS has them."""
    return _export(request, pk, "focus")


def _export(request: HttpRequest, pk: int, kind: Kind) -> HttpResponseBase:
    tenant = _tenant(pk)
    wanted = month.asked(request, "month", default=month.this_month(tenant, now=clock.now()))
    return downloads.of(tenant, kind, Span.of_month(wanted), wall=None)


def _tenant(pk: int) -> Tenant:
    return get_object_or_404(Tenant, pk=pk)
