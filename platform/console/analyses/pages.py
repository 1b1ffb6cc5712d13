"""Analyses and batches that failed or wait, with the reason; trying them again."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console import navigation, scope
from console.forms import ConsoleForm, posted
from console.pages import page, render
from skills.analyses import steering
from skills.analyses.models import Analysis

HOME = "admin:analyses"
_MOST = 100
_STUCK = Q(state__in=["failed", "awaiting_budget"]) | Q(steps_failed__gt=0)
navigation.add("Work", title="Dead letters", icon="report", name="analyses", right="analyses.see")


@page("analyses/", name="analyses", right="analyses.see")
def overview(request: HttpRequest) -> HttpResponseBase:
    """Show what failed, waits for money, or has items that failed."""
    found = scope.rows(Analysis, request).filter(_STUCK, deleted_at=None).order_by("-id")[:_MOST]
    return render(
        request,
        "console/analyses/overview.html",
        title="Dead letters",
        shown=[_shown(one) for one in found],
        most=_MOST,
    )


@page("analyses/<uuid:pk>/", name="analysis", right="analyses.see")
def detail(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Show why an analysis or a batch failed, and which of its items."""
    analysis = _analysis(request, pk)
    items = [
        {"position": step.position, "name": step.input.get("id"), "error": step.output["error"]}
        for step in steering.failed_items(analysis)[:_MOST]
    ]
    return render(
        request,
        "console/analyses/detail.html",
        title=f"{analysis.kind.capitalize()} {steering.public_id(analysis)}",
        one=_shown(analysis),
        items=items,
        may_retry=steering.may_retry(analysis) and scope.may(request, "analyses.retry"),
    )


@page("analyses/<uuid:pk>/retry/", name="analysis_retry", right="analyses.retry")
def retry(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Have it tried again."""
    analysis = _analysis(request, pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        form.attempt(lambda: steering.retry(analysis, **scope.by(request)))
        if form.is_valid():
            messages.success(request, "It goes on within seconds.")
            return redirect("admin:analysis", pk)
    return render(
        request,
        "console/form.html",
        title=f"Try {steering.public_id(analysis)} again",
        intro="What is finished is kept and not paid again. Failed items of a batch are run once more.",
        form=form,
        submit_label="Try again",
        back=redirect("admin:analysis", pk).url,
    )


def _analysis(request: HttpRequest, pk: UUID) -> Analysis:
    return get_object_or_404(scope.rows(Analysis, request).filter(deleted_at=None).select_related("tenant"), pk=pk)


def _shown(one: Analysis) -> dict[str, Any]:
    return {"row": one, "public_id": steering.public_id(one), "error": one.error or {}}
