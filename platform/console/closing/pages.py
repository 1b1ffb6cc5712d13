"""For a tenant: how its months stand, closing one by hand, receipts of sealed days, and what became of each alert."""

from datetime import date

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from console import scope, walls
from console.closing import receipts
from console.finance import month
from console.forms import ConsoleForm, posted
from console.pages import page, render
from usage import alerts, closing

HOME = "admin:months"
_PER_PAGE = 50
NO_MONTH = date.min


@page("months/", name="months", right="reports.see")
def months(request: HttpRequest) -> HttpResponseBase:
    """Show the tenant's months, and for which of them there is a statement."""
    return render(
        request,
        "console/closing/months.html",
        title="Months",
        months=closing.standings(scope.member(request).tenant.pk),
        may_close=scope.may(request, "months.close"),
    )


@page("months/close/", name="month_close", right="months.close")
def close(request: HttpRequest) -> HttpResponseBase:
    """Close the month that the query names, once and for good."""
    tenant, wanted = scope.member(request).tenant, month.asked(request, "month", default=NO_MONTH)
    if wanted == NO_MONTH:
        return redirect(HOME)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        by = scope.by(request)
        # The wall lets a tenant's page read usage and never write it; the verb writes for this tenant alone.
        with walls.lifted(tenant.pk):
            form.attempt(lambda: closing.close(tenant, month=wanted, **by))
        if form.is_valid():
            messages.success(request, f"{wanted:%B %Y} is closed. Its statement does not change any more.")
            return redirect(HOME)
    return render(
        request,
        "console/form.html",
        title=f"Close {wanted:%B %Y}",
        intro="Its figures are frozen, numbered and signed. What is corrected later is booked in the month that is open then.",
        form=form,
        submit_label="Close the month",
        back=redirect(HOME).url,
    )


@page("months/receipt.json", name="receipt", right="reports.see")
def receipt(request: HttpRequest) -> HttpResponseBase:
    """Hand out the sealed days of a month, to be checked elsewhere."""
    tenant, wanted = scope.member(request).tenant, month.asked(request, "month", default=NO_MONTH)
    text = receipts.of_month(tenant, wanted)
    if text is None:
        messages.info(request, "No day of this month is sealed yet: that happens some hours after its end.")
        return redirect(HOME)
    name = f"{tenant.slug}-{wanted:%Y-%m}-receipt.json"
    return HttpResponse(
        text, content_type="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@page("alerts/log/", name="alert_log", right="audit.see")
def alert_log(request: HttpRequest) -> HttpResponseBase:
    """Show whom the tenant's alerts reached, and every attempt."""
    found = alerts.deliveries(scope.member(request).tenant.pk, most=_PER_PAGE)
    return render(request, "console/closing/alert_log.html", title="Deliveries of alerts", deliveries=found)
