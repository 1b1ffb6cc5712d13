"""For operators: the ledger's checks, the comparison with the provider, deliveries of alerts, and closing by hand."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console.closing.pages import NO_MONTH
from console.finance import month
from console.forms import ConsoleForm, posted
from console.pages import ops_page, render
from kit.errors import NotFound
from tenants.api.callers import address
from tenants.models import Tenant
from usage import alerts, closing, reconciliation, seals, verification

_SHOWN = 30


@ops_page("ledger/", name="ledger")
def ledger(request: HttpRequest) -> HttpResponseBase:
    """Show when the ledger was last checked, and what was found."""
    return render(
        request,
        "console/closing/ledger.html",
        title="Ledger checks",
        latest=verification.latest(),
        earlier=verification.recent(most=_SHOWN),
        keys=seals.public_keys(),
    )


@ops_page("reconciliation/", name="reconciliation")
def provider(request: HttpRequest) -> HttpResponseBase:
    """Show the last days beside the provider's report of them."""
    return render(
        request,
        "console/closing/reconciliation.html",
        title="Compared with the provider",
        days=reconciliation.latest(),
        buckets=reconciliation.BUCKETS,
    )


@ops_page("reconciliation/<int:pk>/", name="reconciliation_day")
def provider_day(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show one comparison by model and class of tokens."""
    try:
        found = reconciliation.one(pk)
    except NotFound as absent:
        raise Http404 from absent
    return render(
        request,
        "console/closing/reconciliation_day.html",
        title=f"{found.day} beside the provider's report",
        found=found,
        buckets=[name for name in reconciliation.BUCKETS if name != "price"],
    )


@ops_page("alert-log/", name="alert_log")
def alert_log(request: HttpRequest) -> HttpResponseBase:
    """Show whom alerts reached, those of every tenant included."""
    return render(
        request,
        "console/closing/alert_log.html",
        title="Deliveries of alerts",
        deliveries=alerts.deliveries(None, most=100),
        for_operators=True,
    )


@ops_page("finance/<int:pk>/months/", name="months")
def months(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show a tenant's months."""
    tenant = get_object_or_404(Tenant, pk=pk)
    return render(
        request,
        "console/closing/months.html",
        title=f"Months of {tenant.name}",
        months=closing.standings(tenant.pk),
        may_close=True,
        tenant=tenant,
    )


@ops_page("finance/<int:pk>/months/close/", name="month_close")
def close(request: Any, pk: int) -> HttpResponseBase:
    """Close a tenant's month."""
    tenant = get_object_or_404(Tenant, pk=pk)
    wanted, home = month.asked(request, "month", default=NO_MONTH), redirect("ops:months", pk)
    if wanted == NO_MONTH:
        return home
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        by = {"actor": request.user.username, "address": address(request)}
        form.attempt(lambda: closing.close(tenant, month=wanted, **by))
        if form.is_valid():
            messages.success(request, f"{wanted:%B %Y} of {tenant} is closed.")
            return home
    title = f"Close {wanted:%B %Y} of {tenant}"
    return render(request, "console/form.html", title=title, form=form, submit_label="Close the month", back=home.url)
