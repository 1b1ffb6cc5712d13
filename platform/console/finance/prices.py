"""Prices in the operators' site: what there is, and a new price file or tariff, whose effect is shown before it is loaded."""

from collections.abc import Callable
from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console.finance import month
from console.forms import ConsoleForm, posted
from console.pages import ops_page, render
from kit import clock
from tenants import audit
from tenants.api.callers import address
from tenants.models import Tenant
from usage import pricing
from usage.pricing import previews, tariffs

_LONGEST_FILE = 200_000


class TextForm(ConsoleForm):
    """A price file or a tariff, as text."""

    text = forms.CharField(widget=forms.Textarea, max_length=_LONGEST_FILE, label="TOML", strip=False)


@ops_page("prices/", name="prices")
def price_book(request: HttpRequest) -> HttpResponseBase:
    """Show the price versions, and preview or load a price file."""
    now = clock.now()
    present = now.date().replace(day=1)

    def preview(raw: bytes) -> list[previews.Difference]:
        book, starts = pricing.candidate(raw)
        return previews.of_book(book, month=month.before(present), on=max(starts, now.date()))

    def load(raw: bytes) -> str:
        book, is_new = pricing.load_text(raw, now=now)
        if is_new:
            by: Any = request.user
            audit.record(
                "prices.loaded",
                tenant=None,
                actor=by.username,
                address=address(request),
                subject=f"price version {book.pk}",
            )
        return f"Price version {book.pk} is in force." if is_new else f"Price version {book.pk} was in force already."

    return _answer(
        request,
        preview=preview,
        load=load,
        done="ops:prices",
        month=month.before(present),
        title="Prices",
        books=pricing.versions(),
    )


@ops_page("finance/<int:pk>/tariff/", name="tariff")
def tariff(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show what a tenant is charged by, and preview or load a tariff."""
    tenant, now = get_object_or_404(Tenant, pk=pk), clock.now()
    before = month.before(month.this_month(tenant, now=now))
    by: Any = request.user

    def load(raw: bytes) -> str:
        made = tariffs.load(tenant, tariffs.read(raw), now=now, actor=by.username, address=address(request))
        return f"{tenant} is charged by tariff {made.pk} from {made.effective_from} on."

    return _answer(
        request,
        preview=lambda raw: previews.of_tariff(tenant, tariffs.read(raw), month=before),
        load=load,
        done="ops:tariff",
        month=before,
        title=f"Tariff of {tenant.name}",
        tenant=tenant,
        tariffs=tariffs.of_tenant(tenant.pk),
    )


def _answer(
    request: HttpRequest,
    *,
    preview: Callable[[bytes], list[previews.Difference]],
    load: Callable[[bytes], str],
    done: str,
    month: date,
    **context: Any,
) -> HttpResponseBase:
    form, found = TextForm(posted(request)), None
    if request.method == "POST" and form.is_valid():
        raw = form.cleaned_data["text"].encode()
        if "load" in request.POST:
            said = form.attempt(lambda: load(raw))
            if said is not None:
                messages.success(request, said)
                return redirect(done, *([context["tenant"].pk] if "tenant" in context else []))
        else:
            found = form.attempt(lambda: preview(raw))
    return render(request, "finance/prices.html", form=form, differences=found, month=month, **context)
