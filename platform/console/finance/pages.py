"""Finance in a tenant's own console: the month, and its files."""

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from console import scope
from console.finance import downloads, month, statements
from console.pages import page, render
from kit import clock
from usage.exports import Kind, Span, Wall


@page("finance/", name="finance", right="reports.see")
def overview(request: HttpRequest) -> HttpResponseBase:
    """Show a month of the tenant."""
    tenant = scope.member(request).tenant
    found = month.page_of(request, tenant, now=clock.now())
    return render(request, "finance/month.html", title=f"Usage and charges, {found['report'].month:%B %Y}", **found)


@page("finance/events.csv", name="finance_csv", right="reports.see")
def events_csv(request: HttpRequest) -> HttpResponseBase:
    """Export a month's events as CSV."""
    return _export(request, "csv")


@page("finance/events.xlsx", name="finance_xlsx", right="reports.see")
def events_xlsx(request: HttpRequest) -> HttpResponseBase:
    """Export a month's events as a workbook."""
    return _export(request, "xlsx")


@page("finance/focus.csv", name="finance_focus", right="reports.see")
def focus_csv(request: HttpRequest) -> HttpResponseBase:
    """Export a month's days as FOCUS has them."""
    return _export(request, "focus")


@page("finance/statement.pdf", name="finance_statement", right="reports.see")
def statement(request: HttpRequest) -> HttpResponseBase:
    """Render a month's statement."""
    return statements.answer(request, scope.member(request).tenant, now=clock.now())


def _export(request: HttpRequest, kind: Kind) -> HttpResponseBase:
    """The wall of the page falls with it; the export, which goes on, has the same around its own connection."""
    tenant = scope.member(request).tenant
    wanted = month.asked(request, "month", default=month.this_month(tenant, now=clock.now()))
    return downloads.of(tenant, kind, Span.of_month(wanted), wall=Wall(settings.CONSOLE_ROLE, tenant.pk))
